//! Traces of runs, as a fold of the log that is exported in its order: up to where the collector has taken it is kept in
//! a file, so that after a restart, a crash or a collector that was away it goes on from there. What is sent twice so has
//! the same ids, and is one span.
//!
//! The log is the buffer: while the collector takes nothing, nothing is read. Only who leads sends; a stand-by keeps the
//! newest spans, for what the leader may not have sent yet when it takes over.
use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_events::decode;
use dagbok_metrics::{Span, Spans};
use dagbok_runlog::{Compared, Position, RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use dagbok_telemetry::{Sent, SpanSender, metrics, span_sender};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

/// Its name in the folder of the service.
const FILE: &str = "traces.fold";
/// Raise it with any change of the fold: what was kept of it is then left alone.
const VERSION: u32 = 1;
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
/// How often is kept up to where the collector has it.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// The first wait for a collector that does not take spans now, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Up to where the collector has it; nothing of the log where not said.
    position: Option<Position>,
    /// What came before is not for it.
    from: u64,
    spans: Spans,
}

struct Export {
    sender: &'static SpanSender,
    log: Arc<dyn RunLog>,
    file: Option<PathBuf>,
    kept_at: Instant,
    sent_at: Instant,
    spans: Spans,
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
        Some(sender) => Some(Export::begin(sender, log, file).await),
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
    ) -> Self {
        let kept = restored(&*log, file.as_deref()).await;
        let (spans, seen, from) = match kept {
            Some(Kept { position: Some(position), from, spans, .. }) => {
                (spans, position.seq, Seq(from))
            }
            begun => {
                let base = log.base().await.map_or(1, |base| base.first.0);
                let last = log.last().await.unwrap_or(Seq::ZERO);
                let from = begun.map_or(last, |kept| Seq(kept.from));
                (Spans::default(), Seq(base.saturating_sub(1)), from)
            }
        };
        let (kept_at, sent_at, due) = (Instant::now(), Instant::now(), VecDeque::new());
        let export =
            Self { sender, log, file, kept_at, sent_at, spans, seen, from, due, led: false };
        // A crash before the first span is sent must not take what comes now for the past.
        export.write(None);
        export
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
                    self.spans.take(&record, &mut due);
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
        if self.kept_at.elapsed() >= KEEP_EVERY {
            self.keep().await;
        }
    }

    /// Keeps up to where the collector has it.
    async fn keep(&mut self) {
        self.kept_at = Instant::now();
        if self.file.is_none() || !self.due.is_empty() {
            return;
        }
        let Ok(Some(position)) = Position::look(&*self.log, self.seen).await else { return };
        self.write(Some(position));
    }

    fn write(&self, position: Option<Position>) {
        let Some(file) = &self.file else { return };
        if position.is_none() && file.exists() {
            return;
        }
        let (from, spans) = (self.from.0, self.spans.clone());
        let Ok(bytes) = rmp_serde::to_vec_named(&Kept { version: VERSION, position, from, spans })
        else {
            return;
        };
        let beside = file.with_extension("new");
        let written = fs::write(&beside, bytes).and_then(|()| fs::rename(beside, file));
        if let Err(error) = written {
            tracing::warn!(%error, "how far traces are sent is not kept");
        }
    }
}

/// What was kept of this log.
async fn restored(log: &dyn RunLog, file: Option<&Path>) -> Option<Kept> {
    let bytes = fs::read(file?).ok()?;
    let kept: Kept = rmp_serde::from_slice(&bytes).ok()?;
    let same = match kept.position {
        Some(position) => matches!(position.compare(log).await, Ok(Compared::Same)),
        None => log.last().await.is_ok_and(|last| last.0 >= kept.from),
    };
    let kept = Some(kept).filter(|kept| kept.version == VERSION && same);
    if kept.is_none() {
        // Of another log, or another build: the traces begin again with what comes now.
        let _ = fs::remove_file(file?);
    }
    kept
}
