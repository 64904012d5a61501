//! What a task decided against when it succeeded: a branch not taken, all that is below a short circuit.
//!
//! The decision stands while the task is done. Each copy that it was about and that had not begun is skipped in
//! the record that has the decision, whatever its trigger rule says. Of those right below, one that is cleared
//! later is skipped again, as in Airflow; further below, trigger rules judge anew.
use std::{collections::BTreeSet, ops::Range};

use dagbok_events::TaskId;

use super::{InstanceNo, Run, TaskState};
use crate::graph::Ix;

impl Run {
    /// Of the tasks that a report decides against, those that this version of the DAG has, but for itself.
    pub fn skippable(&self, no: InstanceNo, named: &[TaskId]) -> Vec<TaskId> {
        let own = self.arena.get(no).node;
        let known = named.iter().filter(|id| self.version.find(id).is_some_and(|ix| ix != own));
        known.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    /// The tasks of that name, in the DAG's order.
    pub(super) fn nodes_of(&self, named: &[TaskId]) -> Vec<Ix> {
        let found: BTreeSet<Ix> = named.iter().filter_map(|id| self.version.find(id)).collect();
        found.into_iter().collect()
    }

    /// Whether a task right before this instance decided against it, and is still done.
    pub(super) fn is_skipped(&self, no: InstanceNo) -> bool {
        if self.skips.is_empty() {
            return false;
        }
        let instance = self.arena.get(no);
        let above = self.version.task(instance.node).upstream.iter();
        let mut above = above.filter(|up| **up < self.version.node_count());
        above.any(|up| {
            let decider = if self.arena.is_expanded(*up) {
                self.arena.find(*up, instance.map_index)
            } else {
                Some(self.arena.numbers(*up).start)
            };
            let skips = decider.and_then(|decider| self.skips.get(&decider));
            skips.is_some_and(|skips| skips.binary_search(&instance.node).is_ok())
        })
    }

    /// The copies of `node` that a decision by `decider` is about: all, or where it is itself one of several
    /// copies, the one of the same map index, right below it.
    pub(super) fn skipped_copies(&self, decider: InstanceNo, node: Ix) -> Range<InstanceNo> {
        let by = self.arena.get(decider);
        if by.map_index.is_unmapped() {
            return self.arena.numbers(node);
        }
        let below = self.version.downstream(by.node).contains(&node);
        let copy = self.arena.find(node, by.map_index).filter(|_| below);
        copy.map_or(0..0, |no| no..no + 1)
    }

    /// Keeps a decision: what it is about waits for nothing any more.
    pub(super) fn keep_skips(&mut self, decider: InstanceNo, named: &[TaskId]) {
        let nodes = self.nodes_of(named);
        if nodes.is_empty() {
            return;
        }
        self.skips.insert(decider, nodes.clone());
        for node in nodes {
            for no in self.skipped_copies(decider, node) {
                if self.arena.get(no).state == TaskState::Waiting && self.is_skipped(no) {
                    self.leave_ready(no);
                }
            }
        }
    }

    /// Forgets a decision, since who took it is to run again.
    pub(super) fn forget_skips(&mut self, decider: InstanceNo) {
        for node in self.skips.remove(&decider).unwrap_or_default() {
            if self.arena.get(decider).map_index.is_unmapped() {
                self.index_node(node);
            } else {
                let copies = self.skipped_copies(decider, node);
                copies.for_each(|no| self.enter_line(no));
            }
        }
    }

    /// Copies that wait though a task before them decided against them, which is so once they are cleared: in
    /// stretches of one task's.
    pub(super) fn skipped_but_waiting(&self) -> Vec<Range<InstanceNo>> {
        let mut found: Vec<Range<InstanceNo>> = Vec::new();
        if self.skips.is_empty() {
            return found;
        }
        for (no, instance) in self.instances() {
            if instance.state != TaskState::Waiting || !self.is_skipped(no) {
                continue;
            }
            let goes_on = |last: &&mut Range<InstanceNo>| {
                last.end == no && self.arena.get(last.start).node == instance.node
            };
            match found.last_mut().filter(goes_on) {
                Some(last) => last.end += 1,
                None => found.push(no..no + 1),
            }
        }
        found
    }
}
