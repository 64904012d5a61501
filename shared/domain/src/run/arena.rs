//! A run's tasks and their copies: a node for each task, and an instance for each copy, by number.
//!
//! Numbers are given out in the order of the log: one for each task when the run is made, and a stretch of
//! new ones when a mapped task is expanded. They say nothing of a task's place in one version of its DAG.
use std::collections::BTreeMap;

use dagbok_events::{MapIndex, RuledOut, Timestamp};
use dagbok_protocol::limits::COPIES_PER_TASK;

use super::{Deferral, Done, TaskState};
use crate::{
    graph::{Ix, Version},
    trigger_rule::{Standing, Tally, judge_in_scope},
};

/// An instance's number in its run.
pub type InstanceNo = u32;

/// One copy of a task; the only one, where it is not mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Of which task.
    pub node: Ix,
    /// Which copy.
    pub map_index: MapIndex,
    /// Where it stands.
    pub state: TaskState,
    /// Tries made so far; the next one's number is one more.
    pub tries: u16,
    /// Tries that failed by the user's fault since it was last cleared: these use up retries.
    pub failures: u16,
    /// Tries that the system lost since then.
    pub losses: u16,
    /// Tries in a row that nobody began in time, since one was begun.
    pub not_begun: u8,
    /// When the try's first leg began, by its executor's clock.
    pub began: Option<Timestamp>,
    /// The trigger that the try waits for or goes on after.
    pub deferral: Option<Box<Deferral>>,
}

impl Instance {
    fn new(node: Ix, map_index: MapIndex, tries: u16) -> Self {
        let (failures, losses, not_begun, began) = (0, 0, 0, None);
        let (state, deferral) = (TaskState::Waiting, None);
        Self { node, map_index, state, tries, failures, losses, not_begun, began, deferral }
    }
}

/// A task in its run: its copies, and how its upstreams stand.
#[derive(Clone, Debug)]
struct Node {
    first: InstanceNo,
    len: u32,
    expanded: bool,
    /// How many of its copies are not done.
    open: u32,
    upstream: Tally,
    /// What is counted of its scope.
    scope: Tally,
    standing: Standing,
    /// Copies that succeeded or were skipped.
    good: u32,
}

/// All nodes and instances of a run.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    nodes: Vec<Node>,
    instances: Vec<Instance>,
    /// Tries of each copy that count as made: those of a deleted run of the same id.
    tried_before: u16,
    /// The same of single tasks: those of copies that they had in an earlier version.
    tried_of: BTreeMap<Ix, u16>,
}

impl Arena {
    pub(super) fn new(version: &Version) -> Self {
        let nodes = (0..version.node_count()).map(|ix| {
            let (total, setups) = (version.upstream_count(ix), version.setup_count(ix));
            let upstream = Tally { total, setups, ..Tally::default() };
            let total = u32::try_from(version.scope(ix).len()).unwrap_or(u32::MAX);
            let scope = Tally { total, ..Tally::default() };
            let standing = judge_in_scope(version.task(ix), upstream, scope);
            Node { first: ix, len: 1, expanded: false, open: 1, good: 0, upstream, scope, standing }
        });
        let instance = |ix| Instance::new(ix, MapIndex::UNMAPPED, 0);
        let instances = (0..version.node_count()).map(instance);
        let (nodes, instances) = (nodes.collect(), instances.collect());
        Self { nodes, instances, tried_before: 0, tried_of: BTreeMap::new() }
    }

    /// Copies that were not tried yet are as if this many tries of theirs had been.
    pub(super) fn number_from(&mut self, tries: u16) {
        self.tried_before = tries;
        self.instances.iter_mut().for_each(|it| it.tries = it.tries.max(tries));
    }

    /// The same of one task's copies.
    pub(super) fn number_task_from(&mut self, node: Ix, tries: u16) {
        self.tried_of.insert(node, tries);
        for no in self.numbers(node) {
            let instance = self.get_mut(no);
            instance.tries = instance.tries.max(tries);
        }
    }

    pub(super) const fn tried_before(&self) -> u16 {
        self.tried_before
    }

    /// The instance with a number that this run gave out.
    pub(super) fn get(&self, no: InstanceNo) -> &Instance {
        &self.instances[no as usize]
    }

    pub(super) fn get_mut(&mut self, no: InstanceNo) -> &mut Instance {
        &mut self.instances[no as usize]
    }

    /// Whether the number was given out, and stands for a copy that is still there.
    pub(super) fn knows(&self, no: InstanceNo) -> bool {
        let instance = self.instances.get(no as usize);
        instance.is_some_and(|instance| self.numbers(instance.node).contains(&no))
    }

    /// The numbers of a task's copies.
    pub(super) fn numbers(&self, node: Ix) -> std::ops::Range<InstanceNo> {
        let node = &self.nodes[node as usize];
        node.first..node.first + node.len
    }

    /// The copy with this map index.
    pub(super) fn find(&self, node: Ix, map_index: MapIndex) -> Option<InstanceNo> {
        let it = &self.nodes[node as usize];
        if !it.expanded {
            return map_index.is_unmapped().then_some(it.first);
        }
        let offset = u32::try_from(map_index.0).ok()?;
        (offset < it.len).then(|| it.first + offset)
    }

    /// Whether the task has its copies.
    pub(super) fn is_expanded(&self, node: Ix) -> bool {
        self.nodes[node as usize].expanded
    }

    /// How many of a task's copies are not done.
    pub(super) fn open(&self, node: Ix) -> u32 {
        self.nodes[node as usize].open
    }

    /// One more of a task's copies is done, or one is not any more.
    pub(super) fn count_done(&mut self, node: Ix, done: bool) {
        let open = &mut self.nodes[node as usize].open;
        *open = if done { *open - 1 } else { *open + 1 };
    }

    /// Whether every copy succeeded, was skipped, or is there no more.
    pub(super) fn is_good(&self, node: Ix) -> bool {
        let it = &self.nodes[node as usize];
        it.good == it.len
    }

    /// One copy is done, or is no longer.
    pub(super) fn count_good(&mut self, node: Ix, done: Done, more: bool) {
        // A copy that is no part of the run any more never will be: what waits for it would wait for good.
        let is_good = match done {
            Done::Success | Done::RuledOut(RuledOut::Skipped | RuledOut::Removed) => true,
            Done::Failed | Done::RuledOut(RuledOut::UpstreamFailed | RuledOut::OutOfDates) => false,
        };
        if is_good {
            let good = &mut self.nodes[node as usize].good;
            *good = if more { *good + 1 } else { good.saturating_sub(1) };
        }
    }

    /// What the upstreams let the task do, but for those whose copies go with its own.
    pub(super) fn standing(&self, node: Ix) -> Standing {
        self.nodes[node as usize].standing
    }

    /// What the upstreams let one copy do, where so many are counted as done, and single ones by `done_of`.
    pub(super) fn standing_of(
        &self,
        version: &Version,
        no: InstanceNo,
        (mut upstream, mut scope): (Tally, Tally),
        done_of: impl Fn(InstanceNo) -> Option<Done>,
    ) -> Standing {
        let Instance { node, map_index, .. } = *self.get(no);
        let copy_of = |other: Ix| {
            let copy = self.find(other, map_index).filter(|_| self.is_expanded(other))?;
            Some((version.task(other).is_setup, done_of(copy)))
        };
        for (is_setup, done) in version.together_before(node).filter_map(copy_of) {
            upstream.add(is_setup, done);
        }
        for (is_setup, done) in version.together_in_scope(node).filter_map(copy_of) {
            scope.add(is_setup, done);
        }
        judge_in_scope(version.task(node), upstream, scope)
    }

    /// How its upstreams stand, and its scope.
    pub(super) fn tallies(&self, node: Ix) -> (Tally, Tally) {
        let it = &self.nodes[node as usize];
        (it.upstream, it.scope)
    }

    /// Changes how a task's upstreams stand, or its scope; whether that can change what they let it do.
    pub(super) fn recount(
        &mut self,
        version: &Version,
        node: Ix,
        change: impl FnOnce(&mut Tally, &mut Tally),
    ) -> bool {
        let it = &mut self.nodes[node as usize];
        let faces = |it: &Node| (it.upstream.face(), it.scope.face());
        let before = (it.expanded && version.goes_by_copy(node)).then(|| faces(it));
        change(&mut it.upstream, &mut it.scope);
        let standing = judge_in_scope(version.task(node), it.upstream, it.scope);
        let changed = std::mem::replace(&mut it.standing, standing) != standing;
        changed || before.is_some_and(|before| before != faces(it))
    }

    /// Gives a task this many copies, at least one, in place of the one that stood for them, or of those that it
    /// has: these come first, with new numbers. Where they had been.
    pub(super) fn expand(&mut self, node: Ix, length: u32) -> std::ops::Range<InstanceNo> {
        let first = u32::try_from(self.instances.len()).expect("limits keep numbers below this");
        let tries = self.tried_before.max(self.tried_of.get(&node).copied().unwrap_or(0));
        let before = self.numbers(node);
        let kept = if self.is_expanded(node) { before.len() } else { 0 };
        self.instances.reserve(length as usize);
        for no in before.clone().take(kept) {
            let map_index = self.get(no).map_index;
            let gone = Instance::new(node, map_index, tries);
            let moved = std::mem::replace(self.get_mut(no), gone);
            self.instances.push(moved);
        }
        let maps = (kept..length as usize).map(|n| MapIndex(i32::try_from(n).unwrap_or(i32::MAX)));
        self.instances.extend(maps.map(|map_index| Instance::new(node, map_index, tries)));
        let it = &mut self.nodes[node as usize];
        it.open += length - it.len;
        (it.first, it.len, it.expanded) = (first, length, true);
        before
    }

    /// Leaves numbers out up to this one: those of copies that got others since. False where that can't be.
    pub(super) fn pass_over(&mut self, first: InstanceNo) -> bool {
        let (known, first) = (self.instances.len(), first as usize);
        let sound = first >= known && first - known <= 8 * COPIES_PER_TASK as usize;
        if sound {
            self.instances.resize_with(first, || Instance::new(0, MapIndex::UNMAPPED, 0));
        }
        sound
    }

    /// Every copy of every task, in the DAG's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceNo, &Instance)> {
        let numbers = self.nodes.iter().flat_map(|node| node.first..node.first + node.len);
        numbers.map(|no| (no, self.get(no)))
    }

    /// Mapped tasks that have their copies, with the first one's number and how many, in the order in which they
    /// got them.
    pub(super) fn expansions(&self) -> Vec<(Ix, InstanceNo, u32)> {
        let mut found: Vec<(InstanceNo, Ix, u32)> = (0..)
            .zip(&self.nodes)
            .filter(|(_, node)| node.expanded)
            .map(|(ix, node)| (node.first, ix, node.len))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(first, ix, len)| (ix, first, len)).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.iter().map(|node| node.len as usize).sum()
    }
}
