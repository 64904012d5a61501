//! One DAG run: what its log adds up to, and what the rules make of that.
//!
//! A [`Run`] is changed by `evolve` alone, which also keeps its indexes (ready tasks, retries due,
//! upstream tallies), so that no question costs a scan. What may happen is decided in
//! [`crate::namespace`], because limits span runs.
mod consequences;
mod evolve;
mod saved;
mod state;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use dagbok_events::{
    Digest, Interval, MapIndex, Payload, PoolName, RunKey, RunType, TaskId, TaskSpec, Timestamp,
    TryNumber,
};
pub use evolve::{Change, Handed};
pub use saved::SavedTask;
use serde::{Deserialize, Serialize};
pub use state::{Done, Hold, TaskState};

use crate::{
    graph::{Ix, Version},
    trigger_rule::{Tally, Verdict, judge},
};

/// What a run was created with, unchanged for as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// How it came about.
    pub run_type: RunType,
    /// What it stands for.
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// Its code.
    pub bundle: Digest,
    /// What came with the trigger.
    pub conf: Option<Payload>,
    /// What whoever triggered it wrote.
    pub note: Option<String>,
    /// Who triggered it.
    pub triggered_by: Option<String>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Created, waiting for its turn.
    Queued,
    /// Its tasks may go.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Over.
    Over(Ending),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Every leaf succeeded or was skipped.
    Success,
    /// A leaf failed, it took too long, or somebody ended it.
    Failed,
}

/// Where one task stands, and how often it was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it stands.
    pub state: TaskState,
    /// Tries made so far; the next one's number is one more.
    pub tries: u16,
    /// Tries that failed by the user's fault: these use up retries.
    pub failures: u16,
    /// Tries that the system lost.
    pub losses: u16,
    upstream: Tally,
}

/// Where a value that a task handed on is found in [`Run::xcoms`]: task, map index, key.
pub type XComKey = (Ix, i32, String);

/// Tasks that can only go together or not at all: of the same pool, each in need of so many slots.
pub type Line = (PoolName, u32);

/// Tasks, most urgent first.
pub type Urgency = BTreeSet<(Reverse<i32>, Ix)>;

/// A run that is not over, or was just ended.
#[derive(Clone, Debug)]
pub struct Run {
    key: RunKey,
    meta: RunMeta,
    version: Arc<Version>,
    phase: Phase,
    tasks: Vec<Task>,
    ready: BTreeMap<Line, Urgency>,
    retries: BTreeSet<(Timestamp, Ix)>,
    in_flight: BTreeSet<Ix>,
    open: usize,
    leaf_failed: bool,
    xcoms: BTreeMap<XComKey, Payload>,
}

impl Run {
    /// A run just created.
    pub fn new(key: RunKey, meta: RunMeta, version: Arc<Version>) -> Self {
        let count = u32::try_from(version.len()).expect("limits keep a DAG's tasks far below this");
        let tasks = (0..count)
            .map(|ix| {
                let total = version.upstream_count(ix);
                let upstream = Tally { total, ..Tally::default() };
                Task { state: TaskState::Waiting, tries: 0, failures: 0, losses: 0, upstream }
            })
            .collect();
        let mut run = Self {
            key,
            meta,
            phase: Phase::Queued,
            tasks,
            ready: BTreeMap::new(),
            retries: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            open: version.len(),
            leaf_failed: false,
            xcoms: BTreeMap::new(),
            version,
        };
        for ix in 0..count {
            run.index_ready(ix);
        }
        run
    }

    /// Whose run it is, and which.
    pub const fn key(&self) -> &RunKey {
        &self.key
    }

    /// What it was created with.
    pub const fn meta(&self) -> &RunMeta {
        &self.meta
    }

    /// The DAG as it runs it.
    pub const fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// How far it has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// A task by place.
    pub fn task(&self, ix: Ix) -> &Task {
        &self.tasks[ix as usize]
    }

    /// A task by name; mapped copies are not made yet, so only the plain index is found.
    pub fn find(&self, task_id: &TaskId, map_index: MapIndex) -> Option<Ix> {
        if map_index.is_unmapped() { self.version.find(task_id) } else { None }
    }

    /// All tasks, in the DAG's order.
    pub fn tasks(&self) -> impl Iterator<Item = (Ix, &Task)> {
        (0..).zip(&self.tasks)
    }

    /// The tasks with a try in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = Ix> {
        self.in_flight.iter().copied()
    }

    /// How many tries are in flight.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// The values handed on so far.
    pub const fn xcoms(&self) -> &BTreeMap<XComKey, Payload> {
        &self.xcoms
    }

    /// Ready tasks, in one line for each pool and number of slots: where the first of a line finds no
    /// room, none behind it does.
    pub fn ready(&self) -> impl Iterator<Item = &Urgency> {
        self.ready.values()
    }

    /// Whether anything waits only for slots.
    pub fn is_hungry(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Retries that have come due.
    pub fn retries_due(&self, now: Timestamp) -> impl Iterator<Item = Ix> {
        self.retries.iter().take_while(move |(due, _)| *due <= now).map(|(_, ix)| *ix)
    }

    /// When something falls due first: a retry, the run's own start, or its timeout.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.next_due_after(Timestamp(i64::MIN))
    }

    /// As [`Run::next_due`], of what falls due after `now` only.
    pub fn next_due_after(&self, now: Timestamp) -> Option<Timestamp> {
        let retries = self.retries.range((Bound::Excluded((now, Ix::MAX)), Bound::Unbounded));
        let retry = retries.map(|(due, _)| *due).next();
        let own = match self.phase {
            Phase::Queued => Some(self.meta.run_after),
            Phase::Running { .. } => self.times_out_at(),
            Phase::Over(_) => None,
        };
        [retry, own.filter(|due| *due > now)].into_iter().flatten().min()
    }

    /// When `dagrun_timeout` ends it.
    pub fn times_out_at(&self) -> Option<Timestamp> {
        match (self.phase, self.version.spec.dagrun_timeout) {
            (Phase::Running { since }, Some(timeout)) => Some(since.plus(timeout)),
            _ => None,
        }
    }

    /// Whether this task may be queued now, and as which try.
    pub fn may_queue(&self, ix: Ix, now: Timestamp) -> Option<TryNumber> {
        let task = self.task(ix);
        let may = match task.state {
            TaskState::Waiting => self.verdict(ix) == Verdict::Ready,
            TaskState::UpForRetry { due, .. } => due <= now,
            TaskState::Queued { .. } | TaskState::Running { .. } | TaskState::Done(_) => false,
        };
        if may && matches!(self.phase, Phase::Running { .. }) {
            TryNumber::new(task.tries.checked_add(1)?)
        } else {
            None
        }
    }

    /// Whether the task's tries can be counted further.
    pub fn has_another_try(&self, ix: Ix) -> bool {
        self.task(ix).tries < u16::MAX
    }

    fn verdict(&self, ix: Ix) -> Verdict {
        judge(self.version.task(ix).trigger_rule, self.task(ix).upstream)
    }

    fn index_ready(&mut self, ix: Ix) {
        if self.task(ix).state == TaskState::Waiting && self.verdict(ix) == Verdict::Ready {
            let spec = self.version.task(ix);
            let entry = (Reverse(spec.priority_weight), ix);
            self.ready.entry(line_of(spec)).or_default().insert(entry);
        }
    }

    fn unindex_ready(&mut self, ix: Ix) {
        let version = Arc::clone(&self.version);
        let spec = version.task(ix);
        let line = line_of(spec);
        if let Some(tasks) = self.ready.get_mut(&line) {
            tasks.remove(&(Reverse(spec.priority_weight), ix));
            if tasks.is_empty() {
                self.ready.remove(&line);
            }
        }
    }
}

fn line_of(spec: &TaskSpec) -> Line {
    (spec.pool.clone(), spec.pool_slots)
}
