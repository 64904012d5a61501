//! What copies of tasks keep for their next try, over a try that failed, was killed or lost, and over a clear of the
//! task alone. It is gone once the task is done well, skips itself or is marked, and where something that the task comes
//! after runs again: what was made of other input is no part of it.
use std::{collections::BTreeSet, ops::Range, sync::Arc};

use dagbok_events::{Checkpoint, CheckpointDropped, CheckpointKept, Fact, MapIndex, TaskId};

use super::{Change, InstanceNo, Run, TaskState, clear::Picked};

impl Run {
    /// What a copy of a task kept.
    pub fn checkpoint_of(&self, task_id: &TaskId, map_index: MapIndex) -> Option<&Checkpoint> {
        self.checkpoints.get(&(task_id.clone(), map_index)).map(|kept| &**kept)
    }

    /// Whether a copy's try in flight works on input that was made anew since it began: what it keeps is of no use to the
    /// next one.
    pub(crate) fn keeps_nothing(&self, no: InstanceNo) -> bool {
        let instance = self.arena.get(no);
        let key = (self.spec(no).task_id.clone(), instance.map_index);
        let flies = instance.state.in_flight();
        flies.is_some() && self.stale.get(&key).copied() == flies
    }

    /// That those are gone whose copies come after what these facts clear.
    pub(super) fn dropped_checkpoints(&self, facts: &[Fact]) -> Vec<Fact> {
        let mut again = Picked::default();
        for fact in facts {
            let Fact::TaskCleared(f) = fact else { continue };
            let Some(node) = self.version.find(&f.task_id) else { continue };
            let copies = self.range(&f.task_id, f.map_index, f.further);
            if copies == self.arena.numbers(node) {
                again.whole.insert(node);
            } else {
                let named = copies.map(|no| (node, self.arena.get(no).map_index));
                again.copies.extend(named);
            }
        }
        self.dropped_below(again)
    }

    /// That those are gone whose copies come after what runs again, and that a try in flight there keeps nothing more.
    pub(super) fn dropped_below(&self, mut again: Picked) -> Vec<Fact> {
        // What is cleared itself is in flight no more.
        let flies = |no: &InstanceNo| {
            let instance = self.arena.get(*no);
            !again.has(instance.node, instance.map_index)
        };
        let flying: Vec<InstanceNo> = self.in_flight.iter().copied().filter(flies).collect();
        if self.checkpoints.is_empty() && flying.is_empty() {
            return Vec::new();
        }
        // A setup, which is cleared with each task that needs it, makes a place to work in, and no input.
        again.whole.retain(|node| !self.version.task(*node).is_setup);
        again.copies.retain(|(node, _)| !self.version.task(*node).is_setup);
        let below = self.all_below(&again);
        let kept = self.checkpoints.keys().filter(|(task_id, map_index)| {
            self.version.find(task_id).is_some_and(|node| below.has(node, *map_index))
        });
        let flying = flying.into_iter().filter(|no| {
            let instance = self.arena.get(*no);
            below.has(instance.node, instance.map_index)
        });
        let flying = flying.map(|no| (self.spec(no).task_id.clone(), self.arena.get(no).map_index));
        let gone: BTreeSet<(TaskId, MapIndex)> = kept.cloned().chain(flying).collect();
        let fact = |(task_id, map_index)| {
            Fact::CheckpointDropped(CheckpointDropped { task_id, map_index })
        };
        gone.into_iter().map(fact).collect()
    }

    /// All copies that come after these, a copy after that of its own index where tasks go together.
    fn all_below(&self, again: &Picked) -> Picked {
        let mut below = Picked::default();
        loop {
            let known = below.len();
            for node in 0..self.version.node_count() {
                let is_of = |no, _: &TaskState| {
                    let map_index = self.arena.get(no).map_index;
                    (again.has(node, map_index) || below.has(node, map_index)).then_some(())
                };
                let copies = self.stretches(self.arena.numbers(node), is_of);
                let copies: Vec<Range<InstanceNo>> = copies.map(|(copies, ())| copies).collect();
                for copies in copies {
                    self.take_in_below(node, &copies, &mut below);
                }
            }
            // What a task decided against need not come after it in the DAG's order.
            if self.skips.is_empty() || below.len() == known {
                return below;
            }
        }
    }

    pub(super) fn keep_checkpoint(&mut self, f: &CheckpointKept) -> Option<Change> {
        if self.find(&f.task_id, f.map_index).is_some() {
            let kept = self.checkpoints.entry((f.task_id.clone(), f.map_index)).or_default();
            Arc::make_mut(kept).take_in(f);
        }
        None
    }

    pub(super) fn drop_checkpoint(&mut self, f: &CheckpointDropped) -> Option<Change> {
        let key = (f.task_id.clone(), f.map_index);
        self.checkpoints.remove(&key);
        let no = self.find(&f.task_id, f.map_index);
        match no.and_then(|no| self.arena.get(no).state.in_flight()) {
            Some(token) => drop(self.stale.insert(key, token)),
            None => drop(self.stale.remove(&key)),
        }
        None
    }

    /// Those of copies that follow each other are gone.
    pub(super) fn drop_checkpoints(&mut self, task_id: &TaskId, first: MapIndex, further: u32) {
        // As in nearly every run: no name is copied for nothing.
        if self.checkpoints.is_empty() && self.stale.is_empty() {
            return;
        }
        if further == 0 {
            let key = (task_id.clone(), first);
            self.checkpoints.remove(&key);
            self.stale.remove(&key);
            return;
        }
        let last = first.0.saturating_add_unsigned(further);
        let is_of = |id: &TaskId, at: MapIndex| id == task_id && (first.0..=last).contains(&at.0);
        self.checkpoints.retain(|(id, at), _| !is_of(id, *at));
        self.stale.retain(|(id, at), _| !is_of(id, *at));
    }
}
