//! What a copy of a task waits for within its run: questions only.
use dagbok_events::{MapIndex, RuledOut, TaskId};

use super::{Done, InstanceNo, Run, TaskState};
use crate::graph::Ix;

/// A task that others look at: one copy of it, or where several count, all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) node: Ix,
    pub(crate) copy: Option<InstanceNo>,
}

impl Run {
    /// How many copies of a task are not done.
    pub(crate) fn open_copies(&self, node: Ix) -> u32 {
        self.arena.open(node)
    }

    /// What a copy sees of a task: in a mapped group the copy of its index, otherwise the only one, or all.
    fn seen(&self, no: InstanceNo, other: Ix) -> Seen {
        let own = self.arena.get(no);
        let copies = self.arena.numbers(other);
        let together = self.version.are_together(other, own.node)
            && self.arena.is_expanded(own.node)
            && self.arena.is_expanded(other);
        let copy = if together {
            self.arena.find(other, own.map_index)
        } else {
            (copies.len() == 1).then_some(copies.start)
        };
        Seen { node: other, copy }
    }

    fn is_open(&self, seen: Seen) -> bool {
        match seen.copy {
            Some(no) => self.arena.get(no).state.done().is_none(),
            None => self.arena.open(seen.node) > 0,
        }
    }

    fn before(&self, no: InstanceNo) -> impl Iterator<Item = Seen> + '_ {
        let above = self.version.task(self.arena.get(no).node).upstream.iter().copied();
        let known = above.filter(|up| *up < self.version.node_count());
        known.map(move |up| self.seen(no, up))
    }

    /// Direct upstreams that are not done.
    pub(crate) fn open_before(&self, no: InstanceNo) -> impl Iterator<Item = Seen> + '_ {
        self.before(no).filter(|seen| self.is_open(*seen))
    }

    /// The same of what a copy waits for besides those: its setups, or what a teardown comes after.
    pub(crate) fn open_in_scope(&self, no: InstanceNo) -> impl Iterator<Item = Seen> + '_ {
        let scope = self.version.scope(self.arena.get(no).node).iter().copied();
        scope.map(move |member| self.seen(no, member)).filter(|seen| self.is_open(*seen))
    }

    /// What a mapped task that has no copies yet is mapped over and that is not done.
    pub(crate) fn open_lengths(&self, no: InstanceNo) -> Vec<Seen> {
        let node = self.arena.get(no).node;
        if !self.lacks_copies(node) {
            return Vec::new();
        }
        let mut sources = self.sources(node);
        sources.sort_unstable();
        sources.dedup();
        let seen = sources.into_iter().map(|source| self.seen(no, source));
        seen.filter(|seen| self.is_open(*seen)).collect()
    }

    /// What ended before a copy, or in its scope, so that the copy was ruled out.
    pub(crate) fn ruled_out_by(&self, no: InstanceNo, why: RuledOut) -> Vec<Seen> {
        let scope = self.version.scope(self.arena.get(no).node).iter().copied();
        let all = self.before(no).chain(scope.map(|member| self.seen(no, member)));
        let bad = |state: &TaskState| match (why, state.done()) {
            (RuledOut::UpstreamFailed, Some(done)) => done.fails_run(),
            (RuledOut::Skipped, Some(done)) => done == Done::RuledOut(RuledOut::Skipped),
            (RuledOut::Removed | RuledOut::OutOfDates, _) | (_, None) => false,
        };
        let mut found: Vec<Seen> = all
            .filter(|seen| match seen.copy {
                Some(copy) => bad(&self.arena.get(copy).state),
                None => self.arena.numbers(seen.node).any(|copy| bad(&self.arena.get(copy).state)),
            })
            .collect();
        found.dedup();
        found
    }

    /// A task whose success decided against a copy.
    pub(crate) fn decided_by(&self, no: InstanceNo) -> Option<&TaskId> {
        let Self { skips, arena, .. } = self;
        let own = arena.get(no);
        let goes_with = |other: InstanceNo| {
            let by = arena.get(other).map_index;
            by == MapIndex::UNMAPPED || by == own.map_index
        };
        let mut against = skips.iter().filter(|(_, nodes)| nodes.binary_search(&own.node).is_ok());
        let (by, _) = against.find(|(by, _)| goes_with(**by))?;
        Some(&self.version.task(arena.get(*by).node).task_id)
    }

    /// Copies at the head of what goes on in the run: those in flight, then the first of each line, by weight
    /// or by when they are due, then those that wait for the run before, or for copies to be made.
    pub(crate) fn heads(&self) -> impl Iterator<Item = InstanceNo> + '_ {
        let first_of = |queue: &super::LineQueue| {
            let ready = queue.ready().map(|(_, no)| no).next();
            ready.or_else(|| queue.first_later())
        };
        let lines = self.lines.values().filter_map(first_of);
        let nodes = self.held.iter().chain(&self.to_expand).copied();
        let waits = |node: Ix| {
            let mut copies = self.arena.numbers(node);
            copies.find(|no| self.arena.get(*no).state.done().is_none())
        };
        let under_way = self.in_flight.iter().chain(&self.deferred).copied();
        under_way.chain(lines).chain(nodes.filter_map(waits))
    }
}
