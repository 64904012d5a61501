//! How many copies mapped tasks get, and when.
//!
//! A task over what stands in the file has its copies from the run's start, one over what others return once
//! nothing but that is left to wait for, as in Airflow. One that is to run again after what it is mapped over
//! changed gets more copies, or has some that are gone.
use std::{ops::Range, sync::Arc};

use dagbok_events::{Expand, Extent, Fact, RuledOut, RunStarted, TaskExpanded, Timestamp};
use dagbok_protocol::limits::COPIES_PER_TASK;

use super::{Change, Done, Handed, InstanceNo, Run, TaskState, consequences::Wave};
use crate::{
    graph::{Ix, sources_of},
    trigger_rule::Standing,
};

/// The key of what a task returned.
pub(super) const RETURN_VALUE: &str = "return_value";

impl Run {
    /// Whether a mapped task waits for its copies to be made.
    pub(super) fn lacks_copies(&self, node: Ix) -> bool {
        self.version.task(node).expand.is_some() && !self.arena.is_expanded(node)
    }

    /// Whether there are tasks that wait for nothing but copies.
    pub fn has_to_expand(&self) -> bool {
        self.to_expand.iter().any(|node| !self.waits_for_lengths(*node))
    }

    /// Whether what a task is mapped over is not done, though its trigger rule does not wait for that.
    fn waits_for_lengths(&self, node: Ix) -> bool {
        self.sources(node).into_iter().any(|source| self.arena.open(source) > 0)
    }

    pub(super) fn sources(&self, node: Ix) -> Vec<Ix> {
        let mut sources = Vec::new();
        if let Some(Expand::Product { of }) = &self.version.task(node).expand {
            sources_of(of, &mut sources);
        }
        sources.retain(|source| *source < self.version.node_count());
        sources
    }

    /// How many copies a mapped task is to have, as far as that is known.
    fn length(&self, node: Ix) -> Option<u64> {
        match self.version.task(node).expand.as_ref()? {
            Expand::Literal { length } => Some(u64::from(*length)),
            Expand::Product { of } => of
                .iter()
                .map(|extent| self.extent(extent))
                .try_fold(1_u64, |product, length| Some(product.saturating_mul(length?))),
        }
    }

    fn extent(&self, extent: &Extent) -> Option<u64> {
        let each = |of: &[Extent]| -> Option<Vec<u64>> {
            of.iter().map(|extent| self.extent(extent)).collect()
        };
        match extent {
            Extent::Fixed { length } => Some(u64::from(*length)),
            Extent::Of { task } => self.returned(*task).map(u64::from),
            Extent::Zip { of, longest } => {
                let lengths = each(of)?.into_iter();
                if *longest { lengths.max() } else { lengths.min() }
            }
            Extent::Concat { of } => Some(each(of)?.into_iter().fold(0, u64::saturating_add)),
        }
    }

    /// How many elements a task returned; of a mapped one that is done, how many copies returned something.
    fn returned(&self, node: Ix) -> Option<u32> {
        if node >= self.version.node_count() {
            return None;
        }
        let copies = self.arena.numbers(node);
        if !self.version.task(node).is_mapped {
            let single = !self.arena.is_expanded(node);
            return self.lengths.get(&copies.start).copied().filter(|_| single);
        }
        if self.arena.open(node) > 0 {
            return None;
        }
        if !self.arena.is_expanded(node) {
            return Some(0);
        }
        Some(self.xcoms.returned(node))
    }

    /// The facts of a start: that, the tasks that are no part of it, and the copies of those that are mapped over what
    /// the file holds.
    pub fn start_facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::RunStarted(RunStarted {})];
        let mut wave = Wave::new(self);
        self.leave_out_by_dates(&mut wave);
        facts.extend(self.literal_expansions(wave));
        facts
    }

    /// The copies of tasks that wait, have none yet and are mapped over what the file holds, with all that
    /// follows from `wave`. One with nothing to map over has its turn when nothing else is left to wait for.
    pub(super) fn literal_expansions(&self, mut wave: Wave<'_>) -> Vec<Fact> {
        let mut expansions = Vec::new();
        for node in 0..self.version.node_count() {
            let Some(Expand::Literal { length }) = self.version.task(node).expand else { continue };
            let first = self.arena.numbers(node).start;
            let waits = self.arena.get(first).state == TaskState::Waiting;
            let never = matches!(self.standing(first), Standing::Never(_));
            if length > 0 && waits && !never && !self.arena.is_expanded(node) {
                expansions.push((node, self.expanded(node, length)));
            }
        }
        // What is ruled out is so before it would have copies.
        let mut facts = wave.run_out_but_for_the_end();
        let goes_on = expansions.into_iter().filter(|(node, _)| !wave.settled.contains(node));
        facts.extend(goes_on.map(|(_, fact)| fact));
        facts.extend(wave.end());
        facts
    }

    fn expanded(&self, node: Ix, length: u32) -> Fact {
        let task_id = self.version.task(node).task_id.clone();
        Fact::TaskExpanded(TaskExpanded { task_id, length })
    }

    /// The copies of tasks that wait for nothing else, with all that follows where there are none to be.
    pub fn expand_facts(&self, at: Timestamp) -> Vec<Fact> {
        let (mut facts, mut wave) = (Vec::new(), Wave::new(self));
        // What becomes of those may be what the others wait to know.
        let known = |node: &&Ix| self.length(**node).is_some();
        let ready = || self.to_expand.iter().filter(|node| !self.waits_for_lengths(**node));
        let mut nodes: Vec<Ix> = ready().filter(known).copied().collect();
        if nodes.is_empty() {
            nodes.extend(ready().next());
        }
        for node in nodes {
            let copies = self.arena.numbers(node);
            let has = u32::try_from(copies.len()).unwrap_or(u32::MAX);
            let length = self.length(node);
            if let Some(length) = length.filter(|length| *length > u64::from(COPIES_PER_TASK)) {
                wave.refuse(node, copies, &self.too_many(node, length));
                continue;
            }
            match length.and_then(|length| u32::try_from(length).ok()) {
                Some(length) if !self.arena.is_expanded(node) => {
                    facts.push(self.expanded(node, length));
                    if length == 0 {
                        wave.rule_out(node, copies, RuledOut::Skipped);
                    }
                }
                Some(length) if length > has => facts.push(self.expanded(node, length)),
                Some(length) if self.arena.is_expanded(node) => {
                    wave.rule_out(node, copies.start + length..copies.end, RuledOut::Removed);
                }
                None | Some(_) => wave.rule_out(node, copies, self.why_unknown(node)),
            }
        }
        facts.extend(wave.run_out());
        if !self.skips.is_empty() || self.version.has_groups() {
            // Copies that others' copies had decided against, or had failed, before they were there.
            let mut then = self.clone();
            for fact in &facts {
                then.evolve(0, at, fact);
            }
            facts.extend(then.after_change());
        }
        facts
    }

    /// What is said of a task that would have so many copies.
    fn too_many(&self, node: Ix, length: u64) -> String {
        let task = self.version.task(node);
        let of = match &task.expand {
            Some(Expand::Product { of }) => of.as_slice(),
            Some(Expand::Literal { .. }) | None => &[],
        };
        let factors = of.iter().filter_map(|extent| self.extent(extent)).map(|it| it.to_string());
        let factors: Vec<String> = factors.collect();
        let product = match factors.len() {
            0 | 1 => String::new(),
            _ => format!(" ({})", factors.join(" × ")),
        };
        format!(
            "the task `{}` would have {length} copies{product}, and the limit is {COPIES_PER_TASK} for each task of a \
             run, which no setting changes: map it over fewer elements, or over lists of several",
            task.task_id
        )
    }

    /// What becomes of a task where nobody can say any more how many copies there are to be: as in Airflow it is
    /// skipped where what it is mapped over was, and nothing of that failed.
    fn why_unknown(&self, node: Ix) -> RuledOut {
        let single =
            self.sources(node).into_iter().filter(|source| !self.arena.is_expanded(*source));
        let ends =
            single.map(|source| self.arena.get(self.arena.numbers(source).start).state.done());
        let ends: Vec<Option<Done>> = ends.collect();
        let skipped = Some(Done::RuledOut(RuledOut::Skipped));
        if ends.contains(&skipped) && !ends.iter().flatten().any(|done| done.fails_run()) {
            RuledOut::Skipped
        } else {
            RuledOut::UpstreamFailed
        }
    }

    /// Gives a mapped task its copies, or more of them.
    pub(super) fn expand_node(&mut self, node: Ix, length: u32) -> Vec<Change> {
        let copies = self.arena.numbers(node);
        let grows = self.arena.is_expanded(node);
        let fits = if grows {
            length as usize > copies.len()
        } else {
            length > 0 && self.arena.get(copies.start).state == TaskState::Waiting
        };
        if !fits {
            return Vec::new();
        }
        copies.for_each(|no| self.leave_line(no));
        self.to_expand.remove(&node);
        let has = u32::try_from(self.arena.numbers(node).len()).unwrap_or(u32::MAX);
        let before = self.arena.expand(node, length);
        let more = length - has;
        self.open += more as usize;
        let changes = if grows { self.renumber(node, before) } else { Vec::new() };
        let version = Arc::clone(&self.version);
        let is_setup = version.task(node).is_setup;
        for &down in version.downstream(node) {
            match version.are_together(node, down) {
                true if grows => self.index_node(down),
                true => self.recount(&version, down, |upstream, _| upstream.take_out(is_setup)),
                false => self.recount(&version, down, |upstream, _| {
                    upstream.total += more;
                    upstream.setups += if is_setup { more } else { 0 };
                }),
            }
        }
        for &down in version.in_scope_of(node) {
            match version.are_together(node, down) {
                true if grows => self.index_node(down),
                true => self.recount(&version, down, |_, scope| scope.take_out(false)),
                false => self.recount(&version, down, |_, scope| scope.total += more),
            }
        }
        self.index_node(node);
        changes
    }

    /// Copies have new numbers: whatever was kept by the old ones follows them.
    fn renumber(&mut self, node: Ix, before: Range<InstanceNo>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (old, new) in before.zip(self.arena.numbers(node)) {
            if self.in_flight.remove(&old) {
                self.in_flight.insert(new);
            }
            if self.deferred.remove(&old) {
                self.deferred.insert(new);
            }
            self.xcoms.renumber(old, new);
            if let Some(length) = self.lengths.remove(&old) {
                self.lengths.insert(new, length);
            }
            if let Some(skips) = self.skips.remove(&old) {
                self.skips.insert(new, skips);
            }
            let state = &self.arena.get(new).state;
            let (due, holder) = (state.due(), state.executor().cloned());
            let queued = state.queued_since();
            let parked = state.parked();
            let stays = holder.is_none() && queued.is_none() && parked.is_none();
            if due.is_none() && stays {
                continue;
            }
            let still = Change {
                taken: None,
                freed: None,
                handed: None,
                waited: None,
                waits: None,
                queued: None,
                was_queued: None,
                parked: None,
                unparked: None,
                no: old,
            };
            let gone = Handed { instance: old, from: holder.clone(), to: None };
            let come = Handed { instance: new, from: None, to: holder.clone() };
            changes.push(Change {
                handed: holder.is_some().then_some(gone),
                waited: due,
                was_queued: queued.clone(),
                unparked: parked.clone(),
                ..still.clone()
            });
            changes.push(Change {
                handed: holder.is_some().then_some(come),
                waits: due,
                queued,
                parked,
                no: new,
                ..still
            });
        }
        changes
    }

    /// A copy of a task is done: what is mapped over it, and is to run again, may need other copies.
    pub(super) fn look_at_lengths_over(&mut self, node: Ix) {
        if self.version.mapped_over(node).is_empty() || self.arena.open(node) > 0 {
            return;
        }
        let version = Arc::clone(&self.version);
        version.mapped_over(node).iter().for_each(|over| self.look_at_length(*over));
    }

    /// A task is to run again: how many copies what is mapped over it needs is open until then.
    pub(super) fn forget_lengths_over(&mut self, node: Ix) {
        if self.to_expand.is_empty() {
            return;
        }
        let version = Arc::clone(&self.version);
        for over in version.mapped_over(node) {
            if self.arena.is_expanded(*over) {
                self.to_expand.remove(over);
            }
        }
    }

    /// Whether a mapped task that has copies and is to run again has as many as it should.
    pub(super) fn look_at_length(&mut self, node: Ix) {
        let over_results = matches!(self.version.task(node).expand, Some(Expand::Product { .. }));
        if !over_results || !self.arena.is_expanded(node) {
            return;
        }
        let copies = self.arena.numbers(node);
        let waits = |no: InstanceNo| self.arena.get(no).state == TaskState::Waiting;
        let other = match self.length(node).and_then(|length| u32::try_from(length).ok()) {
            None => false,
            Some(length) if length as usize > copies.len() => copies.clone().any(waits),
            Some(length) => (copies.start + length..copies.end).any(waits),
        };
        if other {
            self.to_expand.insert(node);
        } else {
            self.to_expand.remove(&node);
        }
    }
}
