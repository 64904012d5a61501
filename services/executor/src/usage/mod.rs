//! Looks at what tries use: one thread for all of them, which reads what the kernel counts of each try and all
//! that it started. What it saw is kept in a fixed room for each try, told while it runs, and stored with its log.
mod gpu;
mod series;
mod tree;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use dagbok_events::{Limits, OutOfMemory, OutOfMemoryBy, Timestamp, TryKey};
use dagbok_protocol::{Measured, UsageSeries};
use gpu::Gpus;
use parking_lot::Mutex;
use series::Series;
pub(crate) use tree::field;
use tree::{Member, Proc, Seen};

use crate::{
    cgroup::Group,
    held::{Control, Held, Kill},
};

/// How often a try is looked at that nobody but us holds to its limit.
const GLANCE: Duration = Duration::from_millis(250);

/// Looking takes at most this part of a core: where a round takes longer, the next is later.
const SHARE: u32 = 20;

/// All tries that are looked at.
#[derive(Debug)]
pub(crate) struct Meters {
    tries: Mutex<BTreeMap<TryKey, Arc<Meter>>>,
    proc: Proc,
    /// The thread ends when this is gone.
    _end: mpsc::Sender<()>,
}

/// One try that is looked at.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    /// When that process began, as the kernel counts.
    began: u64,
    since: Instant,
    began_at: Timestamp,
    bound: Bound,
    series: Mutex<Series>,
    last: Mutex<Option<Member>>,
}

/// What a try that is looked at may use, and who sees to that.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// What it may use.
    pub(crate) limits: Limits,
    /// Its own cgroup, which holds it to that.
    pub(crate) group: Option<Arc<Group>>,
    /// Without one: who is told when it has more memory than it may.
    pub(crate) over: Option<Arc<Held>>,
}

impl Meters {
    /// Looks at each try once in `every`.
    pub(crate) fn start(every: Duration) -> Arc<Self> {
        let (end, ended) = mpsc::channel();
        let meters = Arc::new(Self { tries: Mutex::default(), proc: Proc::new(), _end: end });
        let looking = Arc::downgrade(&meters);
        let thread = thread::Builder::new().name("usage".to_owned());
        if let Err(error) = thread.spawn(move || look_on(&looking, every, &ended)) {
            tracing::error!(%error, "no thread could be made: what tries use is not looked at");
        }
        meters
    }

    /// From now on; without its process nothing is looked at.
    pub(crate) fn watch(
        self: &Arc<Self>,
        key: &TryKey,
        pid: u32,
        at: Timestamp,
        bound: Bound,
    ) -> Watched {
        let meter = Arc::new(Meter {
            pid,
            began: self.proc.stat(pid).map_or(0, |stat| stat.began),
            since: Instant::now(),
            began_at: at,
            bound,
            series: Mutex::default(),
            last: Mutex::default(),
        });
        self.tries.lock().insert(key.clone(), Arc::clone(&meter));
        Watched { meters: Arc::clone(self), key: key.clone(), meter }
    }

    /// What a try that is looked at used so far.
    pub(crate) fn of(&self, key: &TryKey) -> Option<UsageSeries> {
        let meter = self.tries.lock().get(key).cloned()?;
        meter.series()
    }

    fn all(&self) -> Vec<Arc<Meter>> {
        self.tries.lock().values().cloned().collect()
    }

    /// Whether a try has a limit that nobody but us holds it to.
    fn must_hurry(&self) -> bool {
        self.tries.lock().values().any(|meter| meter.is_held_by_us())
    }

    fn look(&self, gpus: &mut Gpus) {
        let tries = self.all();
        if tries.is_empty() {
            return;
        }
        let gpu = gpus.ask();
        for meter in tries {
            if let Some(mut seen) = self.proc.look(meter.pid, meter.began) {
                let of = |used: &BTreeMap<u32, u64>| {
                    seen.pids.iter().filter_map(|pid| used.get(pid)).sum()
                };
                seen.sample.gpu_bytes = gpu.as_ref().map(of);
                meter.saw(seen, true);
            }
        }
    }

    /// A look between two, at those that we hold to a limit.
    fn glance(&self) {
        for meter in self.all().into_iter().filter(|meter| meter.is_held_by_us()) {
            if let Some(seen) = self.proc.look(meter.pid, meter.began) {
                meter.saw(seen, false);
            }
        }
    }
}

impl Meter {
    const fn is_held_by_us(&self) -> bool {
        self.bound.limits.memory.is_some() && self.bound.over.is_some()
    }

    fn saw(&self, mut seen: Seen, keep: bool) {
        if let Some(group) = &self.bound.group {
            seen.sample.memory = group.memory().unwrap_or(seen.sample.memory);
            seen.sample.cpu_us = group.cpu_us().unwrap_or(seen.sample.cpu_us);
        }
        let peak = {
            let mut series = self.series.lock();
            series.note(seen.sample.memory);
            if keep {
                series.push(self.since.elapsed(), seen.sample);
            }
            series.peak()
        };
        if let (Some(limit), Some(held)) = (self.bound.limits.memory, &self.bound.over)
            && seen.sample.memory > limit
        {
            let (process, pid) = named(seen.largest.as_ref());
            let by = OutOfMemoryBy::Executor;
            let why = OutOfMemory { limit_bytes: Some(limit), peak_bytes: peak, by, process, pid };
            held.tell(Control::Kill(Kill::OutOfMemory(Box::new(why))));
        }
        *self.last.lock() = seen.largest;
    }

    fn series(&self) -> Option<UsageSeries> {
        let exact = self.bound.group.as_ref().and_then(|group| group.peak());
        let measured =
            if self.bound.group.is_some() { Measured::Cgroup } else { Measured::Processes };
        let head = UsageSeries {
            began_at: self.began_at,
            measured,
            peak_bytes: exact.unwrap_or(0),
            peak_is_exact: exact.is_some(),
            memory_limit: self.bound.limits.memory,
            cpu_limit_milli: self
                .bound
                .limits
                .cpu_milli
                .and_then(|milli| u32::try_from(milli).ok()),
            ..UsageSeries::default()
        };
        let series = self.series.lock();
        (!series.is_empty()).then(|| series.columns(head))
    }
}

fn named(member: Option<&Member>) -> (String, u32) {
    member.map(|member| (member.name.clone(), member.pid)).unwrap_or_default()
}

/// A try is looked at until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    meters: Arc<Meters>,
    key: TryKey,
    meter: Arc<Meter>,
}

impl Watched {
    /// All that was seen; `None` where there was no look.
    pub(crate) fn series(&self) -> Option<UsageSeries> {
        self.meter.series()
    }

    /// The most resident memory that was seen, in bytes; 0 where another figure is what was looked at.
    pub(crate) fn resident(&self) -> u64 {
        if self.meter.bound.group.is_some() { 0 } else { self.meter.series.lock().peak() }
    }

    /// What it had of memory at most, and who had the most of that at the last look.
    pub(crate) fn killed(&self, by: OutOfMemoryBy, limit_bytes: Option<u64>) -> OutOfMemory {
        let (mut process, mut pid) = named(self.meter.last.lock().as_ref());
        if pid == 0 {
            (process, pid) = ("python".to_owned(), self.meter.pid);
        }
        let exact = self.meter.bound.group.as_ref().and_then(|group| group.peak());
        let peak_bytes = exact.unwrap_or_else(|| self.meter.series.lock().peak());
        OutOfMemory { limit_bytes, peak_bytes, by, process, pid }
    }

    /// A kill for memory in the try's own group.
    pub(crate) fn killed_at_limit(&self) -> Option<OutOfMemory> {
        let Bound { limits, group, .. } = &self.meter.bound;
        let events = group.as_ref()?.events();
        // What the whole executor ran out of is no matter of the try's own limit.
        (events.killed > 0 && events.at_limit > 0 && limits.memory.is_some())
            .then(|| self.killed(OutOfMemoryBy::Limit, limits.memory))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut tries = self.meters.tries.lock();
        if tries.get(&self.key).is_some_and(|now| Arc::ptr_eq(now, &self.meter)) {
            tries.remove(&self.key);
        }
    }
}

fn look_on(meters: &Weak<Meters>, every: Duration, ended: &mpsc::Receiver<()>) {
    let mut gpus = Gpus::find();
    let (mut due, mut wait) = (Instant::now() + every, GLANCE.min(every));
    while ended.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(meters) = meters.upgrade() else { return };
        let begun = Instant::now();
        if begun >= due {
            meters.look(&mut gpus);
            due = begun + every.max(begun.elapsed() * SHARE);
        } else if meters.must_hurry() {
            meters.glance();
        }
        wait = GLANCE.max(begun.elapsed() * SHARE).min(every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_looked_at_while_it_is_watched() {
        let meters = Meters::start(Duration::from_millis(1));
        let key: TryKey = serde_json::from_value(serde_json::json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1,
        }))
        .unwrap();
        let watched =
            meters.watch(&key, std::process::id(), Timestamp::default(), Bound::default());
        while watched.series().is_none() {
            thread::yield_now();
        }
        let series = meters.of(&key).unwrap();
        assert!(series.memory[0] > 1 << 20 && series.processes[0] >= 1, "{series:?}");
        assert!(watched.resident() >= series.memory[0]);
        drop(watched);
        assert_eq!(meters.of(&key), None);
    }
}
