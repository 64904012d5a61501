//! What `dagbok doctor`, the health endpoint and the metrics ask of a connection.
use std::{sync::Arc, time::Duration};

use async_nats::ServerAddr;
use dagbok_runlog::{PortResult, RunLog};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    durability::{self, Durability},
    error::{ConnectError, LinkFailure},
    limits::CONNECT_TIMEOUT,
    link::Link,
    log::JetStreamLog,
    names::Names,
    namespaces::{self, Namespace},
    permissions::{self, Permissions},
    room::{self, Rooms},
    settings::ConnectSettings,
    streams,
    version::ServerVersion,
};

/// A connection seen from outside. Cheap to clone; the ports live on without it.
#[derive(Clone, Debug)]
pub struct Connection {
    link: Arc<Link>,
    settings: Arc<ConnectSettings>,
    version: ServerVersion,
}

/// How a connection is now.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether there is one.
    pub connected: bool,
    /// For how long it has been so.
    pub since: Duration,
    /// How often it broke since the service started.
    pub breaks: u64,
    /// The version of the server that was connected last, in its own words.
    pub server_version: String,
    /// Its name.
    pub server_name: String,
    /// What last went wrong, in the client's or the server's words; gone once it is connected again.
    pub last_error: Option<String>,
}

impl Connection {
    pub(crate) fn new(link: Arc<Link>, settings: ConnectSettings, version: ServerVersion) -> Self {
        Self { link, settings: Arc::new(settings), version }
    }

    /// The version of the server that was there at the start.
    pub const fn server_version(&self) -> ServerVersion {
        self.version
    }

    /// How the connection is now, without asking the server.
    pub fn health(&self) -> Health {
        let state = self.link.status.now();
        let info = self.link.client.server_info();
        Health {
            connected: self.link.is_connected(),
            since: state.since.elapsed(),
            breaks: state.epoch,
            server_version: info.version,
            server_name: info.server_name,
            last_error: state.last_error,
        }
    }

    /// Returns once the connection may have come or gone: then look at [`Connection::health`].
    pub async fn changed(&self) {
        self.link.status.changed().await;
    }

    /// How long the server takes to answer; an error where it does not.
    pub async fn round_trip(&self) -> PortResult<Duration> {
        let start = Instant::now();
        self.link.round_trip().await.map_err(|error| error.port("connection"))?;
        Ok(start.elapsed())
    }

    /// What time the server has, in RFC 3339: as of its answer, somewhere between asking and having it.
    /// In a cluster it is the time of the server that leads the log's stream.
    pub async fn server_time(&self) -> PortResult<String> {
        #[derive(Deserialize)]
        struct Dated {
            ts: String,
        }
        let stream = Names::new(&self.settings.namespace).stream("log");
        let asked = self.link.api::<Dated>(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        asked.map(|answer| answer.ts).map_err(|error| error.port("server's clock"))
    }

    /// Tries every address anew, and says what is wrong with each; empty when all answer as NATS
    /// servers do. Takes two seconds at most for each.
    pub async fn failures(&self) -> Vec<(String, LinkFailure)> {
        let mut failures = Vec::new();
        for address in self.settings.addresses().unwrap_or_default() {
            if let Err(failure) = greet(&address).await {
                failures.push((format!("{}:{}", address.host(), address.port()), failure));
            }
        }
        failures
    }

    /// Whether every address refuses connections: then the broker is down for everybody. A time-out or
    /// an unknown host may be this machine's trouble alone, and does not count.
    pub async fn refused_by_all(&self) -> bool {
        let addresses = self.settings.addresses().unwrap_or_default();
        let failures = self.failures().await;
        !addresses.is_empty()
            && failures.len() == addresses.len()
            && failures.iter().all(|(_, failure)| *failure == LinkFailure::Refused)
    }

    /// The log of alerting. Where it is not there and `creates` is set it is made, whoever else makes streams.
    /// Without, it may be made later: until then what is asked of it fails.
    pub async fn alert_log(&self, creates: bool) -> Result<Arc<dyn RunLog>, ConnectError> {
        let names = Names::new(&self.settings.namespace);
        if creates {
            let settings = ConnectSettings { creates, ..(*self.settings).clone() };
            streams::ensure(&self.link, &settings, streams::alerts(&names)).await?;
        }
        Ok(Arc::new(JetStreamLog::of(Arc::clone(&self.link), &names, "alerts")))
    }

    /// All namespaces on the server, by name; needs the right to list streams.
    pub async fn namespaces(&self) -> PortResult<Vec<Namespace>> {
        namespaces::list(&self.link).await
    }

    /// Deletes a namespace with its whole history.
    pub async fn delete_namespace(&self, namespace: &Namespace) -> PortResult<()> {
        namespaces::delete(&self.link, namespace).await
    }

    /// What whoever is connected may do; `None` where the server sets no limits.
    pub async fn permissions(&self) -> PortResult<Option<Permissions>> {
        permissions::granted(&self.link).await
    }

    /// Whether the server is one of a cluster.
    pub fn is_clustered(&self) -> bool {
        self.link.is_clustered()
    }

    /// How safe an acknowledged record is from a power cut.
    pub async fn durability(&self) -> PortResult<Durability> {
        durability::of(&self.link, &self.settings).await
    }

    /// How much JetStream may hold in files, and how much of it is taken.
    pub async fn rooms(&self) -> PortResult<Rooms> {
        room::of(&self.link, &self.settings).await
    }
}

/// Connects, and reads the greeting that every NATS server begins with.
async fn greet(address: &ServerAddr) -> Result<(), LinkFailure> {
    let greeting = async {
        let stream =
            TcpStream::connect((address.host(), address.port())).await.map_err(|error| {
                // A name that can't be resolved has no kind of its own.
                let text = error.to_string();
                if text.contains("lookup") || text.contains("Name or service") {
                    LinkFailure::NoSuchHost
                } else {
                    LinkFailure::of_io(&error)
                }
            })?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.map_err(|e| LinkFailure::of_io(&e))?;
        if line.starts_with("INFO ") { Ok(()) } else { Err(LinkFailure::NotNats) }
    };
    timeout(CONNECT_TIMEOUT, greeting).await.unwrap_or(Err(LinkFailure::TimedOut))
}
