//! The primitives on NATS JetStream.
use dagbok_config::Nats;
use dagbok_runlog::Ports;
use dagbok_runlog_jetstream::{ConnectError, ConnectSettings, Connection, Credentials, Tls};

use crate::{codes::Code, failure::Failure};

/// Connects as `service`.
pub(crate) async fn connect(nats: &Nats, service: &str) -> Result<(Ports, Connection), Failure> {
    let settings = settings(nats, service)?;
    dagbok_runlog_jetstream::connect(settings).await.map_err(|error| failure(&error))
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

fn failure(error: &ConnectError) -> Failure {
    let code = match error {
        ConnectError::Settings(_) => Code::Config,
        ConnectError::Unreachable { .. } => Code::BrokerUnreachable,
        ConnectError::TooOld { .. } => Code::BrokerTooOld,
        ConnectError::NoJetStream { .. }
        | ConnectError::PayloadLimit { .. }
        | ConnectError::WrongStream { .. }
        | ConnectError::Stream { .. } => Code::BrokerMisconfigured,
    };
    Failure::from_error(code, error)
}
