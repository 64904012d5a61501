//! Instances of a run that wait for nothing but room, or only for a time and room.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use dagbok_events::{PoolName, TaskSpec, Timestamp};

use super::InstanceNo;

/// Instances that can only go together or not at all: of the same pool, each in need of so many slots.
pub type Line = (PoolName, u32);

/// The more urgent, the lower.
pub type Weight = Reverse<i32>;

/// Where an instance of this task waits.
pub(super) fn line_of(spec: &TaskSpec) -> Line {
    (spec.pool.clone(), spec.pool_slots)
}

/// The instances of one line.
#[derive(Clone, Debug, Default)]
pub struct LineQueue {
    ready: BTreeSet<(Weight, InstanceNo)>,
    later: BTreeMap<Weight, BTreeSet<(Timestamp, InstanceNo)>>,
}

impl LineQueue {
    pub(super) fn add_ready(&mut self, weight: i32, no: InstanceNo) {
        self.ready.insert((Reverse(weight), no));
    }

    pub(super) fn remove_ready(&mut self, weight: i32, no: InstanceNo) {
        self.ready.remove(&(Reverse(weight), no));
    }

    pub(super) fn add_later(&mut self, weight: i32, due: Timestamp, no: InstanceNo) {
        self.later.entry(Reverse(weight)).or_default().insert((due, no));
    }

    pub(super) fn remove_later(&mut self, weight: i32, due: Timestamp, no: InstanceNo) {
        if let Some(waiting) = self.later.get_mut(&Reverse(weight)) {
            waiting.remove(&(due, no));
            if waiting.is_empty() {
                self.later.remove(&Reverse(weight));
            }
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
        self.later.values().filter_map(|waiting| Some(waiting.first()?.0)).min()
    }

    /// Those that are ready, most urgent first.
    pub fn ready(&self) -> impl Iterator<Item = (Weight, InstanceNo)> {
        self.ready.iter().copied()
    }

    /// Those whose time has come, in a stream for each weight.
    pub fn due(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = impl Iterator<Item = (Weight, InstanceNo)>> {
        self.later.iter().map(move |(weight, waiting)| {
            let due = waiting.iter().take_while(move |(due, _)| *due <= now);
            due.map(|(_, no)| (*weight, *no))
        })
    }
}
