//! What goes up and down, read off what is under way.
use std::collections::BTreeMap;

use dagbok_events::{DagId, ExecutorId, PoolName, QueueName, Resources, TaskId, Timestamp};

use super::{Copy, Stands, State};

/// The slots of the pool that is always there, until somebody says otherwise.
const DEFAULT_SLOTS: u32 = 128;
/// Its name.
const DEFAULT_POOL: &str = "default_pool";

/// How a pool is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// How many slots it has; `None` for no limit.
    pub slots: Option<u32>,
    /// Slots of tries that are on offer.
    pub queued: u64,
    /// Slots of tries that run.
    pub running: u64,
    /// Slots of tasks that are deferred, whether they count or not.
    pub deferred: u64,
    /// Slots that are free; `None` for no limit.
    pub open: Option<i64>,
}

/// What tries on offer ask for together, and how many of their kind run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Tries on offer, each of which wants a slot.
    pub slots: u64,
    /// Tries that run, and have one.
    pub running: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// CPUs, in thousandths.
    pub cpu_milli: u64,
    /// GPUs.
    pub gpus: u64,
    /// What else is counted, by name.
    pub custom: BTreeMap<String, u64>,
}

impl Wanted {
    fn add(&mut self, asked: Option<&Resources>) {
        self.slots += 1;
        let Some(asked) = asked else { return };
        self.memory = self.memory.saturating_add(asked.memory.unwrap_or(0));
        self.cpu_milli = self.cpu_milli.saturating_add(asked.cpu_milli.unwrap_or(0));
        self.gpus += u64::from(asked.gpus);
        for (name, count) in &asked.custom {
            let sum = self.custom.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

/// Labels in one line, in order: `region=eu,tier=fast`; nothing where none is asked for.
pub fn label_text(labels: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    each.join(",")
}

/// What waits on a queue, and who pulls from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Tries on offer.
    pub queued: u64,
    /// Tries that run.
    pub running: u64,
    /// Since when the oldest is on offer.
    pub oldest: Option<Timestamp>,
    /// Executors that take work from it: those that pull, less those that are cordoned.
    pub executors: u64,
    /// How many tries those can hold together.
    pub slots: u64,
    /// What is asked for by tries on offer, and what runs, by the labels that they ask for, in one line.
    pub wanted: BTreeMap<String, Wanted>,
    /// Slots of cordoned executors in which nothing runs, by the labels of those, in one line.
    pub cordoned: BTreeMap<String, u64>,
}

impl State {
    fn copies(&self) -> impl Iterator<Item = &Copy> {
        self.runs.values().flat_map(|run| run.copies.values().flat_map(BTreeMap::values))
    }

    /// Tasks of unfinished runs by state; every state that there is.
    pub fn tasks(&self) -> Vec<(&'static str, u64)> {
        let mut counts = BTreeMap::from(Stands::ALL.map(|it| (it, 0)));
        for copy in self.copies() {
            *counts.entry(copy.stands).or_default() += 1;
        }
        counts.into_iter().map(|(stands, count)| (stands.word(), count)).collect()
    }

    /// How many copies of each task stand how, by queue: `ti.queued`, `ti.running`, `ti.deferred`.
    pub fn by_task(&self) -> BTreeMap<(&'static str, &QueueName, &DagId, &TaskId), u64> {
        let mut counts = BTreeMap::new();
        for (key, run) in &self.runs {
            for (task, copies) in &run.copies {
                for copy in copies.values() {
                    let name = match copy.stands {
                        Stands::Queued => "ti.queued",
                        Stands::Running => "ti.running",
                        Stands::Deferred => "ti.deferred",
                        Stands::UpForRetry | Stands::UpForReschedule => continue,
                    };
                    *counts.entry((name, &copy.queue, &key.dag_id, task)).or_insert(0) += 1;
                }
            }
        }
        counts
    }

    /// Unfinished runs: those that wait for their turn, and those that run.
    pub fn runs(&self) -> (u64, u64) {
        let running = self.runs.values().filter(|run| run.started_at.is_some()).count() as u64;
        (self.runs.len() as u64 - running, running)
    }

    /// DAGs of which a run is under way.
    pub fn running_dags(&self) -> u64 {
        let running = self.runs.iter().filter(|(_, run)| run.started_at.is_some());
        let mut dags: Vec<_> = running.map(|(key, _)| &key.dag_id).collect();
        dags.dedup();
        dags.len() as u64
    }

    /// How every pool is used.
    pub fn pools(&self) -> BTreeMap<&str, PoolUse> {
        let mut uses: BTreeMap<&str, PoolUse> = BTreeMap::new();
        let default = PoolUse { slots: Some(DEFAULT_SLOTS), ..PoolUse::default() };
        uses.insert(DEFAULT_POOL, default);
        for (name, pool) in &self.pools {
            uses.insert(name.as_str(), PoolUse { slots: pool.slots, ..PoolUse::default() });
        }
        for copy in self.copies() {
            let pool = uses.entry(PoolName::as_str(&copy.pool)).or_default();
            let slots = u64::from(copy.slots);
            match copy.stands {
                Stands::Queued => pool.queued += slots,
                Stands::Running => pool.running += slots,
                Stands::Deferred => pool.deferred += slots,
                Stands::UpForRetry | Stands::UpForReschedule => {}
            }
        }
        for (name, pool) in &mut uses {
            let counts = self.pools.get(*name).is_some_and(|it| it.counts_deferred);
            let taken = pool.queued + pool.running + if counts { pool.deferred } else { 0 };
            let taken = i64::try_from(taken).unwrap_or(i64::MAX);
            pool.open = pool.slots.map(|slots| i64::from(slots) - taken);
        }
        uses
    }

    /// Every queue that was ever seen.
    pub fn queues(&self) -> BTreeMap<&str, Depth> {
        let mut queues: BTreeMap<&str, Depth> =
            self.queues.iter().map(|queue| (queue.as_str(), Depth::default())).collect();
        let copies = self.runs.iter().flat_map(|(key, run)| {
            let tasks = run.copies.iter();
            tasks.flat_map(move |(task, copies)| copies.values().map(move |it| (key, task, it)))
        });
        for (key, task, copy) in copies {
            let depth = queues.entry(QueueName::as_str(&copy.queue)).or_default();
            let asked = || {
                let asked = self.dags.get(&key.dag_id).and_then(|dag| dag.asks.get(task));
                (asked, asked.map(|it| label_text(&it.labels)).unwrap_or_default())
            };
            match copy.stands {
                Stands::Queued => {
                    let (asked, labels) = asked();
                    depth.wanted.entry(labels).or_default().add(asked);
                    depth.queued += 1;
                    let oldest = depth.oldest.get_or_insert(copy.queued_at);
                    *oldest = (*oldest).min(copy.queued_at);
                }
                Stands::Running => {
                    depth.wanted.entry(asked().1).or_default().running += 1;
                    depth.running += 1;
                }
                _ => {}
            }
        }
        let idle = self.idle_cordoned();
        for (id, executor) in &self.executors {
            for queue in &executor.queues {
                let depth = queues.entry(queue.as_str()).or_default();
                if let Some(idle) = idle.get(id) {
                    *depth.cordoned.entry(label_text(&executor.labels)).or_default() += idle;
                } else {
                    depth.executors += 1;
                    depth.slots += u64::from(executor.slots);
                }
            }
        }
        queues
    }

    /// Of each cordoned executor that is there in how many slots nothing runs.
    fn idle_cordoned(&self) -> BTreeMap<&ExecutorId, u64> {
        let cordoned = self.executors.iter().filter(|(_, it)| self.cordoned.contains(&it.name));
        let mut idle: BTreeMap<&ExecutorId, u64> =
            cordoned.map(|(id, it)| (id, u64::from(it.slots))).collect();
        if idle.is_empty() {
            return idle;
        }
        for copy in self.copies().filter(|it| it.stands == Stands::Running) {
            let slots = copy.executor.as_ref().and_then(|id| idle.get_mut(id));
            if let Some(slots) = slots {
                *slots = slots.saturating_sub(1);
            }
        }
        idle
    }

    /// Executors that are there, and all their slots less those that a cordon keeps empty.
    pub fn executors(&self) -> (u64, u64) {
        let slots: u64 = self.executors.values().map(|it| u64::from(it.slots)).sum();
        let idle: u64 = self.idle_cordoned().values().sum();
        (self.executors.len() as u64, slots.saturating_sub(idle))
    }

    /// DAGs that are active, paused, gone from their file.
    pub fn dags(&self) -> (u64, u64, u64) {
        self.dags.values().fold((0, 0, 0), |(active, paused, gone), dag| {
            if dag.is_gone {
                (active, paused, gone + 1)
            } else if dag.is_paused {
                (active, paused + 1, gone)
            } else {
                (active + 1, paused, gone)
            }
        })
    }

    /// DAG files that can't be read.
    pub fn import_errors(&self) -> u64 {
        self.unreadable.len() as u64
    }

    /// When the next run of any DAG is due that could be made: of none that is paused, nor of one with as many runs under
    /// way as it may have. That one catches up as they end, and is not late.
    pub fn next_due(&self) -> Option<Timestamp> {
        let mut active: BTreeMap<&DagId, u32> = BTreeMap::new();
        for (key, _) in self.runs.iter().filter(|(_, run)| !run.is_apart) {
            *active.entry(&key.dag_id).or_default() += 1;
        }
        let may = self.dags.iter().filter(|(dag_id, dag)| {
            let is_full = dag.most_runs > 0
                && active.get(dag_id).is_some_and(|active| *active >= dag.most_runs);
            !dag.is_paused && !dag.is_gone && !is_full
        });
        may.filter_map(|(_, dag)| dag.due).min()
    }
}
