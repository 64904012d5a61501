//! Snapshots of the fold. Losing them costs time only.
use std::time::Duration;

use bytes::Bytes;
use dagbok_domain::namespace::{Frozen, Namespace};
use dagbok_protocol::names::SCHEDULER_SNAPSHOT;
use dagbok_runlog::Ports;

/// A snapshot that takes longer to store is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The newest snapshot, where there is one that this build can read.
pub(crate) async fn newest(ports: &Ports) -> Option<Namespace> {
    let bytes = match ports.snapshots.get(SCHEDULER_SNAPSHOT).await {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(%error, "the snapshot can't be had: folding the log from its start");
            return None;
        }
    };
    match Namespace::from_snapshot(&bytes) {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            tracing::info!(%error, "folding the log from its start");
            None
        }
    }
}

/// Stores a snapshot; a failure is said and costs nothing but time at the next start.
///
/// It is encoded apart from the loop, which decides and renews its lease meanwhile.
pub(crate) async fn store(ports: &Ports, frozen: Frozen) {
    let seq = frozen.last_seq();
    let bytes = match tokio::task::spawn_blocking(move || frozen.to_bytes()).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, seq, "a snapshot can't be encoded");
            return;
        }
    };
    let size = bytes.len();
    let work = ports.snapshots.put(SCHEDULER_SNAPSHOT, Bytes::from(bytes));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => tracing::debug!(seq, size, "snapshot stored"),
        Ok(Err(error)) => tracing::warn!(%error, "no snapshot stored"),
        Err(_) => tracing::warn!("no snapshot stored within {PATIENCE:?}"),
    }
}
