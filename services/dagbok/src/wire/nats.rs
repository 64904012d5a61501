//! The primitives on NATS JetStream.
use std::{sync::Arc, time::Duration};

use dagbok_alerting::{StoreObserved, Stores};
use dagbok_archive::{Archive, Whole};
use dagbok_config::{Config, Nats};
use dagbok_runlog::Ports;
use dagbok_runlog_jetstream::{ConnectError, ConnectSettings, Connection, Credentials, Tls};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::objects::{self, Owner};
use crate::{codes::Code, failure::Failure};

/// The one service that makes streams.
const CREATOR: &str = "scheduler";
/// The service whose blobs work items name: executors that others wrote read them from the broker alone.
const PUTS_CODE: &str = "processor";
/// How often is looked whether the namespace is there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often is said that it is still waited for.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Connects as `service`. Where the namespace is not there, or not whole, any but the scheduler waits until
/// it is, and says so. What the log was trimmed of is read from the archive, where one is configured, and big things lie
/// where the configuration says; the scheduler `takes_over` that place where it is told to.
pub(crate) async fn connect(
    config: &Config,
    service: &str,
    takes_over: bool,
) -> Result<(Ports, Connection), Failure> {
    // What no broker could mend is said before one is asked.
    objects::objects(config)?;
    let (mut ports, connection) = whole(&config.nats, service).await?;
    if let Some(dir) = &config.retention.archive {
        ports.log = Arc::new(Whole::new(ports.log, Archive::new(dir)));
    }
    let owner = match service {
        CREATOR => Owner::Claims { takes_over },
        "ui" => Owner::Checks,
        _ => Owner::Believes,
    };
    let claims = objects::claim_on(&ports);
    objects::beside(&mut ports, config, (owner, claims), service == PUTS_CODE).await?;
    Ok((ports, connection))
}

/// Connects once the namespace is there, and whole.
async fn whole(nats: &Nats, service: &str) -> Result<(Ports, Connection), Failure> {
    let settings = ConnectSettings { creates: service == CREATOR, ..settings(nats, service)? };
    let mut said: Option<Instant> = None;
    loop {
        let error = match Box::pin(dagbok_runlog_jetstream::connect(settings.clone())).await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let awaited =
            matches!(error, ConnectError::NoNamespace { .. } | ConnectError::Incomplete { .. });
        if !awaited {
            return Err(failure(&error));
        }
        if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            said = Some(Instant::now());
            tracing::warn!("{error}; waiting for it");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Connects to look, and makes nothing: the connection, and the ports where the namespace is there.
pub(crate) async fn look(
    nats: &Nats,
) -> Result<(Connection, Result<Ports, ConnectError>), Failure> {
    let settings = ConnectSettings { creates: false, ..settings(nats, "doctor")? };
    Box::pin(dagbok_runlog_jetstream::look(settings)).await.map_err(|error| failure(&error))
}

fn settings(nats: &Nats, service: &str) -> Result<ConnectSettings, Failure> {
    let mut settings = ConnectSettings::new("", nats.namespace.clone());
    settings.urls.clone_from(&nats.urls);
    settings.credentials = credentials(nats)?;
    settings.tls = Tls {
        authority: nats.ca_file.clone(),
        client: match (&nats.cert_file, &nats.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(wrong("`nats.cert_file` and `nats.key_file` go together")),
        },
    };
    settings.replicas = nats.replicas;
    settings.name = format!("dagbok-{service}");
    settings.monitor.clone_from(&nats.monitor);
    if let Some(timeout) = nats.timeout {
        settings.timeout = timeout.0;
    }
    Ok(settings)
}

fn credentials(nats: &Nats) -> Result<Credentials, Failure> {
    let mut given = Vec::new();
    match (&nats.user, &nats.password) {
        (Some(user), Some(password)) => given.push(Credentials::UserPassword {
            user: user.clone(),
            password: password.reveal().to_owned(),
        }),
        (None, None) => {}
        _ => return Err(wrong("`nats.user` and `nats.password` go together")),
    }
    given.extend(nats.token.iter().map(|token| Credentials::Token(token.reveal().to_owned())));
    given.extend(nats.nkey_seed.iter().map(|seed| Credentials::NKeySeed(seed.reveal().to_owned())));
    given.extend(nats.creds_file.iter().cloned().map(Credentials::CredsFile));
    if given.len() > 1 {
        return Err(wrong("several kinds of NATS credentials are given; give one"));
    }
    Ok(given.pop().unwrap_or_default())
}

fn wrong(why: &str) -> Failure {
    Failure::new(Code::Config, why)
}

/// What a person is told.
pub(crate) fn failure(error: &ConnectError) -> Failure {
    let code = match error {
        ConnectError::Settings(_) => Code::Config,
        ConnectError::Unreachable { .. } => Code::BrokerUnreachable,
        ConnectError::TooOld { .. } => Code::BrokerTooOld,
        ConnectError::NoJetStream { .. }
        | ConnectError::PayloadLimit { .. }
        | ConnectError::WrongStream { .. }
        | ConnectError::NoNamespace { .. }
        | ConnectError::Incomplete { .. }
        | ConnectError::LogGone { .. }
        | ConnectError::Stream { .. } => Code::BrokerMisconfigured,
    };
    Failure::from_error(code, error)
}

/// What the broker may hold, for alerting.
#[derive(Debug)]
pub(crate) struct Broker(pub(crate) Connection);

impl Stores for Broker {
    fn look(&self) -> BoxFuture<'_, Vec<StoreObserved>> {
        Box::pin(async {
            let rooms = match self.0.rooms().await {
                Ok(rooms) => rooms,
                Err(error) => {
                    tracing::warn!(%error, "how full JetStream is can't be told");
                    return Vec::new();
                }
            };
            for why in rooms.failures {
                tracing::warn!(%why, "how full JetStream is can't be told of a server");
            }
            let seen = rooms.limits.into_iter();
            seen.map(|it| StoreObserved { store: it.of, used: it.used, most: it.most }).collect()
        })
    }
}
