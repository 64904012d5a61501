//! Moves the oldest records from the log into its archive. A record goes once it is older than what is to be
//! kept at hand and stands before the snapshot, so that no start of the scheduler needs it; and it is let go
//! by the log only when the archive has it, read back and proved by the chain. A crash at any point leaves
//! records in both, never in none.
use std::{sync::Arc, time::Duration};

use dagbok_archive::{Archive, Span};
use dagbok_events::{Timestamp, decode};
use dagbok_runlog::{Chain, Entry, PortError, Ports, ReadLimit, Seq};
use dagbok_runtime::{Clock, Shutdown};

use crate::snapshot;

/// Entries of one file: a look for one run unpacks few that hold nothing of it.
const BATCH: ReadLimit = ReadLimit { entries: 16_384, bytes: 16 << 20 };

/// What goes into the archive, and when.
#[derive(Clone, Debug)]
pub struct Archiving {
    /// Where it goes.
    pub archive: Archive,
    /// Records that are younger stay in the log.
    pub keep: Duration,
    /// How often is looked whether some are older.
    pub every: Duration,
    /// How much goes into one file, and at least must have come together before any does.
    pub batch: ReadLimit,
}

impl Archiving {
    /// Into `archive` goes what is older than `keep`.
    pub fn new(archive: Archive, keep: Duration) -> Self {
        Self { archive, keep, every: Duration::from_mins(10), batch: BATCH }
    }
}

/// Looks from time to time, until the term ends.
pub(crate) fn start(ports: &Ports, archiving: Archiving, clock: Clock, term: &Shutdown) {
    let (ports, ended) = (ports.clone(), term.clone());
    term.spawn(async move {
        loop {
            tokio::select! {
                () = ended.started() => return,
                () = tokio::time::sleep(archiving.every) => {}
            }
            match archive_old(&ports, &archiving, clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, dir = %archiving.archive.dir().display(), "records were archived"),
                Err(error) => tracing::error!(%error, "the log can't be archived; trying again later"),
            }
        }
    });
}

/// Archives what is old enough at `now`, and returns how many records that were.
pub async fn archive_old(
    ports: &Ports,
    archiving: &Archiving,
    now: Timestamp,
) -> Result<u64, PortError> {
    let log = &*ports.log;
    let Some(mark) = log.mark().await? else { return Ok(0) };
    let archive = archiving.archive.clone();
    let span = blocking(move || Ok(archive.span_of(mark)?)).await?;
    let (mut seen, mut chain) =
        span.map_or((Seq::ZERO, Chain::START), |Span { last, after, .. }| (last, after));
    if seen > Seq::ZERO {
        // A crash may have come between the two.
        log.trim(seen.plus(1), chain).await?;
    }
    // Of another log's snapshot nothing can be said.
    let snapshot = snapshot::position(ports).await.filter(|position| position.log == mark);
    let Some(snapshot) = snapshot else { return Ok(0) };
    let mut count = 0;
    loop {
        let entries = log.read(seen, archiving.batch).await?;
        let Some(last) = entries.last() else { return Ok(count) };
        let last = last.seq;
        if last >= snapshot.seq || !are_older(&entries, archiving.keep, now) {
            return Ok(count);
        }
        seen = last;
        count += entries.len() as u64;
        let (archive, before) = (archiving.archive.clone(), chain);
        let entries: Arc<[Entry]> = entries.into();
        chain = blocking(move || Ok(archive.add(mark, before, &entries)?)).await?;
        log.trim(seen.plus(1), chain).await?;
    }
}

/// Stamps don't go back, so what holds for the last of a batch holds for all of it. An entry that is no
/// record, and was passed over, has none.
fn are_older(entries: &[Entry], keep: Duration, now: Timestamp) -> bool {
    let last = entries.iter().rev().find_map(|entry| decode(&entry.payload).ok());
    last.is_some_and(|record| now.since(record.at).to_std() > keep)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(PortError::unavailable("archive", error)))
}
