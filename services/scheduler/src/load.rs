//! From nothing to the fold of the whole log: the newest snapshot, then what came after it.
use dagbok_domain::namespace::Namespace;
use dagbok_projection::Skipped;
use dagbok_runlog::{Ports, ReadLimit, Seq};

use crate::{SchedulerError, cold, snapshot};

/// Folds the log up to its end.
pub async fn load(ports: &Ports) -> Result<Namespace, SchedulerError> {
    let started = std::time::Instant::now();
    let mut namespace = match snapshot::newest(ports).await {
        Some(namespace) => namespace,
        None => Namespace::new(),
    };
    let last = ports.log.last().await?;
    if last.0 < namespace.last_seq() {
        let (has, at) = (last.0, namespace.last_seq());
        tracing::warn!(
            "the snapshot is at {at}, the log ends at {has}: folding the log from its start"
        );
        namespace = Namespace::new();
    }
    let from = namespace.last_seq();
    catch_up(ports, &mut namespace).await?;
    tracing::info!(
        snapshot = from,
        last = namespace.last_seq(),
        took_ms = started.elapsed().as_millis(),
        "folded the log"
    );
    Ok(namespace)
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
            let record = match skipped.decode(entry.seq, &entry.payload) {
                Ok(record) => record,
                // Somebody else's, perhaps: a record behind it says so then.
                Err(_) => {
                    skipped.search(&*ports.log, entry.seq).await?;
                    skipped
                        .decode(entry.seq, &entry.payload)
                        .map_err(|source| SchedulerError::Record { seq: entry.seq, source })?
                }
            };
            if let Some(key) = namespace.needs(&record) {
                cold::revive(ports, namespace, &key, Seq(entry.seq.0 - 1)).await?;
            }
            namespace.evolve(entry.seq.0, &record);
        }
    }
}
