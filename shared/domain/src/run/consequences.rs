//! What follows from tasks being done, from a start, or from an end: others that never will be, copies of
//! mapped tasks, and the run's end.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use dagbok_events::{
    Fact, RuledOut, RunFailed, RunSucceeded, TaskId, TaskMark, TaskRuledOut, TryCancelled,
};
use dagbok_protocol::{ClearedTask, limits::FAILED_NAMED};

use super::{Done, Ending, InstanceNo, Phase, Run, TaskState, mark::marked_fact};
use crate::{
    graph::Ix,
    trigger_rule::{Standing, Tally, judge_in_scope},
};

/// Who or what ended a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Somebody, or the failure of a task that is to stop the rest.
    Somebody,
    /// Somebody who says that it ended well.
    WellBySomebody,
    /// Its own `dagrun_timeout`.
    Timeout,
}

impl Run {
    /// Every fact forced by these instances being done: tasks ruled out downstream of them, then the run's
    /// end.
    ///
    /// Upstreams are judged before their downstreams, so that each task is judged once all that this
    /// decision makes of its upstreams is known: a failure is never hidden by a skip that is found first.
    pub fn after_done(&self, seeds: &[(InstanceNo, Done)]) -> Vec<Fact> {
        let mut wave = Wave::new(self);
        for (no, done) in seeds {
            wave.seed(*no, *done);
            if *done == Done::Failed && self.version.spec.fail_fast {
                wave.stop_others(self.arena.get(*no).node);
            }
        }
        wave.run_out()
    }

    /// The same of an instance that succeeded and decided against `skips`.
    pub fn after_success(&self, no: InstanceNo, skips: &[TaskId]) -> Vec<Fact> {
        let mut wave = Wave::new(self);
        wave.seed(no, Done::Success);
        for node in self.nodes_of(skips) {
            wave.skip(node, self.skipped_copies(no, node));
        }
        wave.run_out()
    }

    /// Every fact forced by how things stand, where that was changed from outside: tasks that can't run, and
    /// copies of those that had none, where the run goes on.
    pub(crate) fn after_change(&self) -> Vec<Fact> {
        let mut wave = Wave::new(self);
        for copies in self.skipped_but_waiting() {
            wave.skip(self.arena.get(copies.start).node, copies);
        }
        let stuck = (0..self.version.node_count())
            .filter(|node| matches!(self.arena.standing(*node), Standing::Never(_)));
        // What was skipped just now may count in them already.
        for node in stuck {
            wave.touch(node);
        }
        for node in (0..self.version.node_count()).filter(|node| self.goes_by_copy(*node)) {
            wave.touch(node);
            wave.copies.entry(node).or_default().extend(self.arena.numbers(node));
        }
        if self.phase.is_under_way() {
            // What had ended before the run began, or was of another version, may be no part of it.
            self.leave_out_by_dates(&mut wave);
            self.literal_expansions(wave)
        } else {
            wave.run_out()
        }
    }

    /// Every fact forced by the run being ended from outside: its tries are cancelled, the rest is skipped. Of one
    /// that runs the teardowns go on, and whether any is left comes first.
    ///
    /// What ran has failed where somebody cancelled the run, and is skipped where it timed out, as in Airflow.
    pub fn after_end(&self, by: EndedBy) -> (bool, Vec<Fact>) {
        let teardowns_stay = matches!(self.phase, Phase::Running { .. });
        let mut wave = Wave::new(self);
        if self.phase == Phase::Queued {
            self.leave_out_by_dates(&mut wave);
        }
        for node in 0..self.version.node_count() {
            if !(teardowns_stay && self.version.task(node).is_teardown) {
                wave.stop(node, by);
            }
        }
        let facts = wave.run_out_but_for_the_end();
        (wave.count < self.open, facts)
    }

    /// What follows where a try ended and its task is to go on, but a task right before it decided against it
    /// meanwhile: it is skipped, as Airflow's NotPreviouslySkippedDep has it.
    pub fn after_going_on(&self, no: InstanceNo) -> Vec<Fact> {
        if !self.is_skipped(no) {
            return Vec::new();
        }
        let mut wave = Wave::new(self);
        let copies = no..no + 1;
        wave.seeds.insert(no);
        let skipped = wave.settled_as(self.arena.get(no).node, [(copies, RuledOut::Skipped)]);
        wave.facts.extend(skipped);
        wave.run_out()
    }

    pub(super) fn cancelled(&self, no: InstanceNo, skipped: bool) -> Option<Fact> {
        let instance = self.arena.get(no);
        let token = instance.state.in_flight()?;
        Some(Fact::TryCancelled(TryCancelled {
            task_id: self.spec(no).task_id.clone(),
            map_index: instance.map_index,
            try_number: token.try_number,
            leg: token.leg,
            executor: instance.state.executor().cloned(),
            skipped,
        }))
    }

    /// That these copies of one task, which follow each other, won't run.
    fn ruled_out(&self, copies: &Range<InstanceNo>, why: RuledOut) -> Fact {
        let first = self.arena.get(copies.start);
        let task_id = self.version.task(first.node).task_id.clone();
        let (map_index, further) = (first.map_index, copies.end - copies.start - 1);
        Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why, further, message: None })
    }

    /// Of a task's copies, in order, those that `pick` says the same of, in stretches.
    pub(super) fn stretches<'a, T: PartialEq + Copy + 'a>(
        &'a self,
        copies: impl Iterator<Item = InstanceNo> + 'a,
        pick: impl Fn(InstanceNo, &TaskState) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (Range<InstanceNo>, T)> + 'a {
        let mut numbers = copies.peekable();
        std::iter::from_fn(move || {
            loop {
                let first = numbers.next()?;
                let Some(picked) = pick(first, &self.arena.get(first).state) else { continue };
                let mut end = first + 1;
                let goes_on = |no: &InstanceNo, end| {
                    *no == end && pick(*no, &self.arena.get(*no).state) == Some(picked)
                };
                while numbers.next_if(|no| goes_on(no, end)).is_some() {
                    end += 1;
                }
                return Some((first..end, picked));
            }
        })
    }
}

/// Stretches of a task's copies that won't run.
type Stretches = Vec<(Range<InstanceNo>, RuledOut)>;

/// Tasks settled by one decision, and those downstream of them that are to be judged anew.
pub(super) struct Wave<'a> {
    run: &'a Run,
    /// Tasks ruled out by the decision itself.
    facts: Vec<Fact>,
    seeds: BTreeSet<InstanceNo>,
    pub(super) settled: BTreeSet<Ix>,
    count: usize,
    touched: BTreeMap<Ix, (Tally, Tally)>,
    /// Of tasks whose copies go with those of others: single ones to judge anew.
    copies: BTreeMap<Ix, BTreeSet<InstanceNo>>,
    /// Where there are mapped groups: how each of what is settled ends.
    ended: BTreeMap<InstanceNo, Done>,
    failed_leaves: BTreeSet<Ix>,
    /// Tasks whose copies were ruled out by their rule: judged once more, which only a history that no file
    /// could make asks for, they have nothing left.
    judged: BTreeSet<Ix>,
}

impl<'a> Wave<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        let (seeds, settled, failed_leaves) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (touched, copies, ended) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (facts, judged) = (Vec::new(), BTreeSet::new());
        let count = 0;
        Self { run, facts, seeds, settled, count, touched, copies, ended, failed_leaves, judged }
    }

    /// One copy is done by its own doing.
    fn seed(&mut self, no: InstanceNo, done: Done) {
        if self.seeds.insert(no) {
            self.settle(self.run.arena.get(no).node, done, std::slice::from_ref(&(no..no + 1)));
        }
    }

    /// These copies of a task won't run, where they wait, for a reason that no rule judges.
    pub(super) fn rule_out(&mut self, node: Ix, copies: Range<InstanceNo>, why: RuledOut) {
        let waits = |no, state: &TaskState| {
            (*state == TaskState::Waiting && !self.seeds.contains(&no)).then_some(why)
        };
        let found: Vec<_> = self.run.stretches(copies.clone(), waits).collect();
        self.seeds.extend(copies);
        let facts = self.settled_as(node, found);
        self.facts.extend(facts);
    }

    /// The same of a task that is no part of the run by its dates, which `message` says.
    pub(super) fn leave_out(&mut self, node: Ix, message: &str) {
        self.rule_out_for(node, self.run.arena.numbers(node), RuledOut::OutOfDates, message);
    }

    /// The same of a task that asks for too many copies, which `message` says.
    pub(super) fn refuse(&mut self, node: Ix, copies: Range<InstanceNo>, message: &str) {
        self.rule_out_for(node, copies, RuledOut::UpstreamFailed, message);
    }

    fn rule_out_for(&mut self, node: Ix, copies: Range<InstanceNo>, why: RuledOut, message: &str) {
        let before = self.facts.len();
        self.rule_out(node, copies, why);
        for fact in &mut self.facts[before..] {
            if let Fact::TaskRuledOut(fact) = fact {
                fact.message = Some(message.to_owned());
            }
        }
    }

    /// Facts of stretches of a task's copies that won't run; what is below them is to be judged.
    fn settled_as(
        &mut self,
        node: Ix,
        stretches: impl IntoIterator<Item = (Range<InstanceNo>, RuledOut)>,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (copies, why) in stretches {
            facts.push(self.run.ruled_out(&copies, why));
            self.settle(node, Done::RuledOut(why), &[copies]);
        }
        facts
    }

    /// Where one task has failed for good and that is to stop the run: what runs fails, what waits is skipped.
    /// Teardowns go on, and so do other copies of the same task, as in Airflow.
    fn stop_others(&mut self, failed: Ix) {
        let run = self.run;
        for node in (0..run.version.node_count()).filter(|node| *node != failed) {
            if !run.version.task(node).is_teardown && run.arena.open(node) > 0 {
                self.stop(node, EndedBy::Somebody);
            }
        }
    }

    /// All copies of a task are stopped: what runs is cancelled, what has not begun is skipped.
    fn stop(&mut self, node: Ix, by: EndedBy) {
        let copies = self.run.arena.numbers(node);
        if by == EndedBy::WellBySomebody {
            self.end_well(copies.clone());
        }
        self.cancel(copies.clone(), |state| match state {
            TaskState::Running { .. } => Some(by == EndedBy::Timeout),
            TaskState::Queued { .. } => Some(true),
            _ => None,
        });
        self.skip(node, copies);
    }

    /// What runs of these copies is ended, and stands as one that succeeded.
    fn end_well(&mut self, copies: Range<InstanceNo>) {
        let run = self.run;
        let runs = |no: &InstanceNo| {
            let state = &run.arena.get(*no).state;
            matches!(
                state,
                TaskState::Running { .. }
                    | TaskState::UpForReschedule { .. }
                    | TaskState::Deferred { .. }
            )
        };
        for no in copies.filter(runs) {
            self.facts.extend(run.cancelled(no, false));
            let task_id = run.spec(no).task_id.clone();
            let (map_index, was) = (run.arena.get(no).map_index, run.how_stood(no..no + 1));
            let copy = ClearedTask { task_id, map_index, further: 0, was };
            self.facts.push(marked_fact(copy, TaskMark::Success));
            self.seed(no, Done::Success);
        }
    }

    /// Cancels tries of which `picks` says whether their tasks are skipped with them, or have failed.
    fn cancel(&mut self, copies: Range<InstanceNo>, picks: impl Fn(&TaskState) -> Option<bool>) {
        let run = self.run;
        for no in copies {
            let picked = picks(&run.arena.get(no).state).filter(|_| !self.seeds.contains(&no));
            let Some(skipped) = picked else { continue };
            self.facts.extend(run.cancelled(no, skipped));
            let skips = Done::RuledOut(RuledOut::Skipped);
            self.seed(no, if skipped { skips } else { Done::Failed });
        }
    }

    /// Copies of a task are skipped by a decision, whatever its trigger rule says: those that have not begun.
    fn skip(&mut self, node: Ix, copies: Range<InstanceNo>) {
        let run = self.run;
        let queued = |state: &TaskState| matches!(state, TaskState::Queued { .. }).then_some(true);
        self.cancel(copies.clone(), queued);
        let begins = |no, state: &TaskState| {
            let waits = *state == TaskState::Waiting || state.is_between();
            (waits && !self.seeds.contains(&no)).then_some(())
        };
        let found: Vec<_> = run.stretches(copies.clone(), begins).collect();
        self.seeds.extend(copies);
        let skipped = found.into_iter().map(|(copies, ())| (copies, RuledOut::Skipped));
        let facts = self.settled_as(node, skipped);
        self.facts.extend(facts);
    }

    /// These copies of a task are done.
    fn settle(&mut self, node: Ix, done: Done, copies: &[Range<InstanceNo>]) {
        let count: u32 = copies.iter().map(|copies| copies.end - copies.start).sum();
        self.settled.insert(node);
        self.count += count as usize;
        let version = &self.run.version;
        if version.is_leaf(node) && done.fails_run() {
            self.failed_leaves.insert(node);
        }
        if version.has_groups() {
            self.ended.extend(copies.iter().flat_map(Clone::clone).map(|no| (no, done)));
        }
        let by_copy = |down| version.are_together(node, down) && self.run.arena.is_expanded(node);
        let is_setup = version.task(node).is_setup;
        for &down in version.downstream(node) {
            if by_copy(down) {
                self.touch_copies(down, copies);
                continue;
            }
            let (upstream, _) = self.touch(down);
            if is_setup {
                upstream.count_setups(done, count);
            } else {
                upstream.count(done, count);
            }
        }
        for &down in version.in_scope_of(node) {
            if by_copy(down) {
                self.touch_copies(down, copies);
            } else {
                self.touch(down).1.count(done, count);
            }
        }
    }

    fn touch(&mut self, node: Ix) -> &mut (Tally, Tally) {
        let tallies = || self.run.arena.tallies(node);
        self.touched.entry(node).or_insert_with(tallies)
    }

    /// The copies of a task that go with these of another are to be judged anew.
    fn touch_copies(&mut self, node: Ix, with: &[Range<InstanceNo>]) {
        let arena = &self.run.arena;
        if !arena.is_expanded(node) {
            return;
        }
        let maps = with.iter().flat_map(Clone::clone).map(|no| arena.get(no).map_index);
        let found: Vec<InstanceNo> = maps.filter_map(|map| arena.find(node, map)).collect();
        self.copies.entry(node).or_default().extend(found);
        self.touch(node);
    }

    /// Rules out, in the DAG's order, all that can never run any more; then says how the run ends, if it
    /// does.
    pub(super) fn run_out(mut self) -> Vec<Fact> {
        let mut facts = self.run_out_but_for_the_end();
        facts.extend(self.end());
        facts
    }

    pub(super) fn run_out_but_for_the_end(&mut self) -> Vec<Fact> {
        let mut all = std::mem::take(&mut self.facts);
        while let Some((node, tallies)) = self.touched.pop_first() {
            let found = if self.run.goes_by_copy(node) {
                self.never_by_copy(node, tallies)
            } else {
                self.never(node, tallies)
            };
            if !found.is_empty() {
                self.judged.insert(node);
            }
            all.extend(self.settled_as(node, found));
        }
        all
    }

    /// A task's copies that wait and can never run any more.
    fn never(&self, node: Ix, (upstream, scope): (Tally, Tally)) -> Stretches {
        let task = self.run.version.task(node);
        let Standing::Never(why) = judge_in_scope(task, upstream, scope) else {
            return Vec::new();
        };
        // Each further upstream that ends judges it again, whatever of it there is left to rule out.
        if self.run.skips_later(node, why)
            || self.run.arena.open(node) == 0
            || self.judged.contains(&node)
        {
            return Vec::new();
        }
        let waits = |no, state: &TaskState| {
            (*state == TaskState::Waiting && !self.seeds.contains(&no)).then_some(why)
        };
        self.run.stretches(self.run.arena.numbers(node), waits).collect()
    }

    /// The same where each copy has others before it: all are looked at where what is before all of them
    /// changed, else single ones.
    fn never_by_copy(&mut self, node: Ix, tallies: (Tally, Tally)) -> Stretches {
        let arena = &self.run.arena;
        if arena.open(node) == 0 {
            return Vec::new();
        }
        let copies = self.copies.remove(&node).unwrap_or_default();
        let faces = |(upstream, scope): (Tally, Tally)| (upstream.face(), scope.face());
        let done_of = |no: InstanceNo| {
            let ended = self.ended.get(&no).copied();
            ended.or_else(|| arena.get(no).state.done())
        };
        let never = |no, state: &TaskState| {
            let settled = self.seeds.contains(&no) || self.ended.contains_key(&no);
            if *state != TaskState::Waiting || settled {
                return None;
            }
            match arena.standing_of(&self.run.version, no, tallies, done_of) {
                Standing::Never(why) if self.run.skips_later(node, why) => None,
                Standing::Never(why) => Some(why),
                Standing::Wait | Standing::Ready => None,
            }
        };
        if faces(tallies) == faces(arena.tallies(node)) {
            self.run.stretches(copies.into_iter(), never).collect()
        } else {
            self.run.stretches(arena.numbers(node), never).collect()
        }
    }

    pub(super) fn end(&self) -> Option<Fact> {
        let over = matches!(self.run.phase, Phase::Over(_));
        if self.count < self.run.open || over {
            return None;
        }
        let goes_well = match self.run.phase {
            Phase::Ending { to, .. } => to == Ending::Success,
            _ => self.run.failed_leaves == 0 && self.failed_leaves.is_empty(),
        };
        if goes_well {
            return Some(Fact::RunSucceeded(RunSucceeded {}));
        }
        let before = self.run.instances().filter(|(_, instance)| {
            self.run.version.is_leaf(instance.node)
                && instance.state.done().is_some_and(Done::fails_run)
        });
        let nodes: BTreeSet<Ix> =
            before.map(|(_, it)| it.node).chain(self.failed_leaves.iter().copied()).collect();
        let name = |node: Ix| -> TaskId { self.run.version.task(node).task_id.clone() };
        let failed = nodes.into_iter().take(FAILED_NAMED).map(name).collect();
        Some(Fact::RunFailed(RunFailed { failed }))
    }
}
