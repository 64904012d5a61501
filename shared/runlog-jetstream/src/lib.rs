//! The primitives on NATS JetStream: what the scheduler, the executors, the processor and the UI
//! stand on when each is a process of its own, on one machine or on many.
//!
//! One namespace is six streams (`dagbok_<ns>_log`, `_inbox`, `_work`, `_blobs`, `_snapshots` and the
//! bucket `KV_dagbok_<ns>_state`) and core NATS subjects below `dagbok.<ns>.signals`. [`connect`] makes
//! what is missing, for the scheduler alone, compares what is there with what it needs, and refuses a
//! server that is too old to keep the words of the ports. Nothing here knows what a payload means.
mod append;
mod base;
mod blobs;
mod clock;
mod durability;
mod error;
mod follow;
mod health;
mod identity;
pub mod limits;
mod link;
mod log;
mod names;
mod namespaces;
mod passed;
pub mod permissions;
mod pieces;
mod pull;
mod queue;
mod read;
mod room;
mod settings;
mod signals;
mod snapshots;
mod state;
mod status;
mod streams;
mod tend;
mod version;
mod watch;

use std::sync::Arc;

use dagbok_runlog::Ports;

pub use durability::Durability;
pub use error::{ConnectError, LinkFailure};
pub use health::{Connection, Health};
pub use namespaces::Namespace;
pub use room::{Room, Rooms};
pub use settings::{ConnectSettings, Credentials, Storage, Tls};
pub use version::ServerVersion;

/// Connects to NATS and hands out the namespace's primitives.
///
/// Streams that are missing are made where the settings say so, and are an error otherwise; those that are
/// there must keep what was asked. Returns once the server has answered for all of them. After that the
/// connection is kept, and made again whenever it is lost, for ever; what is asked of a port meanwhile
/// fails as unavailable.
pub async fn connect(settings: ConnectSettings) -> Result<(Ports, Connection), ConnectError> {
    let (connection, ports) = look(settings).await?;
    Ok((ports?, connection))
}

/// As [`connect`], and says also of a server without the namespace how it is.
pub async fn look(
    settings: ConnectSettings,
) -> Result<(Connection, Result<Ports, ConnectError>), ConnectError> {
    settings.check()?;
    let link = link::Link::open(&settings).await?;
    let version = version::check(&link.server_version())?;
    link.check_payload_limit()?;
    streams::check_jetstream(&link, &settings).await?;
    let ensured = streams::ensure_all(&link, &settings).await;
    let log = log::JetStreamLog::new(Arc::clone(&link), &names::Names::new(&settings.namespace));
    let identity = Arc::clone(&log.identity);
    let ports = ensured.map(|()| ports(&link, &settings, log));
    if ports.is_ok() {
        tracing::info!(namespace = settings.namespace, server = %version, "connected to NATS");
        if settings.creates {
            tend::start(&link, &settings, identity);
            // Who makes the streams also fills the work queues.
            clock::keep(&link, names::Names::new(&settings.namespace).stream("log"));
        }
    }
    Ok((Connection::new(link, settings, version), ports))
}

fn ports(link: &Arc<link::Link>, settings: &ConnectSettings, log: log::JetStreamLog) -> Ports {
    let names = names::Names::new(&settings.namespace);
    // Where nobody said how many copies there are to be, there may be several.
    let linearizable = settings.replicas.map_or_else(|| link.is_clustered(), |copies| copies > 1);
    Ports {
        log: Arc::new(log),
        queues: Arc::new(queue::JetStreamQueues::new(Arc::clone(link), &names, settings)),
        state: Arc::new(state::JetStreamState::new(Arc::clone(link), &names, linearizable)),
        blobs: Arc::new(blobs::JetStreamBlobs::new(Arc::clone(link), &names)),
        signals: Arc::new(signals::NatsSignals::new(Arc::clone(link), &names)),
        snapshots: Arc::new(snapshots::JetStreamSnapshots::new(Arc::clone(link), &names)),
    }
}
