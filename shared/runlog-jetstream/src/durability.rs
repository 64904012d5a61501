//! How safe an acknowledged record is. A stream tells how many copies it has, and whether they are in
//! files; only the server's monitoring page tells whether it waits for the disk before it answers.
use std::{fmt, time::Duration};

use async_nats::jetstream::stream::{Info, StorageType};
use dagbok_runlog::{PortError, PortResult};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{link::Link, names::Names, settings::ConnectSettings};

/// Bytes of a monitoring page that are read at most.
const LARGEST_PAGE: u64 = 1 << 20;

/// How safe an acknowledged record is from a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk of one server before it is acknowledged.
    Synced,
    /// On this many servers; each writes to its disk some time later.
    Replicated(usize),
    /// On one server, which writes to its disk this much later: a power cut loses what came since,
    /// and of a young stream all.
    NotSynced(Duration),
    /// On one server in files; whether it waits for the disk is not known. Give the monitoring
    /// address to find out.
    Unknown {
        /// Why it is not known.
        why: String,
    },
    /// In the server's memory: gone when it stops.
    Memory,
}

impl Durability {
    /// Whether an acknowledged record outlives a power cut of one machine.
    pub const fn is_durable(&self) -> bool {
        matches!(self, Self::Synced | Self::Replicated(_))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synced => f.write_str("one server, synced to disk before every acknowledgement"),
            Self::Replicated(copies) => write!(f, "{copies} servers"),
            Self::NotSynced(every) => write!(f, "one server, synced to disk every {every:?}"),
            Self::Unknown { why } => write!(f, "one server in files, syncing unknown: {why}"),
            Self::Memory => f.write_str("memory only"),
        }
    }
}

/// The durability of the namespace's log.
pub(crate) async fn of(link: &Link, settings: &ConnectSettings) -> PortResult<Durability> {
    let stream = Names::new(&settings.namespace).stream("log");
    let info: Info = link
        .api(&format!("STREAM.INFO.{stream}"), &json!({}))
        .await
        .map_err(|error| error.port("log"))?;
    if info.config.storage == StorageType::Memory {
        return Ok(Durability::Memory);
    }
    if info.config.num_replicas > 1 {
        return Ok(Durability::Replicated(info.config.num_replicas));
    }
    let Some(monitor) = settings.monitors().next() else {
        return Ok(Durability::Unknown { why: "no monitoring address is given".to_owned() });
    };
    match timeout(settings.timeout, page(monitor, "/varz")).await {
        Ok(Ok(page)) => Ok(read_varz(&page)),
        Ok(Err(why)) => Ok(Durability::Unknown { why: format!("{monitor}: {why}") }),
        Err(_) => Err(PortError::unavailable("log", format!("{monitor} does not answer"))),
    }
}

/// What the server's own page says of its syncing.
fn read_varz(page: &str) -> Durability {
    let parsed = serde_json::from_str::<Value>(page).ok();
    let Some(config) = parsed.as_ref().and_then(|page| page.pointer("/jetstream/config")) else {
        return Durability::Unknown { why: "the page says nothing of JetStream".to_owned() };
    };
    if config.get("sync_always").and_then(Value::as_bool) == Some(true) {
        return Durability::Synced;
    }
    match config.get("sync_interval").and_then(Value::as_u64) {
        Some(nanoseconds) => Durability::NotSynced(Duration::from_nanos(nanoseconds)),
        None => Durability::Unknown { why: "the page says nothing of syncing".to_owned() },
    }
}

/// Reads one page of a monitoring server. Plain HTTP only, as nats-server serves it on loopback.
pub(crate) async fn page(address: &str, path: &str) -> Result<String, String> {
    let host = address.strip_prefix("http://").ok_or("it must begin with http://")?;
    let host = host.split('/').next().unwrap_or(host);
    let target = if host.contains(':') { host.to_owned() } else { format!("{host}:8222") };
    let mut stream = TcpStream::connect(&target).await.map_err(|e| e.to_string())?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.take(LARGEST_PAGE).read_to_end(&mut answer).await.map_err(|e| e.to_string())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it does not answer in HTTP")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("HTTP status {status}")) }
}
