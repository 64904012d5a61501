//! NATS: whether it answers, is new enough, is configured rightly, and keeps what it acknowledges.
use std::time::Duration;

use dagbok_config::Nats;
use dagbok_runlog_jetstream::{ConnectError, Connection, Durability};

use super::{Finding, clock, entries};
use crate::wire;

/// A broker slower than this bounds every hand-off.
const SLOW: Duration = Duration::from_millis(10);

/// Connects as a service does, and looks; nothing is made or changed but what `repair` asks for.
pub(super) async fn check(nats: &Nats, repair: bool) -> Vec<Finding> {
    let (connection, ports) = match wire::look(nats).await {
        Ok(connected) => connected,
        Err(failure) => return vec![Finding::failed("nats", &failure)],
    };
    let version = connection.server_version();
    let health = connection.health();
    let mut findings = vec![if version.is_tested() {
        Finding::ok("nats", format!("nats-server {version} ({})", health.server_name))
    } else {
        let next = "it should work; see the README for the versions that the tests run on";
        Finding::warning(
            "nats",
            format!("nats-server {version} is newer than what is tested"),
            next,
        )
    }];
    findings.push(latency(&connection).await);
    let ports = match ports {
        Ok(ports) => ports,
        Err(error) => {
            findings.push(missing(&error));
            return findings;
        }
    };
    findings.push(clock::against(&connection).await);
    findings.push(durability(&connection, nats).await);
    findings.push(match ports.log.last().await {
        Ok(last) => Finding::ok("namespace", format!("`{}` has {last} records", nats.namespace)),
        Err(error) => Finding::error(
            "namespace",
            error.to_string(),
            "check the stream with `nats stream info`",
        ),
    });
    findings.extend(entries::check(&*ports.log, repair).await);
    findings
}

/// A namespace that is not there, or not as it must be.
fn missing(error: &ConnectError) -> Finding {
    let next = match error {
        ConnectError::NoNamespace { namespace } => {
            format!("start `dagbok scheduler --namespace {namespace}`, or correct the name")
        }
        ConnectError::Incomplete { .. } => "start a scheduler: it makes what is missing".to_owned(),
        other => return Finding::failed("namespace", &wire::failure(other)),
    };
    Finding::error("namespace", error.to_string(), next)
}

async fn latency(connection: &Connection) -> Finding {
    match connection.round_trip().await {
        Ok(took) if took > SLOW => {
            let next =
                "each hand-off waits for several answers: put the services nearer to the server";
            Finding::warning("latency", format!("an answer takes {took:.1?}"), next)
        }
        Ok(took) => Finding::ok("latency", format!("an answer takes {took:.1?}")),
        Err(error) => Finding::error("latency", error.to_string(), "check the server"),
    }
}

async fn durability(connection: &Connection, nats: &Nats) -> Finding {
    const CHECK: &str = "durability";
    let found = match connection.durability().await {
        Ok(found) => found,
        Err(error) => return Finding::warning(CHECK, error.to_string(), "check `nats.monitor`"),
    };
    let message = found.to_string();
    match found {
        found if found.is_durable() => Finding::ok(CHECK, message),
        Durability::Memory => Finding::error(
            CHECK,
            message,
            "the log is gone with the server: make the streams anew with storage in files",
        ),
        Durability::NotSynced(_) => Finding::warning(
            CHECK,
            message,
            "a power cut loses what was acknowledged last: set `sync_interval: always` in the server's \
             jetstream block, or run three servers and --replicas 3",
        ),
        _ => Finding::warning(
            CHECK,
            message,
            if nats.monitor.is_none() {
                "give the server's monitoring address (`http_port: 8222`) as `nats.monitor` to find out"
            } else {
                "check the monitoring address in `nats.monitor`"
            },
        ),
    }
}
