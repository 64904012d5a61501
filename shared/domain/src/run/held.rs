//! What of a run waits for the run before, as whoever knows that one said last; and what is to be skipped once that is
//! over.
use dagbok_events::{RuledOut, Timestamp};

use super::{Phase, Run, TaskState};
use crate::{graph::Ix, trigger_rule::Standing};

impl Run {
    /// Whether a task waits for the run before.
    pub fn is_held(&self, node: Ix) -> bool {
        self.held.contains(&node)
    }

    /// A task waits for the run before from now on, or does so no longer; what waited for a time until `ripe` is ripe.
    pub fn hold(&mut self, node: Ix, held: bool, ripe: Option<Timestamp>) {
        let copies = self.arena.numbers(node);
        if held {
            copies.for_each(|no| self.leave_line(no));
            self.held.insert(node);
            self.released.remove(&node);
        } else {
            self.held.remove(&node);
            for no in copies {
                self.enter_line(no);
                if self.arena.get(no).state.due().is_some_and(|due| Some(due) <= ripe) {
                    self.ripen(no);
                }
            }
            self.note_released(node);
        }
    }

    /// A task that does not wait for the run before, and is to be skipped by its trigger rule, waits for that alone.
    pub fn note_released(&mut self, node: Ix) {
        let may_wait = self.version.task(node).wait_for_past_depends_before_skipping;
        if may_wait && !self.held.contains(&node) && self.must_skip(node) {
            self.released.insert(node);
        }
    }

    /// Whether tasks are to be skipped that waited with that for the run before.
    pub fn has_to_settle(&mut self) -> bool {
        let mut released = std::mem::take(&mut self.released);
        released.retain(|node| self.must_skip(*node));
        self.released = released;
        !self.released.is_empty()
    }

    /// Whether a copy of a task waits and is to be skipped by its trigger rule.
    fn must_skip(&self, node: Ix) -> bool {
        let skips = |no| {
            self.arena.get(no).state == TaskState::Waiting
                && self.standing(no) == Standing::Never(RuledOut::Skipped)
        };
        self.arena.numbers(node).any(skips)
    }

    /// Whether a task that is to be skipped waits for the run before with that, too. What a run that has not begun
    /// waits for there is not known yet.
    pub(super) fn skips_later(&self, node: Ix, why: RuledOut) -> bool {
        let task = self.version.task(node);
        why == RuledOut::Skipped
            && task.depends_on_past
            && task.wait_for_past_depends_before_skipping
            && (self.phase == Phase::Queued || self.held.contains(&node))
    }
}
