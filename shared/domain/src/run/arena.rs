//! A run's tasks and their copies: a node for each task, and an instance for each copy, by number.
//!
//! Numbers are given out in the order of the log: one for each task when the run is made, and a stretch of
//! new ones when a mapped task is expanded. They say nothing of a task's place in one version of its DAG.
use dagbok_events::{MapIndex, Timestamp};

use super::TaskState;
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
    /// When the try's first leg began, by its executor's clock.
    pub began: Option<Timestamp>,
}

impl Instance {
    fn new(node: Ix, map_index: MapIndex, tries: u16) -> Self {
        let (failures, losses) = (0, 0);
        Self { node, map_index, state: TaskState::Waiting, tries, failures, losses, began: None }
    }
}

/// A task in its run: its copies, and how its upstreams stand.
#[derive(Clone, Debug)]
struct Node {
    first: InstanceNo,
    len: u32,
    expanded: bool,
    upstream: Tally,
    /// What is counted of its scope.
    scope: Tally,
    standing: Standing,
}

/// All nodes and instances of a run.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    nodes: Vec<Node>,
    instances: Vec<Instance>,
    /// Tries of each copy that count as made: those of a deleted run of the same id.
    tried_before: u16,
}

impl Arena {
    pub(super) fn new(version: &Version) -> Self {
        let nodes = (0..version.node_count()).map(|ix| {
            let (total, setups) = (version.upstream_count(ix), version.setup_count(ix));
            let upstream = Tally { total, setups, ..Tally::default() };
            let total = u32::try_from(version.scope(ix).len()).unwrap_or(u32::MAX);
            let scope = Tally { total, ..Tally::default() };
            let standing = judge_in_scope(version.task(ix), upstream, scope);
            Node { first: ix, len: 1, expanded: false, upstream, scope, standing }
        });
        let instance = |ix| Instance::new(ix, MapIndex::UNMAPPED, 0);
        let instances = (0..version.node_count()).map(instance);
        Self { nodes: nodes.collect(), instances: instances.collect(), tried_before: 0 }
    }

    /// Copies that were not tried yet are as if this many tries of theirs had been.
    pub(super) fn number_from(&mut self, tries: u16) {
        self.tried_before = tries;
        self.instances.iter_mut().for_each(|it| it.tries = it.tries.max(tries));
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

    /// What the upstreams let the task do.
    pub(super) fn standing(&self, node: Ix) -> Standing {
        self.nodes[node as usize].standing
    }

    /// How its upstreams stand, and its scope.
    pub(super) fn tallies(&self, node: Ix) -> (Tally, Tally) {
        let it = &self.nodes[node as usize];
        (it.upstream, it.scope)
    }

    /// Changes how a task's upstreams stand, or its scope; whether that changes what they let it do.
    pub(super) fn recount(
        &mut self,
        version: &Version,
        node: Ix,
        change: impl FnOnce(&mut Tally, &mut Tally),
    ) -> bool {
        let it = &mut self.nodes[node as usize];
        change(&mut it.upstream, &mut it.scope);
        let standing = judge_in_scope(version.task(node), it.upstream, it.scope);
        std::mem::replace(&mut it.standing, standing) != standing
    }

    /// Gives a task this many copies, at least one, in place of the one that stood for them.
    pub(super) fn expand(&mut self, node: Ix, length: u32) {
        let first = u32::try_from(self.instances.len()).expect("limits keep numbers below this");
        let maps = (0..length).map(|n| MapIndex(i32::try_from(n).unwrap_or(i32::MAX)));
        let tries = self.tried_before;
        self.instances.extend(maps.map(|map_index| Instance::new(node, map_index, tries)));
        let it = &mut self.nodes[node as usize];
        (it.first, it.len, it.expanded) = (first, length, true);
    }

    /// Every copy of every task, in the DAG's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceNo, &Instance)> {
        let numbers = self.nodes.iter().flat_map(|node| node.first..node.first + node.len);
        numbers.map(|no| (no, self.get(no)))
    }

    /// Mapped tasks that have their copies, with how many, in the order in which they got them.
    pub(super) fn expansions(&self) -> Vec<(Ix, u32)> {
        let mut found: Vec<(InstanceNo, Ix, u32)> = (0..)
            .zip(&self.nodes)
            .filter(|(_, node)| node.expanded)
            .map(|(ix, node)| (node.first, ix, node.len))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, ix, len)| (ix, len)).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.iter().map(|node| node.len as usize).sum()
    }
}
