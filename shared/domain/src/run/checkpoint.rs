//! What copies of tasks keep for their next try, over a try that failed, was killed or lost, and over a clear of the
//! task alone. It is gone once the task is done well or marked, and where something that the task comes after runs
//! again: what was made of other input is no part of it.
use std::collections::BTreeSet;

use dagbok_events::{
    Checkpoint, CheckpointDropped, CheckpointKept, Fact, MapIndex, TaskId, TrySucceeded,
};

use super::{Change, Run};
use crate::graph::Ix;

impl Run {
    /// What a copy of a task kept.
    pub fn checkpoint_of(&self, task_id: &TaskId, map_index: MapIndex) -> Option<&Checkpoint> {
        self.checkpoints.get(&(task_id.clone(), map_index)).map(|kept| &**kept)
    }

    /// That those are gone whose tasks come after what these facts clear.
    pub(super) fn dropped_checkpoints(&self, facts: &[Fact]) -> Vec<Fact> {
        if self.checkpoints.is_empty() {
            return Vec::new();
        }
        let cleared = facts.iter().filter_map(|fact| match fact {
            Fact::TaskCleared(f) => self.version.find(&f.task_id),
            _ => None,
        });
        // A setup, which is cleared with each task that needs it, makes a place to work in, and no input.
        let cleared: BTreeSet<Ix> =
            cleared.filter(|node| !self.version.task(*node).is_setup).collect();
        let after = self.version.all_after(&cleared);
        let gone = self.checkpoints.keys().filter(|(task_id, _)| {
            self.version.find(task_id).is_some_and(|node| after.contains(&node))
        });
        gone.map(|(task_id, map_index)| {
            let (task_id, map_index) = (task_id.clone(), *map_index);
            Fact::CheckpointDropped(CheckpointDropped { task_id, map_index })
        })
        .collect()
    }

    pub(super) fn keep_checkpoint(&mut self, f: &CheckpointKept) -> Option<Change> {
        if self.find(&f.task_id, f.map_index).is_some() {
            let kept = self.checkpoints.entry((f.task_id.clone(), f.map_index)).or_default();
            std::sync::Arc::make_mut(kept).take_in(f);
        }
        None
    }

    pub(super) fn drop_checkpoint(&mut self, f: &CheckpointDropped) -> Option<Change> {
        self.checkpoints.remove(&(f.task_id.clone(), f.map_index));
        None
    }

    /// Those of copies that follow each other are gone.
    pub(super) fn drop_checkpoints(&mut self, task_id: &TaskId, first: MapIndex, further: u32) {
        let last = first.0.saturating_add_unsigned(further);
        let is_of = |id: &TaskId, at: MapIndex| id == task_id && (first.0..=last).contains(&at.0);
        if !self.checkpoints.is_empty() {
            self.checkpoints.retain(|(id, at), _| !is_of(id, *at));
        }
    }

    /// It is done well: nothing follows that needs what it kept.
    pub(super) fn drop_checkpoint_of(&mut self, f: &TrySucceeded) {
        self.drop_checkpoints(&f.task_id, f.map_index, 0);
    }
}
