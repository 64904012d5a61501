//! The streams of a namespace: made where they are missing, compared where they are there. A server
//! answers a setting that it does not know with silence, so what comes back is always looked at.
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use serde_json::json;

use crate::{
    error::{AskError, ConnectError, STREAM_NOT_FOUND},
    limits::{DUPLICATE_WINDOW, FILES_GO, MARKER_TTL},
    link::Link,
    names::Names,
    settings::{ConnectSettings, Storage},
};

/// Copies of a stream in a cluster, where nobody asked for others.
const COPIES: usize = 3;

/// Whether JetStream is there for this user.
pub(crate) async fn check_jetstream(
    link: &Link,
    settings: &ConnectSettings,
) -> Result<(), ConnectError> {
    // Without JetStream nobody answers; with it but without a right to it, an error comes back.
    match link.api::<serde_json::Value>("INFO", &json!({})).await {
        Ok(_) => Ok(()),
        Err(error) if error.unreachable().is_some() => {
            Err(failed(settings, "JetStream", "looked at", &error))
        }
        Err(error @ (AskError::Said { .. } | AskError::NobodyThere(_) | AskError::Denied(_))) => {
            Err(ConnectError::NoJetStream { why: error.to_string() })
        }
        Err(error) => Err(failed(settings, "JetStream", "looked at", &error)),
    }
}

/// Looks at every stream of the namespace; makes those that are missing where the settings say so. The log
/// is made first, and only where nothing of the namespace is there: in the place of one that was lost
/// another would begin, and all that was promised be forgotten.
pub(crate) async fn ensure_all(
    link: &Link,
    settings: &ConnectSettings,
) -> Result<(), ConnectError> {
    let names = Names::new(&settings.namespace);
    let log = log(&names);
    if !is_there(link, settings, &log.name).await? {
        if !settings.creates {
            return Err(ConnectError::NoNamespace { namespace: settings.namespace.clone() });
        }
        for other in others(&names) {
            // Another scheduler that starts with this one may have made both since the log was looked for.
            if is_there(link, settings, &other.name).await?
                && !is_there(link, settings, &log.name).await?
            {
                return Err(ConnectError::LogGone { stream: log.name, other: other.name });
            }
        }
    }
    ensure(link, settings, log).await?;
    for config in others(&names) {
        ensure(link, settings, config).await?;
    }
    Ok(())
}

/// Every stream of a namespace but the log: what can be made anew.
pub(crate) fn others(names: &Names) -> [Config; 5] {
    let [inbox, work] = ["inbox", "work"].map(|family| queue_stream(names, family));
    [blobs(names), snapshots(names), state(names), inbox, work]
}

/// Whether a stream is there.
async fn is_there(
    link: &Link,
    settings: &ConnectSettings,
    name: &str,
) -> Result<bool, ConnectError> {
    match link.api::<serde_json::Value>(&format!("STREAM.INFO.{name}"), &json!({})).await {
        Ok(_) => Ok(true),
        Err(error) if error.is(STREAM_NOT_FOUND) => Ok(false),
        Err(error) => Err(failed(settings, name, "looked at", &error)),
    }
}

/// Why a stream is not there: the server is not, or it can't have it.
fn failed(
    settings: &ConnectSettings,
    stream: &str,
    what: &'static str,
    error: &AskError,
) -> ConnectError {
    match error.unreachable() {
        Some(failure) => ConnectError::Unreachable {
            urls: settings.shown_urls(),
            failure,
            detail: format!("{error}, while `{stream}` was to be {what}"),
        },
        None => ConnectError::Stream { stream: stream.to_owned(), what, why: error.to_string() },
    }
}

/// As [`ensure`], of a stream that was there before. One that was just deleted is waited out: a server that
/// still removes its files removes those of a new stream by the same name with them, which then breaks for good.
pub(crate) async fn heal(
    link: &Link,
    settings: &ConnectSettings,
    config: Config,
) -> Result<(), ConnectError> {
    if settings.creates && !is_there(link, settings, &config.name).await? {
        tokio::time::sleep(FILES_GO).await;
    }
    ensure(link, settings, config).await
}

/// Makes one stream where the settings say so, or compares the one that is there.
pub(crate) async fn ensure(
    link: &Link,
    settings: &ConnectSettings,
    config: Config,
) -> Result<(), ConnectError> {
    let asked = placed(config, settings, link.is_clustered());
    let failed = |what, error| failed(settings, &asked.name, what, &error);
    let info = match link.api::<Info>(&format!("STREAM.INFO.{}", asked.name), &json!({})).await {
        Ok(info) => info,
        Err(error) if error.is(STREAM_NOT_FOUND) && !settings.creates => {
            let namespace = settings.namespace.clone();
            return Err(ConnectError::Incomplete { namespace, stream: asked.name });
        }
        Err(error) if error.is(STREAM_NOT_FOUND) => link
            .api::<Info>(&format!("STREAM.CREATE.{}", asked.name), &asked)
            .await
            .map_err(|error| failed("made", error))?,
        Err(error) => return Err(failed("looked at", error)),
    };
    let mut got = info.config;
    if settings.replicas.is_none() {
        // Nobody asked for a number: the one that is there will do.
        got.num_replicas = asked.num_replicas;
    }
    let differences = differences(&asked, &got);
    if differences.is_empty() {
        return Ok(());
    }
    Err(ConnectError::WrongStream {
        stream: asked.name,
        differences: differences.join("; "),
        advice: "change it with `nats stream edit`, or use another namespace",
    })
}

/// A stream of a namespace before its place is known: nothing is ever dropped by age or size.
fn unlimited(name: String, subjects: Vec<String>) -> Config {
    Config {
        name,
        subjects,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        discard: DiscardPolicy::New,
        allow_direct: true,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

fn log(names: &Names) -> Config {
    Config {
        deny_delete: true,
        // Only what was archived is purged; an earlier version had the server refuse even that.
        deny_purge: false,
        ..unlimited(names.stream("log"), vec![format!("{}log.>", names.root())])
    }
}

/// The log of alerting, which it alone writes, and makes: it must not wait for a scheduler.
pub(crate) fn alerts(names: &Names) -> Config {
    Config {
        deny_delete: true,
        ..unlimited(names.stream("alerts"), vec![format!("{}alerts.>", names.root())])
    }
}

/// A stream of queues: an item is removed once it is acknowledged.
pub(crate) fn queue_stream(names: &Names, family: &str) -> Config {
    Config {
        retention: RetentionPolicy::WorkQueue,
        ..unlimited(names.stream(family), vec![format!("{}{family}.>", names.root())])
    }
}

fn blobs(names: &Names) -> Config {
    unlimited(names.stream("blobs"), vec![format!("{}blobs.>", names.root())])
}

/// A head and the pieces of two snapshots for each name.
fn snapshots(names: &Names) -> Config {
    Config {
        max_messages_per_subject: 1,
        discard: DiscardPolicy::Old,
        ..unlimited(names.stream("snapshots"), vec![format!("{}snapshots.>", names.root())])
    }
}

/// Laid out as NATS's own buckets are, so that its tools can read it.
fn state(names: &Names) -> Config {
    Config {
        max_messages_per_subject: 1,
        allow_rollup: true,
        deny_delete: true,
        allow_message_ttl: true,
        subject_delete_marker_ttl: Some(MARKER_TTL),
        ..unlimited(names.state_stream(), vec![format!("{}>", names.state_root())])
    }
}

/// Puts a stream where the settings say.
fn placed(config: Config, settings: &ConnectSettings, clustered: bool) -> Config {
    let storage = match settings.storage {
        Storage::File => StorageType::File,
        Storage::Memory => StorageType::Memory,
    };
    let num_replicas = settings.replicas.unwrap_or(if clustered { COPIES } else { 1 });
    Config { storage, num_replicas, ..config }
}

/// What of `got` breaks what `asked` stands on. More copies than asked for break nothing.
fn differences(asked: &Config, got: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let mut field = |name: &str, asked: String, got: String| {
        if asked != got {
            found.push(format!("{name} is {got}, not {asked}"));
        }
    };
    field("subjects", format!("{:?}", asked.subjects), format!("{:?}", got.subjects));
    field("retention", format!("{:?}", asked.retention), format!("{:?}", got.retention));
    field("discard", format!("{:?}", asked.discard), format!("{:?}", got.discard));
    field("storage", format!("{:?}", asked.storage), format!("{:?}", got.storage));
    field("max_msgs", unlimited_text(asked.max_messages), unlimited_text(got.max_messages));
    field("max_bytes", unlimited_text(asked.max_bytes), unlimited_text(got.max_bytes));
    field(
        "max_msgs_per_subject",
        unlimited_text(asked.max_messages_per_subject),
        unlimited_text(got.max_messages_per_subject),
    );
    field("max_age", format!("{:?}", asked.max_age), format!("{:?}", got.max_age));
    field("deny_delete", asked.deny_delete.to_string(), got.deny_delete.to_string());
    field("allow_direct", asked.allow_direct.to_string(), got.allow_direct.to_string());
    field("allow_rollup_hdrs", asked.allow_rollup.to_string(), got.allow_rollup.to_string());
    field("allow_msg_ttl", asked.allow_message_ttl.to_string(), got.allow_message_ttl.to_string());
    field("sealed", asked.sealed.to_string(), got.sealed.to_string());
    if asked.subject_delete_marker_ttl.is_some() != got.subject_delete_marker_ttl.is_some() {
        found.push("subject_delete_marker_ttl is not kept".to_owned());
    }
    if got.num_replicas < asked.num_replicas {
        let (asked, got) = (asked.num_replicas, got.num_replicas);
        found.push(format!("num_replicas is {got}, not {asked}"));
    }
    found
}

/// Zero and less all mean that there is no limit.
fn unlimited_text(limit: i64) -> String {
    if limit <= 0 { "unlimited".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_drops_facts_is_told_from_one_that_keeps_them() {
        let asked = log(&Names::new("a"));
        assert_eq!(differences(&asked, &asked), Vec::<String>::new());
        let limited = Config { max_bytes: 5, ..asked.clone() };
        assert_eq!(differences(&asked, &limited), ["max_bytes is 5, not unlimited"]);
        let aged = Config { max_age: std::time::Duration::from_secs(1), ..asked.clone() };
        assert_eq!(differences(&asked, &aged), ["max_age is 1s, not 0ns"]);
        let more = Config { num_replicas: 3, ..asked.clone() };
        assert_eq!(differences(&asked, &more), Vec::<String>::new());
        assert_eq!(differences(&more, &asked), ["num_replicas is 0, not 3"]);
    }
}
