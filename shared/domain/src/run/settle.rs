//! The indexes of a run, kept in step with every move: what waits in which line, how upstreams stand, what
//! is open. Counts go both ways: a task that is cleared is taken out of them again.
use std::sync::Arc;

use dagbok_events::MapIndex;

use super::{Change, Done, Handed, InstanceNo, LineQueue, Run, TaskState};
use crate::{
    graph::{Ix, Version},
    trigger_rule::{Standing, Tally},
};

impl Run {
    /// Moves an instance and keeps every index in step.
    pub(super) fn set(&mut self, no: InstanceNo, next: TaskState) -> Change {
        self.leave_line(no);
        let (taken, to) = (next.hold().cloned(), next.executor().cloned());
        let (flies, done, due) = (next.in_flight().is_some(), next.done(), next.due());
        let (queued, parked) = (next.queued_since(), next.parked());
        let last = std::mem::replace(&mut self.arena.get_mut(no).state, next);
        if parked.is_some() {
            self.deferred.insert(no);
        } else {
            self.deferred.remove(&no);
        }
        let flew = if flies { !self.in_flight.insert(no) } else { self.in_flight.remove(&no) };
        self.count_of_line(self.arena.get(no).node, flew, flies);
        self.enter_line(no);
        match (last.done(), done) {
            (None, Some(done)) => self.settle(no, done),
            (Some(done), None) => {
                self.unsettle(no, done);
                self.forget_skips(no);
            }
            (Some(before), Some(done)) if before != done => {
                self.unsettle(no, before);
                self.forget_skips(no);
                self.settle(no, done);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        let from = last.executor().cloned();
        let handed = (from != to).then_some(Handed { instance: no, from, to });
        let (freed, waited, was_queued) = (last.hold().cloned(), last.due(), last.queued_since());
        let unparked = last.parked();
        let waits = due;
        Change { taken, freed, handed, waited, waits, queued, was_queued, parked, unparked, no }
    }

    fn settle(&mut self, no: InstanceNo, done: Done) {
        let node = self.arena.get(no).node;
        self.open -= 1;
        self.arena.count_done(node, true);
        self.arena.count_good(node, done, true);
        if self.version.is_leaf(node) && done.fails_run() {
            self.failed_leaves += 1;
        }
        if self.version.task(node).is_setup {
            self.recount_below(no, |tally| tally.count_setups(done, 1));
        } else {
            self.recount_below(no, |tally| tally.count(done, 1));
        }
        self.look_at_lengths_over(node);
    }

    fn unsettle(&mut self, no: InstanceNo, done: Done) {
        let node = self.arena.get(no).node;
        self.open += 1;
        self.arena.count_done(node, false);
        self.arena.count_good(node, done, false);
        if self.version.is_leaf(node) && done.fails_run() {
            self.failed_leaves -= 1;
        }
        if self.version.task(node).is_setup {
            self.recount_below(no, |tally| tally.uncount_setup(done));
        } else {
            self.recount_below(no, |tally| tally.uncount(done));
        }
        self.forget_lengths_over(node);
    }

    /// Changes how the upstreams of everything directly below a copy stand, and the scopes that it is in. Where
    /// it goes with a copy below, only that is judged anew.
    fn recount_below(&mut self, no: InstanceNo, change: impl Fn(&mut Tally)) {
        let version = Arc::clone(&self.version);
        let (node, map_index) = (self.arena.get(no).node, self.arena.get(no).map_index);
        let by_copy = |down| version.are_together(node, down) && !map_index.is_unmapped();
        for &down in version.downstream(node) {
            if by_copy(down) {
                self.judge_copy(down, map_index);
            } else {
                self.recount(&version, down, |upstream, _| change(upstream));
            }
        }
        for &down in version.in_scope_of(node) {
            if by_copy(down) {
                self.judge_copy(down, map_index);
            } else {
                self.recount(&version, down, |_, scope| change(scope));
            }
        }
    }

    /// Puts one copy where it waits by what is before it now.
    fn judge_copy(&mut self, node: Ix, map_index: MapIndex) {
        let Some(no) = self.arena.find(node, map_index) else { return };
        if self.arena.get(no).state == TaskState::Waiting {
            self.leave_ready(no);
            self.enter_line(no);
        }
    }

    pub(super) fn recount(
        &mut self,
        version: &Version,
        node: Ix,
        change: impl FnOnce(&mut Tally, &mut Tally),
    ) {
        let before = self.arena.standing(node);
        if !self.arena.recount(version, node, change) {
            return;
        }
        if before == Standing::Ready || self.goes_by_copy(node) {
            self.leave_all(node);
        }
        self.index_node(node);
    }

    /// Those copies of a task that have not begun wait for something else than room.
    fn leave_all(&mut self, node: Ix) {
        if self.lacks_copies(node) {
            self.leave_ready(self.arena.numbers(node).start);
            return;
        }
        let waits = |_, state: &TaskState| (*state == TaskState::Waiting).then_some(());
        let stretches: Vec<_> = self.stretches(self.arena.numbers(node), waits).collect();
        for (copies, ()) in stretches {
            self.in_line(copies.start, |queue, weight| queue.remove_ready(weight, copies));
        }
    }

    /// Puts those copies of a task that wait for nothing but room where they wait.
    pub(super) fn index_node(&mut self, node: Ix) {
        if self.arena.standing(node) != Standing::Ready && !self.goes_by_copy(node) {
            return;
        }
        let copies = self.arena.numbers(node);
        if self.held.contains(&node) {
            return;
        }
        if self.lacks_copies(node) {
            self.enter_line(copies.start);
            return;
        }
        let ready = |no, state: &TaskState| {
            let waits = *state == TaskState::Waiting;
            (waits && self.standing(no) == Standing::Ready).then_some(())
        };
        let stretches: Vec<_> = self.stretches(copies.clone(), ready).collect();
        let line = self.version.line_of(node);
        let weight = self.version.task(node).priority_weight;
        for (copies, ()) in stretches {
            self.lines.entry(line).or_default().add_ready(weight, copies);
            self.touched.insert(line);
        }
        for no in copies {
            if self.arena.get(no).state.due().is_some() {
                self.enter_line(no);
            }
        }
    }

    pub(super) fn enter_line(&mut self, no: InstanceNo) {
        let instance = self.arena.get(no);
        let ready = instance.state == TaskState::Waiting && self.standing(no) == Standing::Ready;
        let due = instance.state.due();
        if (!ready && due.is_none()) || self.held.contains(&instance.node) {
            return;
        }
        if ready && self.lacks_copies(instance.node) {
            self.to_expand.insert(instance.node);
            return;
        }
        let line = self.version.line_of(instance.node);
        let weight = self.version.task(instance.node).priority_weight;
        self.lines.entry(line).or_default().add(weight, due, no);
        self.touched.insert(line);
    }

    pub(super) fn leave_line(&mut self, no: InstanceNo) {
        let state = &self.arena.get(no).state;
        let due = state.due();
        if due.is_none() && *state == TaskState::Waiting {
            self.leave_ready(no);
        } else if due.is_some() {
            self.in_line(no, |queue, weight| queue.remove(weight, due, no));
        }
    }

    /// A copy that has not begun waits for something else than room. One that waited for a time goes on
    /// whatever its upstreams do.
    pub(super) fn leave_ready(&mut self, no: InstanceNo) {
        if self.arena.get(no).state != TaskState::Waiting {
            return;
        }
        let node = self.arena.get(no).node;
        if self.lacks_copies(node) {
            self.to_expand.remove(&node);
            return;
        }
        self.in_line(no, |queue, weight| queue.remove(weight, None, no));
    }

    pub(super) fn in_line(&mut self, no: InstanceNo, change: impl FnOnce(&mut LineQueue, i32)) {
        let node = self.arena.get(no).node;
        let line = self.version.line_of(node);
        let Some(queue) = self.lines.get_mut(&line) else { return };
        change(queue, self.version.task(node).priority_weight);
        if queue.is_empty() {
            self.lines.remove(&line);
        }
        self.touched.insert(line);
    }

    /// Counts tries in flight of a task that has a limit in each run.
    fn count_of_line(&mut self, node: Ix, flew: bool, flies: bool) {
        let line = self.version.line_of(node);
        if flew == flies || self.version.line(line).per_run().is_none() {
            return;
        }
        let count = self.busy.entry(line).or_default();
        *count = if flies { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.busy.remove(&line);
        }
        self.touched.insert(line);
    }
}
