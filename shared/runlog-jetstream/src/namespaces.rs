//! The namespaces on a server: which there are, and how one is deleted. What belongs to one is known by its streams' names.
use std::collections::BTreeMap;

use async_nats::jetstream::stream::Info;
use dagbok_runlog::PortResult;
use serde::Deserialize;
use serde_json::json;

use crate::{error::AskError, error::STREAM_NOT_FOUND, link::Link};

/// What comes after a namespace's name in the names of its streams.
const PARTS: [&str; 7] = ["log", "inbox", "work", "triggers", "blobs", "snapshots", "alerts"];
/// The part that everything else can be made again from: without it there is no namespace.
const LOG: &str = "log";

/// A namespace on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its streams, sorted.
    pub streams: Vec<String>,
    /// Entries on its log.
    pub records: u64,
    /// What its streams take up on one server, in bytes.
    pub bytes: u64,
    /// Copies of its log; 0 where the log is gone.
    pub replicas: usize,
}

/// A page of the server's list.
#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    streams: Option<Vec<Info>>,
}

/// All namespaces, by name.
pub(crate) async fn list(link: &Link) -> PortResult<Vec<Namespace>> {
    let mut found: BTreeMap<String, Namespace> = BTreeMap::new();
    let mut seen = 0;
    loop {
        let page: Page = link
            .api("STREAM.LIST", &json!({ "offset": seen }))
            .await
            .map_err(|error| error.port("list of streams"))?;
        let streams = page.streams.unwrap_or_default();
        seen += streams.len();
        let is_last = streams.is_empty() || seen >= page.total;
        for info in streams {
            let Some((name, part)) = whose(&info.config.name) else { continue };
            let of = found.entry(name.to_owned()).or_default();
            name.clone_into(&mut of.name);
            of.bytes += info.state.bytes;
            if part == LOG {
                (of.records, of.replicas) = (info.state.messages, info.config.num_replicas.max(1));
            }
            of.streams.push(info.config.name);
        }
        if is_last {
            break;
        }
    }
    let mut all: Vec<Namespace> = found.into_values().collect();
    for it in &mut all {
        it.streams.sort();
    }
    Ok(all)
}

/// Which namespace a stream is of, and which part of it.
fn whose(stream: &str) -> Option<(&str, &str)> {
    if let Some(name) = stream.strip_prefix("KV_dagbok_").and_then(|it| it.strip_suffix("_state")) {
        return Some((name, "state"));
    }
    let (name, part) = stream.strip_prefix("dagbok_")?.rsplit_once('_')?;
    (PARTS.contains(&part) && !name.is_empty()).then_some((name, part))
}

/// Deletes the streams, the log as the last: until then a scheduler makes the others again, and none is begun in its place.
pub(crate) async fn delete(link: &Link, namespace: &Namespace) -> PortResult<()> {
    let is_log = |stream: &&String| whose(stream).is_some_and(|(_, part)| part == LOG);
    let others = namespace.streams.iter().filter(|it| !is_log(it));
    for stream in others.chain(namespace.streams.iter().filter(is_log)) {
        let deleted: Result<serde_json::Value, AskError> =
            link.api(&format!("STREAM.DELETE.{stream}"), &json!({})).await;
        match deleted {
            Ok(_) => {}
            // Somebody else was quicker.
            Err(error) if error.is(STREAM_NOT_FOUND) => {}
            Err(error) => return Err(error.port("stream")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_tells_whose_it_is() {
        assert_eq!(whose("dagbok_default_log"), Some(("default", "log")));
        assert_eq!(whose("dagbok_team_a_blobs"), Some(("team_a", "blobs")));
        assert_eq!(whose("dagbok_x_log_log"), Some(("x_log", "log")));
        assert_eq!(whose("KV_dagbok_default_state"), Some(("default", "state")));
        for other in ["dagbok_default_more", "orders", "KV_orders", "dagbok__log", "dagbok_log"] {
            assert_eq!(whose(other), None, "{other}");
        }
    }
}
