//! The loop: read, decode, apply, for ever; start over where a port failed; stop where going on would
//! be wrong.
//!
//! Reading and decoding run ahead of applying by a bounded number of batches. Applying may block, so
//! it has a thread of its own.
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dagbok_events::DecodeError;
use dagbok_runlog::{Entry, LogMark, PortError, ReadLimit, RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use futures::StreamExt as _;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{Checkpoint, Decoded, Progress, Projection, ProjectionError, Skipped, check_log};

/// Why a follow ended before it was asked to.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The log ends before what was folded from it: it lost entries, or another took its place.
    #[error(
        "the log ends at {last}, before {checkpoint}, up to which it was folded: it lost records or was \
         replaced; compare it with its backup before anything is built on it"
    )]
    LogShorter {
        /// The log's last entry.
        last: Seq,
        /// The projection's.
        checkpoint: Seq,
    },
    /// The log has another entry where the fold stands: it is another log.
    #[error(
        "entry {at} of the log is not the one that was folded: another log has taken its place"
    )]
    LogReplaced {
        /// Where.
        at: Seq,
    },
    /// The log skipped a number.
    #[error("entry {found} came where {expected} was due: the log has a gap")]
    Gap {
        /// What was due.
        expected: Seq,
        /// What came.
        found: Seq,
    },
    /// An entry could not be read.
    #[error(
        "entry {at} of the log is no record that this build can read; where somebody else put it there, \
         `dagbok doctor --repair` has it passed over"
    )]
    Decode {
        /// Which.
        at: Seq,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The projection could not keep its rows.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// The log failed in a way that trying again won't mend.
    #[error(transparent)]
    Port(PortError),
    /// The thread that applies ended by a panic.
    #[error("the projection panicked: {0}")]
    Panicked(String),
}

/// How a follow paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How much one read brings while catching up.
    pub batch: ReadLimit,
    /// The first wait after the log failed; doubles up to `max_backoff`.
    pub backoff: Duration,
    /// The longest wait after the log failed.
    pub max_backoff: Duration,
    /// No entry for this long, and the projection may rest.
    pub rest_after: Duration,
    /// Entries that come closer together than this are gathered for as long: rows that many of them change are
    /// then made once. What comes alone waits for nothing.
    pub gather: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: ReadLimit { entries: 16_384, bytes: 16 << 20 },
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            rest_after: Duration::from_secs(5),
            gather: Duration::from_millis(5),
        }
    }
}

/// A follow under way.
#[derive(Debug)]
pub struct Following {
    /// How far it is.
    pub progress: Progress,
    /// Ends when the shutdown starts, or with the reason why it can't go on.
    pub task: JoinHandle<Result<(), FollowError>>,
}

/// Feeds `projection` from `log` until `shutdown` starts, telling `progress`.
pub fn follow<P: Projection>(
    log: Arc<dyn RunLog>,
    projection: P,
    progress: Progress,
    pace: Pace,
    shutdown: &Shutdown,
) -> Following {
    let told = progress.clone();
    let stop = shutdown.clone();
    let task = shutdown.spawn(async move {
        let ended = run(log, projection, &told, pace, &stop).await;
        if let Err(error) = &ended {
            let why = with_sources(error);
            tracing::error!(%why, "a projection stopped");
            told.update(|standing| standing.failed = Some(why));
        }
        ended
    });
    Following { progress, task }
}

/// An error with all that caused it, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn run<P: Projection>(
    log: Arc<dyn RunLog>,
    projection: P,
    progress: &Progress,
    pace: Pace,
    shutdown: &Shutdown,
) -> Result<(), FollowError> {
    let checkpoint = projection.checkpoint();
    progress.update(|standing| standing.applied = checkpoint.seq);
    let (batches, inbox) = mpsc::channel(2);
    let (ended, end) = oneshot::channel();
    let told = progress.clone();
    thread::Builder::new()
        .name("projection".to_owned())
        .spawn(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                apply_all(projection, inbox, &told, pace.rest_after)
            }));
            let outcome =
                outcome.unwrap_or_else(|panic| Err(FollowError::Panicked(panic_text(&*panic))));
            // Nobody listening means that the follow was dropped: there is nobody left to tell.
            let _ = ended.send(outcome);
        })
        .map_err(|error| FollowError::Projection(ProjectionError::new(error)))?;

    let mut end = end;
    let reader = read_all(&*log, checkpoint, &batches, progress, pace);
    let read = tokio::select! {
        () = shutdown.started() => Ok(()),
        read = reader => read,
        // The applying thread ends first only when it failed.
        applied = &mut end => return applied.unwrap_or(Ok(())),
    };
    drop(batches);
    let applied = end.await.unwrap_or(Ok(()));
    read.and(applied)
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

/// The applying thread: takes batches until there are no more to come.
fn apply_all<P: Projection>(
    mut projection: P,
    mut inbox: mpsc::Receiver<Vec<Decoded>>,
    progress: &Progress,
    rest_after: Duration,
) -> Result<(), FollowError> {
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let clock = clock.map_err(|error| FollowError::Projection(ProjectionError::new(error)))?;
    let mut rested = true;
    loop {
        let next = if rested {
            inbox.blocking_recv()
        } else {
            let soon =
                clock.block_on(async { tokio::time::timeout(rest_after, inbox.recv()).await });
            let Ok(next) = soon else {
                projection.rest()?;
                rested = true;
                continue;
            };
            next
        };
        let Some(batch) = next else { break };
        projection.apply(&batch)?;
        rested = false;
        if let Some(last) = batch.last() {
            let seq = last.seq;
            progress.update(|standing| {
                standing.applied = seq;
                standing.last = standing.last.max(seq);
                standing.caught_up |= standing.applied >= standing.last;
            });
        }
    }
    projection.rest()?;
    Ok(())
}

/// Reads and decodes for ever, from `checkpoint` on; ends only by an error that can't be waited out.
async fn read_all(
    log: &dyn RunLog,
    checkpoint: Checkpoint,
    batches: &mpsc::Sender<Vec<Decoded>>,
    progress: &Progress,
    pace: Pace,
) -> Result<(), FollowError> {
    let skipped = Skipped::default();
    let seen = checkpoint.seq;
    let mut reader = Reader { log, mark: None, seen, skipped, batches, progress, pace };
    let mut backoff = Backoff::new(pace.backoff, pace.max_backoff);
    loop {
        let from = reader.seen;
        let checked = if from == checkpoint.seq {
            check_log(log, &checkpoint).await
        } else {
            check_log(log, &Checkpoint { seq: from, position: None }).await
        };
        let error = match checked {
            Ok(()) => reader.session().await,
            Err(error) => error,
        };
        match error {
            FollowError::Port(port @ PortError::Unavailable { .. }) => {
                tracing::warn!(error = %port, at = %reader.seen, "the log can't be read; trying again");
                progress.update(|standing| standing.broken = true);
            }
            error if is_foreign(&error) => {
                let why = with_sources(&error);
                tracing::error!(%why, "a projection can't go on; looking again");
                progress.update(|standing| standing.failed = Some(why));
            }
            error => return Err(error),
        }
        if reader.seen > from {
            backoff.reset();
        }
        backoff.pause().await;
    }
}

/// Reads the log in order and hands on decoded batches.
struct Reader<'a> {
    log: &'a dyn RunLog,
    /// Which log it is, once it has an entry.
    mark: Option<LogMark>,
    seen: Seq,
    skipped: Skipped,
    batches: &'a mpsc::Sender<Vec<Decoded>>,
    progress: &'a Progress,
    pace: Pace,
}

impl Reader<'_> {
    /// Catches up, then follows, until something fails.
    async fn session(&mut self) -> FollowError {
        let caught_up = self.catch_up().await;
        match caught_up {
            Ok(()) => self.follow_on().await,
            Err(error) => error,
        }
    }

    async fn catch_up(&mut self) -> Result<(), FollowError> {
        let last = self.log.last().await?;
        self.progress.update(|standing| {
            standing.last = standing.last.max(last);
            standing.caught_up |= standing.applied >= standing.last;
            standing.broken = false;
        });
        loop {
            let entries = self.log.read(self.seen, self.pace.batch).await?;
            if entries.is_empty() {
                return Ok(());
            }
            self.hand_on(entries).await?;
        }
    }

    async fn follow_on(&mut self) -> FollowError {
        /// Batches of the log that are handed on as one: each may be megabytes where applying fell behind.
        const TOGETHER: usize = 4;
        let mut entries = self.log.follow(self.seen).ready_chunks(TOGETHER);
        let mut before: Option<Instant> = None;
        while let Some(ready) = entries.next().await {
            let (mut together, mut failed) = (Vec::new(), None);
            for batch in ready {
                match batch {
                    Ok(batch) if together.is_empty() => together = batch,
                    Ok(batch) => together.extend(batch),
                    Err(error) => failed = Some(error.into()),
                }
            }
            if let Some(error) = self.hand_on(together).await.err().or(failed) {
                return error;
            }
            let now = Instant::now();
            if before.replace(now).is_some_and(|before| now - before < self.pace.gather * 2) {
                tokio::time::sleep(self.pace.gather).await;
            }
        }
        PortError::unavailable("log", "the follow ended").into()
    }

    /// Which log it is; asked only once there is an entry.
    async fn mark(&mut self) -> Result<LogMark, FollowError> {
        if let Some(mark) = self.mark {
            return Ok(mark);
        }
        let mark = self.log.mark().await?;
        let mark =
            mark.ok_or_else(|| PortError::unavailable("log", "it has entries and no mark"))?;
        Ok(*self.mark.insert(mark))
    }

    /// Decodes and hands on; of what can't be read, that which comes before.
    async fn hand_on(&mut self, mut entries: Vec<Entry>) -> Result<(), FollowError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (mark, mut unreadable) = (self.mark().await?, None);
        let decoded = loop {
            match decode_apart(mark, self.seen, &entries, &self.skipped).await {
                Err(FollowError::Decode { at, source }) => {
                    // Somebody else's, perhaps: a record behind it says so then.
                    self.skipped.search(self.log, at).await?;
                    if !entries.iter().any(|entry| entry.seq == at && self.skipped.has(entry)) {
                        entries.retain(|entry| entry.seq < at);
                        unreadable = Some(FollowError::Decode { at, source });
                    }
                }
                decoded => break decoded?,
            }
        };
        if let Some(last) = entries.last().map(|entry| entry.seq) {
            self.seen = last;
            self.progress.update(|standing| {
                standing.last = standing.last.max(last);
                standing.failed = None;
            });
            // A closed channel means that applying failed, which `run` sees for itself.
            let _ = self.batches.send(decoded).await;
        }
        unreadable.map_or(Ok(()), Err)
    }
}

/// Decodes, many entries on another thread.
async fn decode_apart(
    log: LogMark,
    seen: Seq,
    entries: &[Entry],
    skipped: &Skipped,
) -> Result<Vec<Decoded>, FollowError> {
    /// Fewer than this are decoded in place: moving them to another thread costs more.
    const IN_PLACE: usize = 128;
    let (entries, skipped) = (entries.to_vec(), skipped.clone());
    if entries.len() <= IN_PLACE {
        return decode_all(log, seen, entries, &skipped);
    }
    let work = tokio::task::spawn_blocking(move || decode_all(log, seen, entries, &skipped));
    work.await.map_err(|error| FollowError::Panicked(error.to_string()))?
}

/// Whether an entry is no record at all: somebody may yet have it passed over.
const fn is_foreign(error: &FollowError) -> bool {
    let FollowError::Decode { source, .. } = error else { return false };
    matches!(source, DecodeError::Malformed(_) | DecodeError::Trailing(_))
}

fn decode_all(
    log: LogMark,
    seen: Seq,
    entries: Vec<Entry>,
    skipped: &Skipped,
) -> Result<Vec<Decoded>, FollowError> {
    let mut expected = seen;
    entries
        .into_iter()
        .map(|Entry { seq, subject, payload }| {
            expected = expected.plus(1);
            if seq != expected {
                return Err(FollowError::Gap { expected, found: seq });
            }
            let record = skipped
                .decode(seq, &payload)
                .map_err(|source| FollowError::Decode { at: seq, source })?;
            Ok(Decoded { seq, log, subject, payload, record })
        })
        .collect()
}
