//! What all parts of one executor share.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dagbok_runlog::Ports;
use dagbok_runtime::{Clock, Shutdown};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    ExecutorSettings, begun::Begun, bundle::Bundles, cgroup::Cgroups, fence::Fence, held::Holds,
    log::Logs, oom::OomWatch, place::Place, reports::Reporter, room::Room, standing::Standing,
    store::Store, usage::Meters, work::Work,
};

/// One executor's parts.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it was told.
    pub(crate) settings: ExecutorSettings,
    /// The time, for reports and logs.
    pub(crate) clock: Clock,
    /// The primitives.
    pub(crate) ports: Ports,
    /// The blobs among them.
    pub(crate) store: Store,
    /// The way to the scheduler.
    pub(crate) reporter: Reporter,
    /// The tries in hand.
    pub(crate) holds: Holds,
    /// Unpacked DAG folders.
    pub(crate) bundles: Bundles,
    /// Where tries run; nowhere with the null runner.
    pub(crate) place: Option<Arc<dyn Place>>,
    /// Marks of tries that begin before that is a fact.
    pub(crate) begun: Begun,
    /// Logs of tries.
    pub(crate) logs: Logs,
    /// What they may use together.
    pub(crate) room: Arc<Room>,
    /// Groups of the kernel's that hold them to their limits, where there are any.
    pub(crate) cgroups: Option<Cgroups>,
    /// How they are held to their limits, for people.
    pub(crate) isolation: String,
    /// Their working directories.
    pub(crate) work: Work,
    /// Looks at what tries use.
    pub(crate) meters: Arc<Meters>,
    /// The kernel's kills for memory.
    pub(crate) oom: OomWatch,
    /// The lease's state.
    pub(crate) fence: Mutex<Fence>,
    /// Free slots.
    pub(crate) slots: Arc<Semaphore>,
    /// Whether it may take work.
    pub(crate) standing: Standing,
    /// Why its process is ended, in the words of whoever does that.
    pub(crate) parting: tokio::sync::watch::Sender<Option<String>>,
    /// It ends: it was asked to, or drained, or refused.
    pub(crate) shutdown: Shutdown,
    /// It was asked to end by whoever runs its process.
    pub(crate) asked: Shutdown,
}

impl Shared {
    /// Tells the outside how many slots are free, and how many tries in hand.
    pub(crate) fn tell_slots(&self) {
        let free = self.slots.available_permits() as u64;
        self.settings.stats.open_slots.store(free, Ordering::Relaxed);
        let running = u64::from(self.settings.slots).saturating_sub(free);
        self.settings.stats.running.store(running, Ordering::Relaxed);
    }
}

/// The time since boot, which goes on while the machine sleeps: a lease runs out meanwhile too.
pub(crate) fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}
