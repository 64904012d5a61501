//! NATS: whether it answers, is new enough, is configured rightly, and keeps what it acknowledges.
use std::time::Duration;

use dagbok_config::Nats;
use dagbok_runlog_jetstream::{
    ConnectError, Connection, Durability, Room,
    permissions::{Permissions, SERVICES},
};

use super::{Finding, clock, entries};
use crate::{cli::Doctor, commands::there, wire};

/// A broker slower than this bounds every hand-off.
const SLOW: Duration = Duration::from_millis(10);

/// Parts of a hundred of what JetStream may hold that are to be left: with less, it is about to be full.
const LEAST_LEFT: u128 = 5;
/// And with less than so many it is time to look after it.
const SOON: u128 = 20;

/// Connects as a service does, and looks; nothing is made or changed but what `repair` asks for.
pub(super) async fn check(nats: &Nats, queues: &[String], args: &Doctor) -> Vec<Finding> {
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
    let (rights, reads) = permissions(&connection, (nats, queues), args.service.as_deref()).await;
    findings.extend(rights);
    let ports = match ports {
        Ok(ports) => ports,
        Err(error) => {
            findings.push(missing(&connection, &error).await);
            return findings;
        }
    };
    findings.push(clock::against(&connection).await);
    findings.push(durability(&connection, nats).await);
    findings.extend(storage(&connection, nats).await);
    if !reads {
        let what = format!(
            "`{}` is there; this user may not read its log, as it should be",
            nats.namespace
        );
        findings.push(Finding::ok("namespace", what));
        return findings;
    }
    findings.push(match ports.log.last().await {
        Ok(last) => Finding::ok("namespace", format!("`{}` has {last} records", nats.namespace)),
        Err(error) => Finding::error(
            "namespace",
            error.to_string(),
            "check the stream with `nats stream info`",
        ),
    });
    findings.extend(entries::check(&*ports.log, args.repair).await);
    findings
}

/// A namespace that is not there, or not as it must be.
async fn missing(connection: &Connection, error: &ConnectError) -> Finding {
    let next = match error {
        ConnectError::NoNamespace { namespace } => {
            // A user that may not list them is told of none.
            let there = connection.namespaces().await.map(|all| there(&all));
            let there = there.map(|there| format!(": {there}")).unwrap_or_default();
            format!("start `dagbok scheduler --namespace {namespace}`, or correct the name{there}")
        }
        ConnectError::Incomplete { .. } => "start a scheduler: it makes what is missing".to_owned(),
        other => return Finding::failed("namespace", &wire::failure(other)),
    };
    Finding::error("namespace", error.to_string(), next)
}

/// What the user lacks of what a service needs, subject by subject; and whether it may read the log.
async fn permissions(
    connection: &Connection,
    (nats, queues): (&Nats, &[String]),
    service: Option<&str>,
) -> (Option<Finding>, bool) {
    let user = nats.user.as_deref();
    let service = service.or(user.filter(|user| SERVICES.contains(user)));
    match connection.permissions().await {
        Ok(Some(granted)) => {
            let last = format!("$JS.API.DIRECT.GET.dagbok_{}_log", nats.namespace);
            let reads = granted.publish.has(&last);
            (Some(limited(&granted, (nats, queues), service)), reads)
        }
        Ok(None) => {
            let all = |it| format!("this user may do all, and so what `{it}` needs");
            (service.map(|it| Finding::ok(RIGHTS, all(it))), true)
        }
        Err(error) => {
            let what = format!("what this user may do can't be told: {error}");
            let next = "let this user publish to `$SYS.REQ.USER.INFO`";
            (Some(Finding::warning(RIGHTS, what, next)), true)
        }
    }
}

/// The name of the check of a user's permissions.
const RIGHTS: &str = "rights";

/// Of a user who may not do all.
fn limited(
    granted: &Permissions,
    (nats, queues): (&Nats, &[String]),
    service: Option<&str>,
) -> Finding {
    const CHECK: &str = RIGHTS;
    let Some(service) = service else {
        let next = "name the service that this user is for with --service";
        return Finding::warning(
            CHECK,
            "this user's rights are limited, and for which service can't be told",
            next,
        );
    };
    let missing = granted.missing(service, &nats.namespace, queues);
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("this user may do what `{service}` needs"));
    }
    let what = format!("this user lacks what `{service}` needs: {}", missing.join(", "));
    Finding::error(CHECK, what, "grant this user each of them in the server's configuration")
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
        Durability::Memory | Durability::Replicated(_) => {}
        _ if connection.is_clustered() => {
            let next = "edit the streams to three copies (`nats stream edit --replicas 3`), or start the scheduler of a \
                        new namespace with --replicas 3";
            return Finding::error(
                CHECK,
                format!("one copy in a cluster: {message}; its server takes the log with it"),
                next,
            );
        }
        _ => {}
    }
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

/// How full JetStream is: a finding for each limit, and for each server that does not tell.
async fn storage(connection: &Connection, nats: &Nats) -> Vec<Finding> {
    const CHECK: &str = "storage";
    let rooms = match connection.rooms().await {
        Ok(rooms) => rooms,
        Err(error) => {
            return vec![Finding::warning(CHECK, error.to_string(), "check the server")];
        }
    };
    let room = |it: Room| {
        let left = u128::from(it.most.saturating_sub(it.used)) * 100;
        let (used, most) = (it.used >> 20, it.most >> 20);
        let what = format!("{used} of {most} MiB are taken of what {} may hold", it.of);
        let next = "raise `max_file_store` (or the account's limit), or have old records archived \
                    (`retention.archive`): once it is full every record is refused";
        if left < u128::from(it.most) * LEAST_LEFT {
            Finding::error(CHECK, what, next)
        } else if left < u128::from(it.most) * SOON {
            Finding::warning(CHECK, what, next)
        } else {
            Finding::ok(CHECK, what)
        }
    };
    let silent = rooms.failures.into_iter().map(|why| {
        Finding::warning(
            CHECK,
            format!("what a server's JetStream holds can't be told: {why}"),
            "check the monitoring addresses in `nats.monitor`",
        )
    });
    let mut findings: Vec<Finding> = rooms.limits.into_iter().map(room).chain(silent).collect();
    if nats.monitor.is_none() {
        findings.push(Finding::warning(
            CHECK,
            "how full the server's JetStream is can't be told: no monitoring address is given",
            "give the server's monitoring address (`http_port: 8222`) as `nats.monitor`: `doctor` and alerting look there",
        ));
    }
    findings
}
