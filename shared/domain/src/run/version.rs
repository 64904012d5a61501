//! A run that is over goes on with another version of its DAG.
//!
//! What a task has in both stays as it stands, under the edges and rules of the new version; a task that is new waits
//! for its turn; one that is gone is no part of the run any more, and no other waits for it. Which is which is in the
//! fact, so that a run stays as it was moved whatever these rules become.
use std::{collections::BTreeSet, ops::Range, sync::Arc};

use dagbok_events::{
    Digest, Expand, Fact, MapIndex, RuledOut, RunVersionChanged, TaskExpanded, TaskGone, TaskId,
    TaskRuledOut, Timestamp,
};
use dagbok_protocol::{ClearedTask, VersionChange};

use super::{Clearing, Done, Instance, InstanceNo, Run, TaskState, clear::Picked, values::Values};
use crate::graph::{Ix, Version};

/// A run as it would go on with another version.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The run as it would be, before anything of it is cleared.
    pub run: Run,
    /// What makes it so, the version's fact first.
    pub facts: Vec<Fact>,
    /// Copies that an earlier version had taken out, and that are there again.
    pub restored: Vec<ClearedTask>,
    /// What it comes to, for people.
    pub change: VersionChange,
    /// Tasks that are new, or have copies that are.
    fresh: BTreeSet<Ix>,
}

impl Run {
    /// What becomes of it with this version and code; nothing where it runs these.
    pub fn moved_to(
        &self,
        at: Timestamp,
        version: &Arc<Version>,
        bundle: &Digest,
    ) -> Option<Moved> {
        if self.version.number == version.number && self.meta.bundle == *bundle {
            return None;
        }
        let fact = self.version_fact(version, bundle);
        let mut run = self.clone();
        run.change_version(version, &fact);
        let added: BTreeSet<Ix> = fact.added.iter().filter_map(|id| version.find(id)).collect();
        let whole = |node: &Ix| ClearedTask {
            task_id: version.task(*node).task_id.clone(),
            map_index: MapIndex::UNMAPPED,
            further: 0,
            was: Vec::new(),
        };
        let mut change = VersionChange {
            from: self.version.number,
            to: version.number,
            bundle: bundle.clone(),
            added: added.iter().map(whole).collect(),
            removed: fact.removed.iter().cloned().map(gone_copies).collect(),
        };
        let (mut more, mut restored) = (Vec::new(), Vec::new());
        for node in 0..run.version.node_count() {
            restored.extend(run.refit(node, &mut more, &mut change));
        }
        for fact in &more {
            run.evolve(0, at, fact);
        }
        let new = change.added.iter().chain(&restored);
        let fresh: BTreeSet<Ix> = new.filter_map(|it| version.find(&it.task_id)).collect();
        let dropped = run.dropped_below(Picked { whole: fresh.clone(), ..Picked::default() });
        for fact in &dropped {
            run.evolve(0, at, fact);
        }
        let facts = [Fact::RunVersionChanged(Box::new(fact))].into_iter();
        let facts = facts.chain(more).chain(dropped).collect();
        Some(Moved { run, facts, restored, change, fresh })
    }

    fn version_fact(&self, version: &Version, bundle: &Digest) -> RunVersionChanged {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        if self.version.number != version.number {
            for node in 0..self.version.node_count() {
                let task_id = &self.version.task(node).task_id;
                if version.find(task_id).is_none_or(|new| !self.fits(node, version, new)) {
                    let copies = self.arena.numbers(node);
                    removed.push(TaskGone {
                        task_id: task_id.clone(),
                        map_index: self.arena.get(copies.start).map_index,
                        further: copies.end - copies.start - 1,
                        was: self.how_stood(copies),
                    });
                }
            }
            for node in 0..version.node_count() {
                let task_id = &version.task(node).task_id;
                let old = self.version.find(task_id);
                if old.is_none_or(|old| !self.fits(old, version, node)) {
                    added.push(task_id.clone());
                }
            }
        }
        RunVersionChanged {
            version: version.number,
            bundle: bundle.clone(),
            was: self.version.number,
            bundle_was: self.meta.bundle.clone(),
            added,
            removed,
            ends: self.ends,
        }
    }

    /// Whether what a task has of copies is what it may have in another version: the same as in Airflow, where a copy
    /// without an index is none of a mapped task, and one with an index none of another.
    fn fits(&self, old: Ix, version: &Version, new: Ix) -> bool {
        match (&version.task(new).expand, self.arena.is_expanded(old)) {
            (None, expanded) => !expanded,
            (Some(Expand::Literal { length: 0 }), true) => false,
            (Some(_), true) => true,
            (Some(_), false) => self.version.task(old).expand.is_some(),
        }
    }

    /// A mapped task that has copies gets those that its version has more of in the file, and loses those that are
    /// too many; those that are there again are returned.
    fn refit(
        &self,
        node: Ix,
        facts: &mut Vec<Fact>,
        change: &mut VersionChange,
    ) -> Vec<ClearedTask> {
        let Some(Expand::Literal { length }) = self.version.task(node).expand else {
            return Vec::new();
        };
        let copies = self.arena.numbers(node);
        if !self.arena.is_expanded(node) {
            return Vec::new();
        }
        let task_id = self.version.task(node).task_id.clone();
        let has = copies.end - copies.start;
        let end = copies.start + length.min(has);
        let is_gone = |state: &TaskState| state.done() == Some(Done::RuledOut(RuledOut::Removed));
        if length > has {
            facts.push(Fact::TaskExpanded(TaskExpanded { task_id: task_id.clone(), length }));
            let map_index = MapIndex(i32::try_from(has).unwrap_or(i32::MAX));
            let further = length - has - 1;
            change.added.push(ClearedTask { task_id, map_index, further, was: Vec::new() });
        }
        let lost = |_, state: &TaskState| (!is_gone(state)).then_some(());
        for (copies, ()) in self.stretches(end..copies.end, lost) {
            let gone = self.named_copies(node, copies);
            facts.push(Fact::TaskRuledOut(TaskRuledOut {
                task_id: gone.task_id.clone(),
                map_index: gone.map_index,
                why: RuledOut::Removed,
                further: gone.further,
                message: None,
            }));
            change.removed.push(gone);
        }
        let back = |_, state: &TaskState| is_gone(state).then_some(());
        let back = self.stretches(copies.start..end, back);
        back.map(|(copies, ())| self.named_copies(node, copies)).collect()
    }

    fn named_copies(&self, node: Ix, copies: Range<InstanceNo>) -> ClearedTask {
        ClearedTask {
            task_id: self.version.task(node).task_id.clone(),
            map_index: self.arena.get(copies.start).map_index,
            further: copies.end - copies.start - 1,
            was: self.how_stood(copies),
        }
    }

    /// Folds in that it goes on with another version.
    pub(crate) fn change_version(&mut self, version: &Arc<Version>, f: &RunVersionChanged) {
        self.meta.bundle = f.bundle.clone();
        if self.version.number == version.number {
            return;
        }
        let fresh = Self::new(self.key.clone(), self.meta.clone(), Arc::clone(version));
        let old = std::mem::replace(self, fresh);
        self.ends = f.ends;
        self.keep_own(&old);
        let added: BTreeSet<&TaskId> = f.added.iter().collect();
        let mut kept: Vec<(Ix, Ix)> = Vec::new();
        for node in 0..old.version.node_count() {
            let task_id = &old.version.task(node).task_id;
            let new = version.find(task_id).filter(|new| old.fits(node, version, *new));
            if let Some(new) = new.filter(|_| !added.contains(task_id)) {
                kept.push((node, new));
            } else {
                let had = old.arena.numbers(node).map(|no| old.arena.get(no).tries).max();
                let most = self.tried.entry(task_id.clone()).or_default();
                *most = (*most).max(had.unwrap_or(0));
            }
        }
        self.number_from(old.arena.tried_before());
        self.keep(&old, &kept);
    }

    /// Tries of all copies go on from this number, those of tasks that come again from their own.
    pub(super) fn number_from(&mut self, tries: u16) {
        self.arena.number_from(tries);
        for (task_id, tries) in &self.tried {
            if let Some(node) = self.version.find(task_id) {
                self.arena.number_task_from(node, *tries);
            }
        }
    }

    /// Takes over what is the run's, whatever version it runs. Each field is named, so that whoever adds one says here
    /// what becomes of it.
    fn keep_own(&mut self, old: &Self) {
        let Self {
            phase,
            over_since,
            lapsed,
            forgotten,
            tried,
            notes,
            checkpoints,
            stale,
            // The same, or told by the fact.
            key: _,
            meta: _,
            version: _,
            ends: _,
            // Made of the version, and of its copies as they are kept.
            arena: _,
            lines: _,
            busy: _,
            touched: _,
            held: _,
            released: _,
            in_flight: _,
            deferred: _,
            open: _,
            failed_leaves: _,
            xcoms: _,
            lengths: _,
            to_expand: _,
            skips: _,
        } = old;
        (self.phase, self.over_since) = (*phase, *over_since);
        (self.lapsed, self.forgotten) = (*lapsed, *forgotten);
        self.tried.clone_from(tried);
        self.notes.clone_from(notes);
        self.checkpoints.clone_from(checkpoints);
        self.stale.clone_from(stale);
    }

    /// Takes over what tasks had: their copies, how these stand, and what they handed on.
    fn keep(&mut self, old: &Self, kept: &[(Ix, Ix)]) {
        let mut pairs: Vec<(InstanceNo, InstanceNo)> = Vec::new();
        for &(before, node) in kept {
            let copies = old.arena.numbers(before);
            if old.arena.is_expanded(before) {
                self.expand_node(node, copies.end - copies.start);
            }
            pairs.extend(copies.zip(self.arena.numbers(node)));
        }
        let node_of = |node: &Ix| self.version.find(&old.version.task(*node).task_id);
        for (before, no) in &pairs {
            let Some(skips) = old.skips.get(before) else { continue };
            let mut skips: Vec<Ix> = skips.iter().filter_map(node_of).collect();
            skips.sort_unstable();
            self.skips.insert(*no, skips);
        }
        let mut values = Values::default();
        for &(before, no) in &pairs {
            let Instance { state, tries, failures, losses, not_begun, began, .. } =
                old.arena.get(before).clone();
            let node = self.arena.get(no).node;
            let instance = self.arena.get_mut(no);
            instance.tries = instance.tries.max(tries);
            (instance.failures, instance.losses) = (failures, losses);
            (instance.not_begun, instance.began) = (not_begun, began);
            if state.done().is_some() {
                self.set(no, state);
            }
            for (name, seq) in old.xcoms.of(before) {
                values.push((node, no), name, Some(seq));
            }
            if let Some(length) = old.lengths.get(&before) {
                self.lengths.insert(no, *length);
            }
        }
        self.xcoms = values;
        for no in self.skipped_but_waiting().into_iter().flatten() {
            self.leave_ready(no);
        }
        for node in 0..self.version.node_count() {
            self.look_at_length(node);
        }
    }

    /// Whether a task was in the run and is not any more, since its version has none of that name.
    pub fn is_gone(&self, task_id: &TaskId) -> bool {
        self.tried.contains_key(task_id) && self.version.find(task_id).is_none()
    }

    /// Whether a try of a task that is not in the run any more was made.
    pub(crate) fn was_tried(&self, task_id: &TaskId, number: u16) -> bool {
        self.tried.get(task_id).is_some_and(|tries| number <= *tries)
    }

    /// The highest number that a try of it had.
    pub fn most_tries(&self) -> u16 {
        let there = self.instances().map(|(_, instance)| instance.tries);
        there.chain(self.tried.values().copied()).max().unwrap_or(0)
    }
}

impl Moved {
    /// The copies to clear, in the DAG's order: what is asked for, and what was ruled out below what is added.
    pub fn to_clear(&self, clearing: Clearing<'_>) -> Vec<ClearedTask> {
        let mut below = Picked::default();
        for node in &self.fresh {
            below.whole.extend(self.run.version.downstream(*node));
        }
        let cleared = self.run.to_clear_below(clearing, below);
        self.restored.iter().cloned().chain(cleared).collect()
    }

    /// Whether anything runs that did not before.
    pub fn adds(&self) -> bool {
        !self.change.added.is_empty()
    }
}

fn gone_copies(gone: TaskGone) -> ClearedTask {
    let TaskGone { task_id, map_index, further, was } = gone;
    ClearedTask { task_id, map_index, further, was }
}
