//! Figures of one executor, for whoever serves metrics: counters that only rise, and a hook for times.
use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A stretch of a try's life that is worth a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// From when the scheduler queued the try (its clock) to when its process was there (ours).
    QueueToStart,
    /// From the pull of the work item to when its process was there.
    PullToStart,
    /// From the task's last word to its terminal report being in the inbox.
    HandOff,
}

type Hook = Box<dyn Fn(Stretch, Duration) + Send + Sync>;

/// What an executor does and did. All of it may be read at any time.
#[derive(Default)]
pub struct ExecutorStats {
    /// Tries in hand.
    pub running: AtomicU64,
    /// Slots that are free.
    pub open_slots: AtomicU64,
    /// Work items pulled.
    pub pulled: AtomicU64,
    /// Tries that succeeded.
    pub succeeded: AtomicU64,
    /// Tries that failed.
    pub failed: AtomicU64,
    /// Tries whose code said to skip.
    pub skipped: AtomicU64,
    /// Tries lost here: fenced, drained, or their zygote gone.
    pub lost: AtomicU64,
    /// Tries dropped because the scheduler said that they are not ours, or not wanted.
    pub dropped: AtomicU64,
    /// DAG files loaded.
    pub loads: AtomicU64,
    /// Beats at which neither the leases nor the presence could be renewed.
    pub failed_beats: AtomicU64,
    hook: OnceLock<Hook>,
}

impl ExecutorStats {
    /// Has every measured stretch told to `hook`, which must be quick. Only the first one set counts.
    pub fn on_stretch(&self, hook: impl Fn(Stretch, Duration) + Send + Sync + 'static) {
        if self.hook.set(Box::new(hook)).is_err() {
            tracing::warn!("the executor's figures have a listener already; the second is ignored");
        }
    }

    pub(crate) fn tell(&self, stretch: Stretch, took: Duration) {
        if let Some(hook) = self.hook.get() {
            hook(stretch, took);
        }
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ExecutorStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorStats")
            .field("running", &self.running)
            .field("open_slots", &self.open_slots)
            .field("pulled", &self.pulled)
            .finish_non_exhaustive()
    }
}
