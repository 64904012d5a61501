//! Snapshots of the fold. Losing them costs time only; each says on which entry of which log it stands.
use std::time::Duration;

use bytes::Bytes;
use dagbok_domain::namespace::{Frozen, Namespace};
use dagbok_protocol::names::{
    SCHEDULER_POSITION, SCHEDULER_SNAPSHOT, SCHEDULER_SNAPSHOT_SET_ASIDE,
};
use dagbok_runlog::{Compared, PortError, Ports, Position, RunLog, Seq};
use serde::{Deserialize, Serialize};

use crate::SchedulerError;

/// A snapshot that takes longer to store is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fold with its place.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    position: Position,
    #[serde(with = "serde_bytes")]
    namespace: Vec<u8>,
}

impl Snapshot {
    /// What this build can't read is folded from the log again.
    fn read(bytes: &[u8]) -> Option<Self> {
        let read = rmp_serde::from_slice(bytes);
        read.inspect_err(|error| tracing::info!(%error, "the snapshot is of another build")).ok()
    }
}

/// The newest snapshot, where there is one that this build can read and that stands on this log.
///
/// A log that ends before it has lost records: an error, unless that is accepted. The snapshot of another
/// log is set aside.
pub(crate) async fn newest(
    ports: &Ports,
    accept_shorter_log: bool,
) -> Result<Option<Namespace>, SchedulerError> {
    let bytes = match ports.snapshots.get(SCHEDULER_SNAPSHOT).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, "the snapshot can't be had: folding the log from its start");
            return Ok(None);
        }
    };
    let Some(Snapshot { position, namespace }) = Snapshot::read(&bytes) else { return Ok(None) };
    let known = position.seq;
    match position.compare(&*ports.log).await? {
        Compared::Same => {}
        Compared::Shorter { last, missing } if accept_shorter_log => {
            tracing::warn!(
                "the log ends at {last}, the snapshot knew of {known}: {missing} records are given up, as was \
                 asked for"
            );
            set_aside(ports, bytes).await;
            return Ok(None);
        }
        Compared::Shorter { last, missing } => {
            return Err(SchedulerError::LogShorter { last, known, missing });
        }
        Compared::Other { at } => {
            tracing::warn!(
                "the snapshot was made from another log than this (they differ at entry {at}): it is set aside \
                 as `{SCHEDULER_SNAPSHOT_SET_ASIDE}`, and the log is folded from its start"
            );
            set_aside(ports, bytes).await;
            return Ok(None);
        }
        Compared::Trimmed { first } => {
            tracing::warn!(
                "the snapshot stands at {known}, the log begins at {first}: it is of no use"
            );
            return Ok(None);
        }
    }
    match Namespace::from_snapshot(&namespace) {
        Ok(namespace) => Ok(Some(namespace)),
        Err(error) => {
            tracing::info!(%error, "folding the log from its start");
            Ok(None)
        }
    }
}

/// Keeps a snapshot that is not used for people to look at, the newest one only.
async fn set_aside(ports: &Ports, bytes: Bytes) {
    if let Err(error) = ports.snapshots.put(SCHEDULER_SNAPSHOT_SET_ASIDE, bytes).await {
        tracing::warn!(%error, "the snapshot of another log can't be set aside");
    }
}

/// The entry that the newest snapshot stands on, or one that an older one stood on: what is below it is needed
/// by no start. `None` where there is none that this build can read.
///
/// It is kept by itself, since a snapshot may be of hundreds of megabytes.
pub(crate) async fn position(ports: &Ports) -> Option<Position> {
    let apart = ports.snapshots.get(SCHEDULER_POSITION).await.ok().flatten();
    if let Some(position) = apart.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()) {
        return Some(position);
    }
    // A snapshot of before positions were kept.
    let bytes = ports.snapshots.get(SCHEDULER_SNAPSHOT).await.ok()??;
    Snapshot::read(&bytes).map(|snapshot| snapshot.position)
}

/// Stores the place of a snapshot that is stored: one that is older than the snapshot does no harm.
async fn store_position(ports: &Ports, position: &Position) -> Result<(), PortError> {
    let bytes = rmp_serde::to_vec_named(position).expect("a position has nothing that can't be");
    ports.snapshots.put(SCHEDULER_POSITION, Bytes::from(bytes)).await
}

/// Stores a snapshot; a failure is said and costs nothing but time at the next start.
///
/// It is encoded apart from the loop, which decides and renews its lease meanwhile.
pub(crate) async fn store(ports: &Ports, frozen: Frozen) {
    let seq = frozen.last_seq();
    let position = match look(&*ports.log, Seq(seq)).await {
        Ok(position) => position,
        Err(why) => {
            tracing::warn!(seq, "no snapshot stored: {why}");
            return;
        }
    };
    let encoded = tokio::task::spawn_blocking(move || {
        rmp_serde::to_vec_named(&Snapshot { position, namespace: frozen.to_bytes() })
    });
    let bytes = match encoded.await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            tracing::error!(%error, seq, "a snapshot can't be encoded");
            return;
        }
        Err(error) => {
            tracing::error!(%error, seq, "a snapshot can't be encoded");
            return;
        }
    };
    let size = bytes.len();
    let work = async {
        ports.snapshots.put(SCHEDULER_SNAPSHOT, Bytes::from(bytes)).await?;
        store_position(ports, &position).await
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => tracing::debug!(seq, size, "snapshot stored"),
        Ok(Err(error)) => tracing::warn!(%error, "no snapshot stored"),
        Err(_) => tracing::warn!("no snapshot stored within {PATIENCE:?}"),
    }
}

/// Stores a snapshot of a fold that ends where the log has an entry.
pub async fn store_now(ports: &Ports, namespace: &Namespace) {
    store(ports, namespace.freeze()).await;
}

async fn look(log: &dyn RunLog, seq: Seq) -> Result<Position, String> {
    match Position::look(log, seq).await {
        Ok(Some(position)) => Ok(position),
        Ok(None) => Err(format!("the log does not hold entry {seq}")),
        Err(error) => Err(error.to_string()),
    }
}
