//! The figures that the log tells of, kept up to date beside the read model and shown at `/metrics`.
//!
//! What was folded is kept in a file, so that a start folds only what came since; a file of another log, of another
//! version or with other series is left alone and made anew.
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{HeaderMap, header::ACCEPT},
    routing::get,
};
use dagbok_alerts::AlertRecord;
use dagbok_api::shapes::{QueueSignal, QueueWanted};
use dagbok_config::Config;
use dagbok_events::{Timestamp, decode_packed};
use dagbok_metrics::{
    AlertLedger, Depth, Detail, Ledger, OPEN_METRICS, TEXT, VERSION, find, open_metrics,
    wants_open_metrics,
};
use dagbok_projection::{
    Checkpoint, Decoded, FollowError, Pace, Progress, Projection, ProjectionError, Standing,
    check_log, follow,
};
use dagbok_runlog::{PortError, PortResult, Position, RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use dagbok_telemetry::metrics;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::statsd::{Socket, send_gauges, tell};

/// Its name in the folder of the service.
const FILE: &str = "metrics.fold";
/// So many records are folded before what was folded is kept again.
const KEEP_EVERY: u64 = 20_000;
/// The pause before a log that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// For so long the fold may be behind before nobody is told to start or end anything by it.
const BEHIND: Duration = Duration::from_secs(10);

/// What is shown of them.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    ledger: Arc<RwLock<Ledger>>,
    progress: Progress,
    /// Of the log of alerts, once all of it is folded.
    alerts: Arc<RwLock<Option<AlertLedger>>>,
    /// What was known of the log when last it was not folded to its end, and when that was.
    behind: Arc<Mutex<Option<(Instant, Seq)>>>,
}

impl Numbers {
    /// Whether what is folded is what is: nothing has stopped, and what was known of the log some seconds ago is in.
    fn is_current(&self, standing: &Standing, now: Instant) -> bool {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.lag() == 0 {
            *behind = None;
        } else if behind.is_none_or(|(_, last)| standing.applied >= last) {
            *behind = Some((now, standing.last));
        }
        let is_late = behind.is_some_and(|(at, _)| now - at > BEHIND);
        standing.caught_up && !standing.broken && standing.failed.is_none() && !is_late
    }

    /// Follows the log until the end, and sends by StatsD what comes from now on, where that is asked for.
    pub(crate) async fn follow(
        log: Arc<dyn RunLog>,
        folder: &Path,
        (config, statsd): (&Config, Option<Socket>),
        shutdown: &Shutdown,
    ) -> Self {
        let (file, by_task) = (folder.join(FILE), config.telemetry.task_labels);
        let (ledger, position) = restored(&*log, &file, by_task, shutdown).await;
        let checkpoint = position.map_or_else(Checkpoint::default, Checkpoint::from);
        let ledger = Arc::new(RwLock::new(ledger));
        let progress = Progress::at(checkpoint.seq);
        if let Some(socket) = &statsd {
            let of = (Arc::clone(&ledger), progress.clone());
            send_gauges(Arc::clone(socket), of, config, shutdown);
        }
        let kept = checkpoint.seq.0;
        let folding = Folding { ledger: Arc::clone(&ledger), statsd, file, checkpoint, kept };
        follow(log, folding, progress.clone(), Pace::default(), shutdown);
        Self { ledger, progress, alerts: Arc::default(), behind: Arc::default() }
    }

    /// Follows the log of alerts too. It is short: each start folds all of it.
    pub(crate) fn follow_alerts(&self, log: Arc<dyn RunLog>, shutdown: &Shutdown) {
        let (shown, stop) = (Arc::clone(&self.alerts), shutdown.clone());
        shutdown.spawn(async move {
            let mut ledger = AlertLedger::default();
            let mut seen = None;
            while !stop.is_started() {
                tokio::select! {
                    _ = alerts_on(&*log, &mut seen, &mut ledger, &shown) => {}
                    () = stop.started() => return,
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.started() => return,
                }
            }
        });
    }

    /// All figures of the process, and those of the log as soon as all of it is folded: while it is not, each would
    /// rise at a pace that nothing ever had; and none once the fold has stopped, for what was is not what is.
    fn text(&self, exemplars: bool) -> String {
        let mut page = own_text();
        page.push_str(&self.of_log(exemplars));
        page
    }

    /// Those of the log alone.
    pub(super) fn folded(&self) -> String {
        self.of_log(false)
    }

    fn of_log(&self, exemplars: bool) -> String {
        let standing = self.progress.now();
        let mut page = String::new();
        let lag = standing.lag();
        let about = find("dagbok_metrics_lag_records").map_or("", |it| it.meaning);
        let name = "dagbok_metrics_lag_records";
        write!(page, "# HELP {name} {about}\n# TYPE {name} gauge\n{name} {lag}\n")
            .expect("a string takes all");
        if standing.caught_up && standing.failed.is_none() {
            let ledger = self.ledger.read().unwrap_or_else(PoisonError::into_inner);
            page.push_str(&if exemplars {
                ledger.text_with_exemplars(Detail::All)
            } else {
                ledger.text(Detail::All)
            });
        }
        if let Some(alerts) = &*self.alerts.read().unwrap_or_else(PoisonError::into_inner) {
            page.push_str(&alerts.text());
        }
        page
    }
}

impl dagbok_api::CountsQueues for Numbers {
    fn queues(&self) -> Option<BTreeMap<String, QueueSignal>> {
        let standing = self.progress.now();
        if !self.is_current(&standing, Instant::now()) {
            return None;
        }
        let now = dagbok_runtime::Clock::system().now();
        let ledger = self.ledger.read().unwrap_or_else(PoisonError::into_inner);
        let signals = ledger
            .state()
            .queues()
            .into_iter()
            .map(|(name, depth)| (name.to_owned(), signal(name, depth, now)));
        Some(signals.collect())
    }
}

fn signal(queue: &str, depth: Depth, now: Timestamp) -> QueueSignal {
    let thousandths = |milli: u64| Duration::from_millis(milli).as_secs_f64();
    let wanted = depth.wanted.into_iter().map(|(labels, it)| QueueWanted {
        labels,
        slots: it.slots,
        running: it.running,
        memory: it.memory,
        cpus: thousandths(it.cpu_milli),
        gpus: it.gpus,
        custom: it.custom,
    });
    let oldest = depth.oldest.filter(|oldest| *oldest < now);
    let signal = QueueSignal {
        queue: queue.to_owned(),
        queued: depth.queued,
        running: depth.running,
        oldest_wait_seconds: oldest.map_or(0.0, |oldest| now.since(oldest).to_std().as_secs_f64()),
        executors: depth.executors,
        slots: depth.slots,
        slots_wanted: 0,
        wanted: wanted.collect(),
        cordoned: depth.cordoned,
    };
    signal.weighed()
}

/// Folds alerts in from where it stands, until the stream breaks; shows them once there are no more.
async fn alerts_on(
    log: &dyn RunLog,
    seen: &mut Option<Seq>,
    ledger: &mut AlertLedger,
    shown: &RwLock<Option<AlertLedger>>,
) -> PortResult<()> {
    let mut at = match *seen {
        Some(at) => at,
        None => Seq(log.base().await?.first.0.saturating_sub(1)),
    };
    let show = |ledger: &AlertLedger| {
        *shown.write().unwrap_or_else(PoisonError::into_inner) = Some(ledger.clone());
    };
    let last = log.last().await?;
    if at >= last {
        show(ledger);
    }
    let mut entries = log.follow(at);
    while let Some(batch) = entries.next().await {
        for entry in batch? {
            // What can't be read is passed over, as alerting itself does.
            if let Ok(record) = decode_packed::<AlertRecord>(&entry.payload) {
                ledger.take(&record);
            }
            at = entry.seq;
        }
        *seen = Some(at);
        if at >= last {
            show(ledger);
        }
    }
    Ok(())
}

/// What the process alone knows; what the log tells of is shown by who folds all of it.
fn own_text() -> String {
    metrics().render(|name| {
        let own =
            find(name).is_some_and(|it| matches!(it.source, dagbok_metrics::Source::Service(_)));
        own || name == "target_info"
    })
}

/// Adds `/metrics`; with what the log tells of, where that is folded here.
pub(crate) fn with_metrics(router: Router, numbers: Option<Numbers>) -> Router {
    let text = move |headers: HeaderMap| {
        let numbers = numbers.clone();
        async move {
            let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
            let is_open = wants_open_metrics(accept);
            let write = move || {
                let page = numbers.as_ref().map_or_else(own_text, |it| it.text(is_open));
                if is_open { open_metrics(&page) } else { page }
            };
            // Ten thousand DAGs are megabytes of text.
            let text = tokio::task::spawn_blocking(write).await.unwrap_or_default();
            (
                [("content-type", if is_open { OPEN_METRICS } else { TEXT }), ("vary", "accept")],
                text,
            )
        }
    };
    router.route("/metrics", get(text))
}

#[derive(Deserialize)]
struct Kept {
    version: u32,
    position: Position,
    ledger: Ledger,
}

#[derive(Serialize)]
struct Keep<'a> {
    version: u32,
    position: Position,
    ledger: &'a Ledger,
}

async fn restored(
    log: &dyn RunLog,
    file: &Path,
    by_task: bool,
    shutdown: &Shutdown,
) -> (Ledger, Option<Position>) {
    let fresh = (Ledger::new(by_task), None);
    let read = fs::read(file).ok().and_then(|bytes| rmp_serde::from_slice::<Kept>(&bytes).ok());
    let Some(kept) = read.filter(|it| it.version == VERSION && it.ledger.is_by_task() == by_task)
    else {
        return fresh;
    };
    let mut backoff = Backoff::default();
    loop {
        match check_log(log, &Checkpoint::from(kept.position)).await {
            Ok(()) => return (kept.ledger, Some(kept.position)),
            // A log that does not answer may well be the one that was folded.
            Err(FollowError::Port(PortError::Unavailable { .. }))
                if backoff.pause_unless(shutdown).await => {}
            Err(error) => {
                tracing::info!(%error, "the figures are folded anew");
                return fresh;
            }
        }
    }
}

/// The fold, fed in its turn.
struct Folding {
    ledger: Arc<RwLock<Ledger>>,
    statsd: Option<Socket>,
    file: PathBuf,
    checkpoint: Checkpoint,
    /// Up to where the file has it.
    kept: u64,
}

impl Folding {
    fn keep(&mut self) {
        let Some(position) = self.checkpoint.position.filter(|_| self.checkpoint.seq.0 > self.kept)
        else {
            return;
        };
        let ledger = self.ledger.read().unwrap_or_else(PoisonError::into_inner);
        match replace(&self.file, &Keep { version: VERSION, position, ledger: &ledger }) {
            Ok(()) => self.kept = self.checkpoint.seq.0,
            Err(error) => {
                tracing::warn!(%error, "the figures are not kept; a start folds them anew");
            }
        }
    }
}

/// Puts what was folded in place of what `file` has, whole or not at all.
pub(super) fn replace(file: &Path, keep: &impl Serialize) -> io::Result<()> {
    let bytes = rmp_serde::to_vec_named(keep).map_err(io::Error::other)?;
    let beside = file.with_extension("new");
    fs::write(&beside, bytes)?;
    fs::rename(beside, file)
}

impl Projection for Folding {
    fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError> {
        {
            let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
            let mut socket =
                self.statsd.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
            for entry in entries {
                match &mut socket {
                    Some(socket) if metrics().was_led(entry.seq.0) => {
                        ledger.take_and_tell(entry.seq.0, &entry.record, &mut |note| {
                            tell(socket, note);
                        });
                    }
                    _ => ledger.take(entry.seq.0, &entry.record),
                }
            }
            if let Some(socket) = &mut socket {
                socket.flush();
            }
        }
        if let Some(last) = entries.last() {
            self.checkpoint = Checkpoint::from(last.position());
        }
        if self.checkpoint.seq.0 >= self.kept + KEEP_EVERY {
            self.keep();
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), ProjectionError> {
        self.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_that_stopped_shows_nothing_as_what_is() {
        let (ledger, progress) = (Arc::default(), Progress::default());
        let (alerts, behind) = (Arc::default(), Arc::default());
        let numbers = Numbers { ledger, progress: progress.clone(), alerts, behind };
        let shows = || numbers.text(false).contains("\ndagbok_log_folded_seq ");
        assert!(!shows());
        progress.update(|standing| standing.caught_up = true);
        assert!(shows());
        progress
            .update(|standing| standing.failed = Some("a record of a newer version".to_owned()));
        assert!(!shows());
        assert!(numbers.text(true).contains("dagbok_metrics_lag_records"));
    }

    #[test]
    fn a_fold_that_is_behind_for_long_or_can_not_read_tells_no_scaler_anything() {
        let (ledger, progress) = (Arc::default(), Progress::default());
        let (alerts, behind) = (Arc::default(), Arc::default());
        let numbers = Numbers { ledger, progress, alerts, behind };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stands = |applied, last| Standing {
            applied: Seq(applied),
            last: Seq(last),
            caught_up: true,
            ..Standing::default()
        };
        assert!(!numbers.is_current(&Standing::default(), at(0)), "not caught up");
        assert!(numbers.is_current(&stands(5, 5), at(1)));
        assert!(numbers.is_current(&stands(5, 9), at(2)), "a moment");
        assert!(numbers.is_current(&stands(9, 12), at(20)), "it goes on, under load");
        assert!(numbers.is_current(&stands(11, 13), at(29)));
        assert!(!numbers.is_current(&stands(11, 13), at(31)), "what was known at 20 is not in");
        assert!(numbers.is_current(&stands(13, 13), at(32)));
        let broken = Standing { broken: true, ..stands(13, 13) };
        assert!(!numbers.is_current(&broken, at(33)));
    }
}
