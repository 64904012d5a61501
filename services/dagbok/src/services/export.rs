//! A fold of the log that is exported in its order: up to where whoever takes it has it is kept in a file, so that after a
//! restart, a crash or a receiver that was away it goes on from there. What is sent twice so has the same ids.
//!
//! The log is the buffer: while nobody takes anything, nothing is read. Only who leads sends; a stand-by keeps the newest
//! items, for what the leader may not have sent yet when it takes over.
use std::{
    collections::VecDeque,
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dagbok_events::Timestamp;
use dagbok_runlog::{Compared, PortError, PortResult, Position, RunLog, Seq};
use dagbok_runtime::{Backoff, Clock, Shutdown};
use dagbok_telemetry::{Sent, metrics};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::numbers::replace;

/// The pause before a log that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end may take to come by, once the end is asked for.
const LAST: Duration = Duration::from_secs(2);
/// Items that come closer together go in one request: a request for each would cost hand-offs.
const GATHER: Duration = Duration::from_millis(500);
/// How often is looked what follows from the time alone.
const LOOK: Duration = Duration::from_secs(10);
/// How often is kept up to where the receiver has it: what was sent since is sent again after a crash, with the same ids.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// The first wait for a receiver that does not take items now, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What is exported: how it is folded, and who takes it.
pub(super) trait Exported: Send + Sync + 'static {
    /// What is kept of the log.
    type Fold: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What entries of the log hold.
    type Record: Send;
    /// What is sent.
    type Item: Send + Sync + 'static;
    /// In a log line: `traces`.
    const WHAT: &'static str;
    /// The file's name in the folder of the service.
    const FILE: &'static str;
    /// Raise it with any change of the fold: what was kept of it is then left alone.
    const VERSION: u32;
    /// Items of one request.
    const AT_ONCE: usize;
    /// Items that a stand-by keeps.
    const STANDING_BY: usize;

    /// Whether records of this subject say anything to the fold.
    fn hears(subject: &str) -> bool;
    /// Reads an entry; nothing of what can't be read.
    fn read(payload: &[u8]) -> Option<Self::Record>;
    /// Folds a record in, and says which items follow.
    fn take(&self, fold: &mut Self::Fold, record: &Self::Record, due: &mut Vec<Self::Item>);
    /// Says which items follow from the time alone.
    fn pass(_fold: &mut Self::Fold, _now: Timestamp, _due: &mut Vec<Self::Item>) {}
    /// Sends items once, and says what became of them.
    fn send(&self, items: &[Self::Item]) -> impl Future<Output = Sent> + Send;
    /// So many were taken, and so many never will be.
    fn count(&self, taken: u64, dropped: u64);
    /// So many are due now.
    fn waiting(&self, _items: usize) {}
}

#[derive(Serialize)]
struct Keep<F> {
    version: u32,
    /// Up to where the receiver has it; nothing of the log where not said.
    position: Option<Position>,
    /// What came before is not for it.
    from: u64,
    /// Its name is as it was when there were only spans.
    spans: Arc<F>,
}

#[derive(Deserialize)]
struct Kept<F> {
    version: u32,
    position: Option<Position>,
    from: u64,
    spans: F,
}

struct Export<E: Exported> {
    exported: E,
    log: Arc<dyn RunLog>,
    file: Option<PathBuf>,
    /// None until it was kept once: until then a start folds all of the log.
    kept_at: Option<Instant>,
    /// Held by who writes the file.
    writing: Arc<Mutex<()>>,
    sent_at: Instant,
    /// None until it was looked once.
    looked_at: Option<Instant>,
    /// Where the log ended when it was looked last, and when that was, until what follows from then is taken in.
    end: Option<(Seq, Timestamp)>,
    fold: Arc<E::Fold>,
    seen: Seq,
    /// What came before is folded, and was another's to send.
    from: Seq,
    due: VecDeque<E::Item>,
    led: bool,
}

/// Exports until the end is asked for and what is in the log by then is exported too. Waits for the end without doing
/// anything where there is nothing to export.
///
/// The first time it begins with what comes after the log's end: where that is is settled when this returns, so that a
/// run made right after is seen, however late the exporter itself gets its turn.
pub(super) async fn export<E: Exported>(
    exported: Option<E>,
    log: Arc<dyn RunLog>,
    folder: Option<&Path>,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), Infallible>> + use<E> {
    let file = folder.map(|folder| folder.join(E::FILE));
    let export = match exported {
        Some(exported) => tokio::select! {
            export = Export::begin(exported, log, file) => export,
            () = shutdown.started() => None,
        },
        None => None,
    };
    async move {
        match export {
            Some(export) => export.run(shutdown).await,
            None => shutdown.started().await,
        }
        Ok(())
    }
}

impl<E: Exported> Export<E> {
    async fn begin(exported: E, log: Arc<dyn RunLog>, file: Option<PathBuf>) -> Option<Self> {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        // A log that does not answer says nothing of where it ends, nor of whether it is another.
        let (fold, seen, from) = loop {
            match begun::<E>(&*log, file.as_deref()).await {
                Ok(begun) => break begun,
                Err(error @ PortError::Unavailable { .. }) => {
                    tracing::warn!(%error, what = E::WHAT, "where the export goes on is not known yet");
                    backoff.pause().await;
                }
                Err(error) => {
                    tracing::error!(%error, what = E::WHAT, "nothing is sent");
                    return None;
                }
            }
        };
        let (sent_at, due, fold) = (Instant::now(), VecDeque::new(), Arc::new(fold));
        let (kept_at, writing, led) = (None, Arc::default(), false);
        let (looked_at, end) = (None, None);
        let export = Self {
            exported,
            log,
            file,
            kept_at,
            writing,
            sent_at,
            looked_at,
            end,
            fold,
            seen,
            from,
            due,
            led,
        };
        // A crash before the first item is sent must not take what comes now for the past.
        export.write(None).await;
        Some(export)
    }

    async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_started() {
            tokio::select! {
                () = self.follow(None) => {}
                () = shutdown.started() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.started() => {}
            }
        }
        // What does not come in time is sent at the next start: the log has it.
        let last = self.log.last().await.ok();
        let _ = tokio::time::timeout(LAST, self.follow(last)).await;
        self.keep().await;
    }

    /// Folds entries in, and sends what they say, until the stream breaks, or `last` is seen.
    async fn follow(&mut self, last: Option<Seq>) {
        self.send(last.is_some()).await;
        let log = Arc::clone(&self.log);
        let mut entries = log.follow(self.seen);
        while last.is_none_or(|last| self.seen < last) {
            self.pass().await;
            let batch = if self.due.is_empty() {
                let Ok(batch) = tokio::time::timeout(LOOK, entries.next()).await else { continue };
                batch
            } else {
                let Ok(batch) = tokio::time::timeout(GATHER, entries.next()).await else {
                    self.send(last.is_some()).await;
                    continue;
                };
                batch
            };
            let Some(Ok(batch)) = batch else { return };
            let mut due = Vec::new();
            for entry in batch {
                if E::hears(&entry.subject)
                    && let Some(record) = E::read(&entry.payload)
                {
                    let before = due.len();
                    self.exported.take(Arc::make_mut(&mut self.fold), &record, &mut due);
                    if entry.seq <= self.from {
                        due.truncate(before);
                    }
                }
                self.seen = entry.seq;
            }
            self.due.extend(due);
            self.exported.waiting(self.due.len());
            // Seen while it is so: at the end the scheduler has stopped before this does.
            self.led |= metrics().waiting().is_some();
            let is_time = last.is_some() || self.sent_at.elapsed() >= GATHER;
            if is_time || self.due.len() >= E::AT_ONCE {
                self.send(last.is_some()).await;
            }
        }
    }

    /// Takes in what follows from the time, now and then. The fold may be far behind, and then has under way what is
    /// long over: so it waits until it has all that the log had at that time.
    async fn pass(&mut self) {
        let is_time = self.looked_at.is_none_or(|at| at.elapsed() >= LOOK);
        if is_time && self.end.is_none() {
            self.looked_at = Some(Instant::now());
            let now = Clock::system().now();
            self.end = self.log.last().await.ok().map(|last| (last, now));
        }
        let is_there = |(last, _): &mut (Seq, Timestamp)| self.seen >= self.from.max(*last);
        let Some((_, now)) = self.end.take_if(is_there) else { return };
        let mut due = Vec::new();
        E::pass(Arc::make_mut(&mut self.fold), now, &mut due);
        self.due.extend(due);
        self.exported.waiting(self.due.len());
    }

    /// Sends what is due, for as long as it takes.
    async fn send(&mut self, is_end: bool) {
        self.sent_at = Instant::now();
        self.led = metrics().waiting().is_some() || (is_end && self.led);
        if !self.led {
            let older = self.due.len().saturating_sub(E::STANDING_BY);
            self.due.drain(..older);
            return;
        }
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut is_said = false;
        while !self.due.is_empty() {
            let count = self.due.len().min(E::AT_ONCE);
            let items = self.due.make_contiguous().get(..count).unwrap_or_default();
            match self.exported.send(items).await {
                Sent::Taken(rejected) => {
                    self.exported.count((count as u64).saturating_sub(rejected), rejected);
                }
                Sent::Refused(why) => {
                    self.exported.count(0, count as u64);
                    tracing::warn!(why, count, what = E::WHAT, "what was sent is refused");
                }
                Sent::Later(why) => {
                    if !std::mem::replace(&mut is_said, true) {
                        let what = E::WHAT;
                        tracing::warn!(why, what, "nothing is taken now; it is sent later");
                    }
                    backoff.pause().await;
                    continue;
                }
            }
            self.due.drain(..count);
            self.exported.waiting(self.due.len());
            backoff.reset();
        }
        if self.kept_at.is_none_or(|at| at.elapsed() >= KEEP_EVERY) {
            self.keep().await;
        }
    }

    /// Keeps up to where the receiver has it.
    async fn keep(&mut self) {
        if self.file.is_none() || !self.due.is_empty() {
            return;
        }
        self.kept_at = Some(Instant::now());
        let Ok(Some(position)) = Position::look(&*self.log, self.seen).await else { return };
        self.write(Some(position)).await;
    }

    async fn write(&self, position: Option<Position>) {
        let Some(file) = self.file.clone() else { return };
        if position.is_none() && file.exists() {
            return;
        }
        let (version, from, spans) = (E::VERSION, self.from.0, Arc::clone(&self.fold));
        let keep = Keep { version, position, from, spans };
        let writing = Arc::clone(&self.writing);
        let written = tokio::task::spawn_blocking(move || {
            // One that was not waited for may be at it yet.
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            replace(&file, &keep)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, what = E::WHAT, "how far it is sent is not kept");
        }
    }
}

/// What is folded, up to where, and from where on it is sent.
async fn begun<E: Exported>(
    log: &dyn RunLog,
    file: Option<&Path>,
) -> PortResult<(E::Fold, Seq, Seq)> {
    let kept = match file {
        Some(file) => restored::<E>(log, file).await?,
        None => None,
    };
    if let Some(Kept { position: Some(position), from, spans, .. }) = kept {
        return Ok((spans, position.seq, Seq(from)));
    }
    let base = log.base().await?.first.0;
    let from = match kept {
        Some(kept) => Seq(kept.from),
        None => log.last().await?,
    };
    Ok((E::Fold::default(), Seq(base.saturating_sub(1)), from))
}

/// What was kept of this log; an error where the log does not say whether it is of this one.
async fn restored<E: Exported>(log: &dyn RunLog, file: &Path) -> PortResult<Option<Kept<E::Fold>>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = E::WHAT;
            tracing::warn!(%error, what, "how far it was sent can't be read: it goes on with what comes now");
            return Ok(None);
        }
    };
    let kept = rmp_serde::from_slice(&bytes).ok();
    let kept = kept.filter(|kept: &Kept<E::Fold>| kept.version == E::VERSION);
    let kept = match kept {
        Some(Kept { position: Some(position), version, from, spans }) => {
            match position.compare(log).await? {
                Compared::Same => Some(Kept { position: Some(position), version, from, spans }),
                // What was folded is gone from the log; what was not sent is there from its beginning on.
                Compared::Trimmed { .. } => {
                    let (position, from, spans) = (None, position.seq.0, E::Fold::default());
                    Some(Kept { version, position, from, spans })
                }
                Compared::Other { .. } | Compared::Shorter { .. } => None,
            }
        }
        Some(kept) => {
            let last = log.last().await?;
            Some(kept).filter(|kept| last.0 >= kept.from)
        }
        None => None,
    };
    if kept.is_none() {
        // Of another log, or another build: it begins again with what comes now.
        let _ = fs::remove_file(file);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
