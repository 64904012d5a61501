//! Clearing: which tasks that are done are to run again, and what that makes of their run.
//!
//! What was ruled out downstream of a cleared task is cleared with it: it was judged by an outcome that no
//! longer stands. What ran there stays as it is, as in Airflow.
use std::collections::BTreeSet;

use dagbok_events::{Fact, RuledOut, RunCleared, TaskCleared, TaskId, Timestamp};
use dagbok_protocol::ClearedTask;

use super::{Done, Phase, Run, TaskState};
use crate::graph::Ix;

/// What is to be cleared of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clearing<'a> {
    /// These tasks; every task where there is none.
    pub task_ids: &'a [TaskId],
    /// Only copies that failed, or were ruled out by a failure.
    pub only_failed: bool,
}

impl Run {
    /// The copies to clear, in the DAG's order.
    pub fn to_clear(&self, clearing: Clearing<'_>) -> Vec<ClearedTask> {
        let mut named: BTreeSet<&TaskId> = clearing.task_ids.iter().collect();
        // With a task its setups run again, and their teardowns, as in Airflow.
        for node in clearing.task_ids.iter().filter_map(|id| self.version.find(id)) {
            let around = self.version.setups_and_teardowns(node).into_iter();
            named.extend(around.map(|ix| &self.version.task(ix).task_id));
        }
        let mut below = BTreeSet::new();
        loop {
            let known = below.len();
            let cleared = self.to_clear_with(&named, clearing.only_failed, &mut below);
            // What a task decided against need not come after it in the DAG's order.
            if self.skips.is_empty() || below.len() == known {
                return cleared;
            }
        }
    }

    /// The same where what was ruled out of `below` is to be cleared, too: takes in what is below the rest.
    fn to_clear_with(
        &self,
        named: &BTreeSet<&TaskId>,
        only_failed: bool,
        below: &mut BTreeSet<Ix>,
    ) -> Vec<ClearedTask> {
        let mut cleared = Vec::new();
        for node in 0..self.version.node_count() {
            let task_id = &self.version.task(node).task_id;
            let asked = named.is_empty() || named.contains(task_id);
            let is_below = below.contains(&node);
            let pick = move |_, state: &TaskState| {
                let done = state.done()?;
                let by_name = asked && (!only_failed || done.fails_run());
                let judged_anew = is_below && matches!(done, Done::RuledOut(_));
                let removed = done == Done::RuledOut(RuledOut::Removed);
                ((by_name || judged_anew) && !removed).then_some(())
            };
            let before = cleared.len();
            let stretches = self.stretches(self.arena.numbers(node), pick);
            cleared.extend(stretches.map(|(copies, ())| {
                let map_index = self.arena.get(copies.start).map_index;
                let further = copies.end - copies.start - 1;
                ClearedTask { task_id: task_id.clone(), map_index, further }
            }));
            if cleared.len() > before {
                below.extend(self.version.downstream(node));
            }
            if !self.skips.is_empty() {
                let copies = self.arena.numbers(node);
                let cleared = copies.filter(|no| pick(*no, &self.arena.get(*no).state).is_some());
                below.extend(cleared.filter_map(|no| self.skips.get(&no)).flatten());
            }
        }
        cleared
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
