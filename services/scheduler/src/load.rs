//! From nothing to the fold of the whole log: the newest snapshot, then what came after it.
use std::sync::Arc;

use dagbok_domain::namespace::Namespace;
use dagbok_projection::{ReadAhead, Skipped};
use dagbok_runlog::{Compared, Ports, Seq};

use crate::{SchedulerError, cold, snapshot};

/// A fold up to the log's end.
#[derive(Debug)]
pub struct Loaded {
    /// The fold.
    pub namespace: Namespace,
    /// The entry that its snapshot stood on; 0 where it had none.
    pub snapshot_at: u64,
}

/// Folds the log up to its end.
///
/// Where the snapshot knows of more than the log has, that is an error unless `accept_shorter_log`.
pub async fn load(ports: &Ports, accept_shorter_log: bool) -> Result<Loaded, SchedulerError> {
    let started = std::time::Instant::now();
    // A log that is gone is said to be, where a read of it would only find nobody.
    ports.log.last().await?;
    let found = snapshot::newest(ports, accept_shorter_log).await?;
    let mut namespace = found.unwrap_or_else(Namespace::new);
    let from = namespace.last_seq();
    catch_up(ports, &mut namespace).await?;
    tracing::info!(
        snapshot = from,
        last = namespace.last_seq(),
        took_ms = started.elapsed().as_millis(),
        "folded the log"
    );
    Ok(Loaded { namespace, snapshot_at: from })
}

/// Refuses a log that has lost records which the scheduler's snapshot knows of, before anything is built
/// on it.
pub async fn check_log(ports: &Ports) -> Result<(), SchedulerError> {
    let Some(position) = snapshot::position(ports).await else { return Ok(()) };
    match position.compare(&*ports.log).await? {
        Compared::Shorter { last, missing } => {
            Err(SchedulerError::LogShorter { last, known: position.seq, missing })
        }
        Compared::Same | Compared::Other { .. } | Compared::Trimmed { .. } => Ok(()),
    }
}

/// Folds in what was appended since.
pub(crate) async fn catch_up(
    ports: &Ports,
    namespace: &mut Namespace,
) -> Result<(), SchedulerError> {
    let mut skipped = Skipped::default();
    let mut ahead = ReadAhead::start(Arc::clone(&ports.log), Seq(namespace.last_seq()));
    while let Some(batch) = ahead.next().await? {
        for read in batch {
            let seq = read.seq;
            let record = skipped.record_of(&*ports.log, read).await?;
            let record = record.map_err(|source| SchedulerError::Record { seq, source })?;
            if let Some(key) = namespace.needs(&record) {
                cold::revive(ports, namespace, &key, Seq(seq.0 - 1)).await?;
            }
            namespace.evolve(seq.0, &record);
        }
    }
    Ok(())
}
