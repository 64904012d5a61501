//! Both folds at the start of a term, and the snapshot of one of them.
use dagbok_alerts::{Book, Watch};
use dagbok_runlog::{Compared, Entry, PortError, Position, ReadLimit, Seq};
use serde::{Deserialize, Serialize};

use crate::Parts;

/// The name of the snapshot.
const SNAPSHOT: &str = "alerting";
/// The name under which the configuration that was in force last is kept: it names secrets, and holds none.
const CONFIGURATION: &str = "alerting-configuration";
/// Raise it with any change of the fold: it is then made anew.
const VERSION: u32 = 12;
/// The name of the checkpoint of the alert log's fold.
const BOOK: &str = "alerting-book";
/// Raise it with any change of that fold: it is then made anew.
const BOOK_VERSION: u32 = 6;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    position: Position,
    #[serde(with = "serde_bytes")]
    fold: Vec<u8>,
}

/// The fold of the alert log: from its checkpoint on, where there is one of this log.
pub(crate) async fn book(parts: &Parts) -> Result<Book, PortError> {
    let log = &*parts.alert_log;
    let mut book = checkpoint(parts).await?.unwrap_or_default();
    let first = log.base().await?.first.0 - 1;
    let mut after = Seq(book.last_seq().max(first));
    loop {
        let entries = log.read(after, ReadLimit::default()).await?;
        let Some(last) = entries.last() else { return Ok(book) };
        after = last.seq;
        fold_alerts(&mut book, &entries);
    }
}

/// What was folded of the alert log before.
async fn checkpoint(parts: &Parts) -> Result<Option<Book>, PortError> {
    let Ok(Some(bytes)) = parts.snapshots.get(BOOK).await else { return Ok(None) };
    let read = rmp_serde::from_slice::<Snapshot>(&bytes).ok();
    let Some(snapshot) = read.filter(|it| it.version == BOOK_VERSION) else { return Ok(None) };
    if snapshot.position.compare(&*parts.alert_log).await? != Compared::Same {
        tracing::warn!("the checkpoint is of another alert log: folding this one from its start");
        return Ok(None);
    }
    Ok(rmp_serde::from_slice(&snapshot.fold).ok())
}

/// Stores the fold of the alert log; a failure costs only time at the next start.
pub(crate) async fn store_book(parts: &Parts, book: &Book) {
    let seq = Seq(book.last_seq());
    put(parts, BOOK, BOOK_VERSION, Position::look(&*parts.alert_log, seq).await, book).await;
}

async fn put(
    parts: &Parts,
    name: &str,
    version: u32,
    position: Result<Option<Position>, PortError>,
    fold: &impl Serialize,
) {
    let Ok(Some(position)) = position else { return };
    let Ok(fold) = rmp_serde::to_vec_named(fold) else { return };
    let Ok(bytes) = rmp_serde::to_vec_named(&Snapshot { version, position, fold }) else { return };
    if let Err(error) = parts.snapshots.put(name, bytes.into()).await {
        tracing::warn!(%error, name, "no snapshot of alerting is stored");
    }
}

/// Takes entries of the alert log in. What can't be read is said.
fn fold_alerts(book: &mut Book, entries: &[Entry]) {
    for entry in entries {
        if let Err(error) = book.take_entry(entry.seq.0, &entry.payload) {
            tracing::error!(%error, seq = %entry.seq, "an entry of the alert log can't be read");
        }
    }
}

/// What was folded of the run log before, where it is of this log; nothing otherwise.
pub(crate) async fn watch(parts: &Parts) -> Result<Watch, PortError> {
    let bytes = match parts.snapshots.get(SNAPSHOT).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Watch::default()),
        Err(error) => {
            tracing::warn!(%error, "the snapshot can't be had: folding the run log from its start");
            return Ok(Watch::default());
        }
    };
    let read = rmp_serde::from_slice::<Snapshot>(&bytes).ok();
    let Some(snapshot) = read.filter(|it| it.version == VERSION) else {
        return Ok(Watch::default());
    };
    if snapshot.position.compare(&*parts.run_log).await? != Compared::Same {
        tracing::warn!("the snapshot is of another run log: folding this one from its start");
        return Ok(Watch::default());
    }
    Ok(rmp_serde::from_slice(&snapshot.fold).unwrap_or_default())
}

/// Stores the fold; a failure costs only time at the next start.
pub(crate) async fn store(parts: &Parts, watch: &Watch) {
    let seq = Seq(watch.last_seq());
    put(parts, SNAPSHOT, VERSION, Position::look(&*parts.run_log, seq).await, watch).await;
}

/// The configuration that was in force last, where one was.
pub(crate) async fn last_configuration(parts: &Parts) -> Option<String> {
    let bytes = parts.snapshots.get(CONFIGURATION).await.ok()??;
    String::from_utf8(bytes.to_vec()).ok()
}

/// Keeps the configuration that is in force, for a start at which its file can't be read.
pub(crate) async fn store_configuration(parts: &Parts, text: String) {
    if let Err(error) = parts.snapshots.put(CONFIGURATION, text.into()).await {
        tracing::warn!(%error, "the configuration in force can't be kept");
    }
}
