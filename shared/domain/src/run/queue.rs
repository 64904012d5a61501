//! Instances of a run that wait for nothing but room, or only for a time and room.
use std::{cmp::Reverse, collections::BTreeSet};

use dagbok_events::{PoolName, TaskId, TaskSpec, Timestamp};

use super::InstanceNo;

/// A line's place in its version of a DAG.
pub type LineNo = u32;

/// Tasks that can only go together or not at all: of the same pool, each in need of so many slots, under the
/// same cap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Whose slots.
    pub pool: PoolName,
    /// How many each needs.
    pub slots: u32,
    /// A task that has a limit of its own stands alone.
    pub cap: Option<Cap>,
}

/// How many tries of one task may be in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cap {
    /// Which task.
    pub task_id: TaskId,
    /// Over all runs of the DAG: `max_active_tis_per_dag`.
    pub per_dag: Option<u32>,
    /// In one run: `max_active_tis_per_dagrun`.
    pub per_run: Option<u32>,
}

/// The more urgent, the lower.
pub type Weight = Reverse<i32>;

impl Line {
    /// Where instances of this task wait.
    pub fn of(spec: &TaskSpec) -> Self {
        let (per_dag, per_run) = (spec.max_active_tis_per_dag, spec.max_active_tis_per_dagrun);
        let task_id = || spec.task_id.clone();
        let cap = (per_dag.is_some() || per_run.is_some()).then(|| Cap {
            task_id: task_id(),
            per_dag,
            per_run,
        });
        Self { pool: spec.pool.clone(), slots: spec.pool_slots, cap }
    }

    /// How many tries of its task one run may have in flight.
    pub fn per_run(&self) -> Option<u32> {
        self.cap.as_ref()?.per_run
    }
}

/// The instances of one line.
#[derive(Clone, Debug, Default)]
pub struct LineQueue {
    ready: BTreeSet<(Weight, InstanceNo)>,
    later: BTreeSet<(Timestamp, Weight, InstanceNo)>,
}

impl LineQueue {
    pub(super) fn add(&mut self, weight: i32, due: Option<Timestamp>, no: InstanceNo) {
        match due {
            // What is ripe stays so when it is put in its place again.
            Some(_) if self.ready.contains(&(Reverse(weight), no)) => false,
            Some(due) => self.later.insert((due, Reverse(weight), no)),
            None => self.ready.insert((Reverse(weight), no)),
        };
    }

    /// Takes out what waits, until `due` where it waits for a time: what is ripe stands with those that do not.
    pub(super) fn remove(&mut self, weight: i32, due: Option<Timestamp>, no: InstanceNo) {
        let later = due.is_some_and(|due| self.later.remove(&(due, Reverse(weight), no)));
        if !later {
            self.ready.remove(&(Reverse(weight), no));
        }
    }

    /// What waited until `due` waits for nothing but room from now on.
    pub(super) fn ripen(&mut self, weight: i32, due: Timestamp, no: InstanceNo) {
        if self.later.remove(&(due, Reverse(weight), no)) {
            self.ready.insert((Reverse(weight), no));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.later.is_empty()
    }

    /// The weight of the most urgent one that is ready.
    pub fn head(&self) -> Option<Weight> {
        self.ready.first().map(|(weight, _)| *weight)
    }

    /// When the first of those that wait for a time is due.
    pub fn first_due(&self) -> Option<Timestamp> {
        self.later.first().map(|(due, _, _)| *due)
    }

    /// Those that are ready, most urgent first.
    pub fn ready(&self) -> impl Iterator<Item = (Weight, InstanceNo)> {
        self.ready.iter().copied()
    }

    /// Those whose time has come, and that are not ripe yet.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (Weight, InstanceNo)> {
        let due = self.later.iter().take_while(move |(due, _, _)| *due <= now);
        due.map(|(_, weight, no)| (*weight, *no))
    }
}
