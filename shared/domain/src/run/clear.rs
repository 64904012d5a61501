//! Clearing: which tasks that are done are to run again, and what that makes of their run.
//!
//! What was ruled out downstream of a cleared task is cleared with it: it was judged by an outcome that no
//! longer stands. What ran there stays as it is, as in Airflow.
use std::{collections::BTreeSet, ops::Range};

use dagbok_events::{Fact, MapIndex, RuledOut, RunCleared, TaskCleared, TaskId, Timestamp};
use dagbok_protocol::{ClearedTask, TaskCopy};

use super::{Done, InstanceNo, Phase, Run, TaskState};
use crate::graph::Ix;

/// What is to be cleared of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clearing<'a> {
    /// These tasks, all of their copies; every task where neither this nor `copies` names one.
    pub task_ids: &'a [TaskId],
    /// Single copies.
    pub copies: &'a [TaskCopy],
    /// Only copies that failed, or were ruled out by a failure.
    pub only_failed: bool,
}

/// Tasks, or single copies of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picked {
    whole: BTreeSet<Ix>,
    copies: BTreeSet<(Ix, MapIndex)>,
}

impl Picked {
    fn has(&self, node: Ix, map_index: MapIndex) -> bool {
        self.whole.contains(&node) || self.copies.contains(&(node, map_index))
    }

    fn len(&self) -> usize {
        self.whole.len() + self.copies.len()
    }
}

impl Run {
    /// The copies to clear, in the DAG's order.
    pub fn to_clear(&self, clearing: Clearing<'_>) -> Vec<ClearedTask> {
        let named = self.named(clearing);
        let mut below = Picked::default();
        loop {
            let known = below.len();
            let cleared = self.to_clear_with(named.as_ref(), clearing.only_failed, &mut below);
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
        Some(named)
    }

    /// The same where what was ruled out of `below` is to be cleared, too: takes in what is below the rest.
    fn to_clear_with(
        &self,
        named: Option<&Picked>,
        only_failed: bool,
        below: &mut Picked,
    ) -> Vec<ClearedTask> {
        let mut cleared = Vec::new();
        for node in 0..self.version.node_count() {
            let task_id = &self.version.task(node).task_id;
            let pick = |no, state: &TaskState| {
                let done = state.done()?;
                let map_index = self.arena.get(no).map_index;
                let asked = named.is_none_or(|named| named.has(node, map_index));
                let by_name = asked && (!only_failed || done.fails_run());
                let judged_anew = matches!(done, Done::RuledOut(_)) && below.has(node, map_index);
                let removed = done == Done::RuledOut(RuledOut::Removed);
                ((by_name || judged_anew) && !removed).then_some(())
            };
            let stretches = self.stretches(self.arena.numbers(node), pick);
            let stretches: Vec<Range<InstanceNo>> = stretches.map(|(copies, ())| copies).collect();
            for copies in stretches {
                self.take_in_below(node, &copies, below);
                let map_index = self.arena.get(copies.start).map_index;
                let further = copies.end - copies.start - 1;
                cleared.push(ClearedTask { task_id: task_id.clone(), map_index, further });
            }
        }
        cleared
    }

    /// What is right below copies that are cleared, or was decided against by them: the copies of the same index
    /// where a task goes with theirs.
    fn take_in_below(&self, node: Ix, copies: &Range<InstanceNo>, below: &mut Picked) {
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
        let mut facts: Vec<Fact> =
            over.then_some(Fact::RunCleared(RunCleared {})).into_iter().collect();
        facts.extend(cleared.into_iter().map(|it| {
            let ClearedTask { task_id, map_index, further } = it;
            Fact::TaskCleared(TaskCleared { task_id, map_index, further })
        }));
        let mut then = self.clone();
        for fact in &facts {
            then.evolve(0, at, fact);
        }
        facts.extend(then.after_change());
        facts
    }
}
