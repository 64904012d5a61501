//! From nothing to the fold of the whole log: the newest snapshot, then what came after it.
use dagbok_domain::namespace::Namespace;
use dagbok_projection::Skipped;
use dagbok_runlog::{Compared, Ports, ReadLimit, Seq};

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
    loop {
        let entries = ports.log.read(Seq(namespace.last_seq()), ReadLimit::default()).await?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            let mut record = skipped.decode(entry.seq, &entry.payload);
            if record.is_err() {
                // Somebody else's, perhaps: a record behind it says so then.
                skipped.search(&*ports.log, entry.seq).await?;
                record = skipped.decode(entry.seq, &entry.payload);
            }
            let record =
                record.map_err(|source| SchedulerError::Record { seq: entry.seq, source })?;
            if let Some(key) = namespace.needs(&record) {
                cold::revive(ports, namespace, &key, Seq(entry.seq.0 - 1)).await?;
            }
            namespace.evolve(entry.seq.0, &record);
        }
    }
}
