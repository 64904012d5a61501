//! Clearing: which tasks that are done are to run again, and what that makes of their run.
//!
//! What was ruled out downstream of a cleared task is cleared with it: it was judged by an outcome that no
//! longer stands. What ran there stays as it is, as in Airflow.
use std::{collections::BTreeSet, ops::Range};

use dagbok_events::{Fact, MapIndex, TaskCleared, TaskId, TasksWere, Timestamp};
use dagbok_protocol::{ClearedTask, OnRunning, TaskCopy};

use super::{Done, InstanceNo, Phase, Run, TaskState};
use crate::graph::Ix;

/// What is to be cleared of a run.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own in Airflow")]
pub struct Clearing<'a> {
    /// These tasks, all of their copies; every task where neither this nor `copies` names one.
    pub task_ids: &'a [TaskId],
    /// Single copies.
    pub copies: &'a [TaskCopy],
    /// Only copies that failed, or were ruled out by a failure.
    pub only_failed: bool,
    /// Only copies of which a try is in flight.
    pub only_running: bool,
    /// All that is upstream of what is named, too.
    pub upstream: bool,
    /// All that is downstream of it, too.
    pub downstream: bool,
    /// What becomes of copies that are not done, and have begun.
    pub running: OnRunning,
}

/// Tasks, or single copies of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) whole: BTreeSet<Ix>,
    pub(super) copies: BTreeSet<(Ix, MapIndex)>,
}

impl Picked {
    pub(super) fn has(&self, node: Ix, map_index: MapIndex) -> bool {
        self.whole.contains(&node) || self.copies.contains(&(node, map_index))
    }

    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.copies.len()
    }
}

impl Run {
    /// The copies to clear, in the DAG's order.
    pub fn to_clear(&self, clearing: Clearing<'_>) -> Vec<ClearedTask> {
        self.to_clear_below(clearing, Picked::default())
    }

    /// The same, and whatever was ruled out of what is picked, or below that.
    pub(super) fn to_clear_below(&self, clearing: Clearing<'_>, below: Picked) -> Vec<ClearedTask> {
        let named = self.named(clearing);
        let takes = |node, no: InstanceNo, state: &TaskState| {
            let asked = named.as_ref().is_none_or(|it| it.has(node, self.arena.get(no).map_index));
            asked && is_meant(clearing, state)
        };
        self.to_clear_by(takes, &Picked::default(), below)
    }

    /// The copies that `takes` says, and whatever was ruled out `below` or below them; of those that are `spared` none.
    pub(super) fn to_clear_by(
        &self,
        takes: impl Fn(Ix, InstanceNo, &TaskState) -> bool,
        spared: &Picked,
        mut below: Picked,
    ) -> Vec<ClearedTask> {
        loop {
            let known = below.len();
            let cleared = self.to_clear_with(&takes, spared, &mut below);
            // What a task decided against need not come after it in the DAG's order.
            if self.skips.is_empty() || below.len() == known {
                return cleared;
            }
        }
    }

    /// What is named; nothing where that is all.
    fn named(&self, clearing: Clearing<'_>) -> Option<Picked> {
        if clearing.task_ids.is_empty() && clearing.copies.is_empty() {
            return None;
        }
        let mut named = Picked::default();
        let whole = clearing.task_ids.iter().map(|id| (id, None));
        let copies = clearing.copies.iter().map(|it| (&it.task_id, Some(it.map_index)));
        for (task_id, map_index) in whole.chain(copies) {
            let Some(node) = self.version.find(task_id) else { continue };
            // With a task its setups run again, and their teardowns, as in Airflow.
            let around = self.version.setups_and_teardowns(node).into_iter();
            for other in around.chain([node]) {
                match map_index.filter(|_| other == node || self.version.are_together(node, other))
                {
                    Some(map_index) => named.copies.insert((other, map_index)),
                    None => named.whole.insert(other),
                };
            }
        }
        let nodes: BTreeSet<Ix> = named_nodes(self, clearing.task_ids, clearing.copies);
        if clearing.upstream {
            named.whole.extend(self.version.all_before(&nodes));
        }
        if clearing.downstream {
            named.whole.extend(self.version.all_after(&nodes));
        }
        Some(named)
    }

    /// The same where what was ruled out of `below` is to be cleared, too: takes in what is below the rest.
    fn to_clear_with(
        &self,
        takes: &impl Fn(Ix, InstanceNo, &TaskState) -> bool,
        spared: &Picked,
        below: &mut Picked,
    ) -> Vec<ClearedTask> {
        let mut cleared = Vec::new();
        for node in 0..self.version.node_count() {
            let task_id = &self.version.task(node).task_id;
            let pick = |no, state: &TaskState| {
                let map_index = self.arena.get(no).map_index;
                let ruled_out = matches!(state.done(), Some(Done::RuledOut(_)));
                let judged_anew = ruled_out && below.has(node, map_index);
                let stays =
                    || state.done().is_some_and(Done::is_no_part) || spared.has(node, map_index);
                ((judged_anew || takes(node, no, state)) && !stays()).then_some(())
            };
            let stretches = self.stretches(self.arena.numbers(node), pick);
            let stretches: Vec<Range<InstanceNo>> = stretches.map(|(copies, ())| copies).collect();
            for copies in stretches {
                self.take_in_below(node, &copies, below);
                let map_index = self.arena.get(copies.start).map_index;
                let (further, was) = (copies.end - copies.start - 1, self.how_stood(copies));
                cleared.push(ClearedTask { task_id: task_id.clone(), map_index, further, was });
            }
        }
        cleared
    }

    /// What is right below copies that are cleared, or was decided against by them: the copies of the same index
    /// where a task goes with theirs.
    pub(super) fn take_in_below(&self, node: Ix, copies: &Range<InstanceNo>, below: &mut Picked) {
        let by_copy = self.arena.is_expanded(node);
        for &down in self.version.downstream(node) {
            if by_copy && self.version.are_together(node, down) {
                let maps = copies.clone().map(|no| (down, self.arena.get(no).map_index));
                below.copies.extend(maps);
            } else {
                below.whole.insert(down);
            }
        }
        if self.skips.is_empty() {
            return;
        }
        for no in copies.clone() {
            for &skipped in self.skips.get(&no).into_iter().flatten() {
                let of = self.skipped_copies(no, skipped);
                below.copies.extend(of.map(|no| (skipped, self.arena.get(no).map_index)));
            }
        }
    }

    /// Every fact of clearing these: the run goes on where it was over or only had its teardowns left, and what
    /// still can't run is ruled out again.
    pub fn clear_facts(&self, at: Timestamp, cleared: Vec<ClearedTask>) -> Vec<Fact> {
        let over = matches!(self.phase, Phase::Over(_) | Phase::Ending { .. });
        let goes_on = || Fact::RunCleared(self.goes_on());
        let mut facts: Vec<Fact> = over.then(goes_on).into_iter().collect();
        for it in cleared {
            facts.extend(self.ended_tries(&it));
            facts.push(cleared_fact(it));
        }
        self.with_what_follows(at, facts)
    }

    /// These facts, and all that they force.
    pub(super) fn with_what_follows(&self, at: Timestamp, mut facts: Vec<Fact>) -> Vec<Fact> {
        facts.extend(self.dropped_checkpoints(&facts));
        let mut then = self.clone();
        for fact in &facts {
            then.evolve(0, at, fact);
        }
        facts.extend(then.after_change());
        facts
    }

    /// The tries in flight among these copies, as ended.
    pub(super) fn ended_tries(&self, of: &ClearedTask) -> Vec<Fact> {
        let copies = self.range(&of.task_id, of.map_index, of.further);
        copies.filter_map(|no| self.cancelled(no, false)).collect()
    }

    /// Those of these copies of which a try is in flight, by name.
    pub fn in_flight_of(&self, tasks: &[ClearedTask]) -> Vec<String> {
        let copies = tasks.iter().flat_map(|it| self.range(&it.task_id, it.map_index, it.further));
        let flies = copies.filter(|no| self.arena.get(*no).state.in_flight().is_some());
        let name = |no| match self.arena.get(no).map_index {
            MapIndex::UNMAPPED => self.spec(no).task_id.to_string(),
            MapIndex(index) => format!("{}[{index}]", self.spec(no).task_id),
        };
        flies.map(name).collect()
    }

    /// How copies stand, one after the other.
    pub(super) fn how_stood(&self, copies: Range<InstanceNo>) -> Vec<TasksWere> {
        let mut stood: Vec<TasksWere> = Vec::new();
        for no in copies {
            let state = self.arena.get(no).state.was();
            match stood.last_mut().filter(|last| last.state == state) {
                Some(last) => last.count += 1,
                None => stood.push(TasksWere { state, count: 1 }),
            }
        }
        stood
    }
}

/// Whether a copy that is named is one of those that are meant.
fn is_meant(clearing: Clearing<'_>, state: &TaskState) -> bool {
    let flies = state.in_flight().is_some();
    match state.done() {
        Some(done) => !clearing.only_running && (!clearing.only_failed || done.fails_run()),
        None if clearing.running == OnRunning::Leave || clearing.only_failed => false,
        None => flies || (state.is_between() && !clearing.only_running),
    }
}

pub(super) fn cleared_fact(cleared: ClearedTask) -> Fact {
    let ClearedTask { task_id, map_index, further, was } = cleared;
    Fact::TaskCleared(TaskCleared { task_id, map_index, further, was })
}

/// The tasks that are named, be it by single copies.
pub(super) fn named_nodes(run: &Run, task_ids: &[TaskId], copies: &[TaskCopy]) -> BTreeSet<Ix> {
    let names = task_ids.iter().chain(copies.iter().map(|it| &it.task_id));
    names.filter_map(|task_id| run.version.find(task_id)).collect()
}
