//! Traces of runs, as a fold of the log that is exported in its order: up to where the collector has taken it is kept in
//! a file, so that after a restart, a crash or a collector that was away it goes on from there. What is sent twice so has
//! the same ids, and is one span.
//!
//! The log is the buffer: while the collector takes nothing, nothing is read. Only who leads sends; a stand-by keeps the
//! newest spans, for what the leader may not have sent yet when it takes over.
use std::{
    collections::VecDeque,
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dagbok_events::decode;
use dagbok_metrics::{Span, Spans};
use dagbok_runlog::{Compared, PortError, PortResult, Position, RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use dagbok_telemetry::{Sent, SpanSender, metrics, span_sender};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::numbers::replace;

/// Its name in the folder of the service.
const FILE: &str = "traces.fold";
/// Raise it with any change of the fold: what was kept of it is then left alone.
const VERSION: u32 = 2;
/// The pause before a log that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end may take to come by, once the end is asked for.
const LAST: Duration = Duration::from_secs(2);
/// Spans of one request.
const AT_ONCE: usize = 512;
/// Spans that a stand-by keeps.
const STANDING_BY: usize = 10_000;
/// Spans that come closer together go in one request: a request for each would cost hand-offs.
const GATHER: Duration = Duration::from_millis(500);
/// How often is kept up to where the collector has it: what was sent since is sent again after a crash, with the same ids.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// The first wait for a collector that does not take spans now, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

#[derive(Serialize)]
struct Keep {
    version: u32,
    /// Up to where the collector has it; nothing of the log where not said.
    position: Option<Position>,
    /// What came before is not for it.
    from: u64,
    spans: Arc<Spans>,
}

#[derive(Deserialize)]
struct Kept {
    version: u32,
    position: Option<Position>,
    from: u64,
    spans: Spans,
}

struct Export {
    sender: &'static SpanSender,
    log: Arc<dyn RunLog>,
    file: Option<PathBuf>,
    /// None until it was kept once: until then a start folds all of the log.
    kept_at: Option<Instant>,
    /// Held by who writes the file.
    writing: Arc<Mutex<()>>,
    sent_at: Instant,
    spans: Arc<Spans>,
    seen: Seq,
    /// What came before is folded, and was another's to send.
    from: Seq,
    due: VecDeque<Span>,
    led: bool,
}

/// Exports spans until the end is asked for and what is in the log by then is exported too. Waits for the end without
/// doing anything where nobody asked for traces.
///
/// The first time it begins with what comes after the log's end: where that is is settled when this returns, so that a
/// run made right after is seen, however late the exporter itself gets its turn.
pub(crate) async fn export_runs(
    log: Arc<dyn RunLog>,
    folder: Option<&Path>,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), Infallible>> + use<> {
    let file = folder.map(|folder| folder.join(FILE));
    let export = match span_sender() {
        Some(sender) => tokio::select! {
            export = Export::begin(sender, log, file) => export,
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

impl Export {
    async fn begin(
        sender: &'static SpanSender,
        log: Arc<dyn RunLog>,
        file: Option<PathBuf>,
    ) -> Option<Self> {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        // A log that does not answer says nothing of where it ends, nor of whether it is another.
        let (spans, seen, from) = loop {
            match begun(&*log, file.as_deref()).await {
                Ok(begun) => break begun,
                Err(error @ PortError::Unavailable { .. }) => {
                    tracing::warn!(%error, "where traces go on is not known yet");
                    backoff.pause().await;
                }
                Err(error) => {
                    tracing::error!(%error, "no traces are sent");
                    return None;
                }
            }
        };
        let (sent_at, due, spans) = (Instant::now(), VecDeque::new(), Arc::new(spans));
        let (kept_at, writing, led) = (None, Arc::default(), false);
        let export =
            Self { sender, log, file, kept_at, writing, sent_at, spans, seen, from, due, led };
        // A crash before the first span is sent must not take what comes now for the past.
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
            let batch = if self.due.is_empty() {
                entries.next().await
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
                if entry.subject.starts_with("log.run.")
                    && let Ok(record) = decode(&entry.payload)
                {
                    let before = due.len();
                    Arc::make_mut(&mut self.spans).take(&record, &mut due);
                    if entry.seq <= self.from {
                        due.truncate(before);
                    }
                }
                self.seen = entry.seq;
            }
            self.due.extend(due);
            // Seen while it is so: at the end the scheduler has stopped before this does.
            self.led |= metrics().waiting().is_some();
            let is_time = last.is_some() || self.sent_at.elapsed() >= GATHER;
            if is_time || self.due.len() >= AT_ONCE {
                self.send(last.is_some()).await;
            }
        }
    }

    /// Sends what is due, for as long as it takes.
    async fn send(&mut self, is_end: bool) {
        self.sent_at = Instant::now();
        self.led = metrics().waiting().is_some() || (is_end && self.led);
        if !self.led {
            let older = self.due.len().saturating_sub(STANDING_BY);
            self.due.drain(..older);
            return;
        }
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut is_said = false;
        while !self.due.is_empty() {
            let count = self.due.len().min(AT_ONCE);
            let spans = self.due.make_contiguous().get(..count).unwrap_or_default();
            match self.sender.send(spans).await {
                Sent::Taken(rejected) => {
                    metrics().spans_sent((count as u64).saturating_sub(rejected));
                    metrics().spans_dropped(rejected);
                }
                Sent::Refused(why) => {
                    metrics().spans_dropped(count as u64);
                    tracing::warn!(why, count, "the collector refuses spans");
                }
                Sent::Later(why) => {
                    if !std::mem::replace(&mut is_said, true) {
                        tracing::warn!(
                            why,
                            "the collector takes no spans now; they are sent later"
                        );
                    }
                    backoff.pause().await;
                    continue;
                }
            }
            self.due.drain(..count);
            backoff.reset();
        }
        if self.kept_at.is_none_or(|at| at.elapsed() >= KEEP_EVERY) {
            self.keep().await;
        }
    }

    /// Keeps up to where the collector has it.
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
        let keep =
            Keep { version: VERSION, position, from: self.from.0, spans: Arc::clone(&self.spans) };
        let writing = Arc::clone(&self.writing);
        let written = tokio::task::spawn_blocking(move || {
            // One that was not waited for may be at it yet.
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            replace(&file, &keep)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "how far traces are sent is not kept");
        }
    }
}

/// What is folded, up to where, and from where on it is sent.
async fn begun(log: &dyn RunLog, file: Option<&Path>) -> PortResult<(Spans, Seq, Seq)> {
    let kept = match file {
        Some(file) => restored(log, file).await?,
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
    Ok((Spans::default(), Seq(base.saturating_sub(1)), from))
}

/// What was kept of this log; an error where the log does not say whether it is of this one.
async fn restored(log: &dyn RunLog, file: &Path) -> PortResult<Option<Kept>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, "how far traces were sent can't be read: they go on with what comes now");
            return Ok(None);
        }
    };
    let kept = rmp_serde::from_slice(&bytes).ok().filter(|kept: &Kept| kept.version == VERSION);
    let kept = match kept {
        Some(Kept { position: Some(position), version, from, spans }) => {
            match position.compare(log).await? {
                Compared::Same => Some(Kept { position: Some(position), version, from, spans }),
                // What was folded is gone from the log; what was not sent is there from its beginning on.
                Compared::Trimmed { .. } => {
                    let (position, from, spans) = (None, position.seq.0, Spans::default());
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
        // Of another log, or another build: the traces begin again with what comes now.
        let _ = fs::remove_file(file);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use dagbok_runlog::{
        AppendError, Base, Chain, Draft, Entry, LogMark, ReadLimit, memory::MemoryLog,
    };
    use futures::stream::BoxStream;

    use super::*;

    /// A log that does not answer while it is away.
    #[derive(Debug, Default)]
    struct Away {
        log: MemoryLog,
        is_away: AtomicBool,
    }

    impl Away {
        fn there(&self) -> PortResult<&MemoryLog> {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(PortError::unavailable("log", "the broker is away"));
            }
            Ok(&self.log)
        }
    }

    #[async_trait::async_trait]
    impl RunLog for Away {
        async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
            self.log.append(expected, drafts).await
        }
        async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
            self.there()?.read(after, limit).await
        }
        async fn last(&self) -> PortResult<Seq> {
            self.there()?.last().await
        }
        fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
            self.log.follow(after)
        }
        async fn base(&self) -> PortResult<Base> {
            self.there()?.base().await
        }
        async fn mark(&self) -> PortResult<Option<LogMark>> {
            self.there()?.mark().await
        }
        async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
            self.log.trim(below, chain).await
        }
        fn max_payload(&self) -> usize {
            self.log.max_payload()
        }
    }

    async fn log_of(payloads: &[&'static str]) -> Away {
        let away = Away::default();
        for (last, payload) in (0..).zip(payloads) {
            let draft = Draft { subject: "log.x".to_owned(), payload: (*payload).into() };
            away.log.append(Seq(last), vec![draft]).await.unwrap();
        }
        away
    }

    #[tokio::test]
    async fn a_log_that_does_not_answer_costs_no_place_and_another_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let log = log_of(&["a", "b", "c"]).await;
        let position = Position::look(&log, Seq(2)).await.unwrap();
        let keep = |version| {
            let keep = Keep { version, position, from: 1, spans: Arc::default() };
            fs::write(&file, rmp_serde::to_vec_named(&keep).unwrap()).unwrap();
        };
        keep(VERSION);
        log.is_away.store(true, Ordering::Relaxed);
        assert!(begun(&log, Some(&file)).await.is_err());
        log.is_away.store(false, Ordering::Relaxed);
        let (_, seen, from) = begun(&log, Some(&file)).await.unwrap();
        assert_eq!((seen, from), (Seq(2), Seq(1)), "it goes on from there");
        // Another log, and another version: what comes from now on.
        let (_, seen, from) = begun(&log_of(&["x", "y"]).await, Some(&file)).await.unwrap();
        assert_eq!((seen, from, file.exists()), (Seq(0), Seq(2), false));
        keep(VERSION + 1);
        let (_, seen, from) = begun(&log, Some(&file)).await.unwrap();
        assert_eq!((seen, from, file.exists()), (Seq(0), Seq(3), false));
    }
}
