//! What follows from tasks being done, from a start, or from an end: others that never will be, copies of
//! mapped tasks, and the run's end.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use dagbok_events::{
    Expand, Fact, MapIndex, RuledOut, RunFailed, RunStarted, RunSucceeded, TaskExpanded, TaskId,
    TaskRuledOut, TryCancelled,
};
use dagbok_protocol::limits::FAILED_NAMED;

use super::{Done, InstanceNo, Phase, Run, TaskState};
use crate::{
    graph::{Ix, Version},
    trigger_rule::{Standing, Tally, judge_in_scope},
};

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
    pub(super) fn after_change(&self) -> Vec<Fact> {
        let mut wave = Wave::new(self);
        for copies in self.skipped_but_waiting() {
            wave.skip(self.arena.get(copies.start).node, copies);
        }
        let stuck = (0..self.version.node_count())
            .filter(|node| matches!(self.arena.standing(*node), Standing::Never(_)));
        wave.touched.extend(stuck.map(|node| (node, self.arena.tallies(node))));
        match self.phase {
            Phase::Running { .. } => self.expansions(wave),
            Phase::Queued | Phase::Over(_) => wave.run_out(),
        }
    }

    /// The facts of a start: that, the copies of tasks that are mapped over what the file holds, and what
    /// follows where there is nothing to map over, or nothing at all.
    pub fn start_facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::RunStarted(RunStarted {})];
        facts.extend(self.expansions(Wave::new(self)));
        facts
    }

    /// The copies of tasks that wait and have none yet, with all that follows from `wave` and from those that
    /// have nothing to map over.
    fn expansions(&self, mut wave: Wave<'_>) -> Vec<Fact> {
        let (mut facts, mut expansions) = (Vec::new(), Vec::new());
        for node in 0..self.version.node_count() {
            let Some(length) = literal_length(&self.version, node) else { continue };
            let first = self.arena.numbers(node).start;
            let waits = self.arena.get(first).state == TaskState::Waiting;
            let never = matches!(self.standing(first), Standing::Never(_));
            if !waits || never || self.arena.is_expanded(node) {
                continue;
            }
            let task_id = self.version.task(node).task_id.clone();
            let expanded = Fact::TaskExpanded(TaskExpanded { task_id, length });
            if length > 0 {
                expansions.push((node, expanded));
                continue;
            }
            let why = RuledOut::Skipped;
            facts.push(expanded);
            facts.extend(self.ruled_out(node, why, &wave.seeds).0);
            wave.seed(self.arena.numbers(node).start, Done::RuledOut(why));
        }
        // What is ruled out is so before it would have copies.
        facts.extend(wave.run_out_but_for_the_end());
        let goes_on = expansions.into_iter().filter(|(node, _)| !wave.settled.contains(node));
        facts.extend(goes_on.map(|(_, fact)| fact));
        facts.extend(wave.end());
        facts
    }

    /// Every fact forced by the run being ended from outside: its tries are cancelled, the rest skipped.
    pub fn after_end(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for node in 0..self.version.node_count() {
            facts.extend(self.arena.numbers(node).filter_map(|no| self.cancelled(no)));
            let waits = |_, state: &TaskState| {
                (*state == TaskState::Waiting || state.due().is_some()).then_some(())
            };
            facts.extend(self.stretches(node, waits).map(|(map_index, further, ())| {
                let (task_id, why) = (self.version.task(node).task_id.clone(), RuledOut::Skipped);
                Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why, further })
            }));
        }
        facts
    }

    fn cancelled(&self, no: InstanceNo) -> Option<Fact> {
        let instance = self.arena.get(no);
        let token = instance.state.in_flight()?;
        Some(Fact::TryCancelled(TryCancelled {
            task_id: self.spec(no).task_id.clone(),
            map_index: instance.map_index,
            try_number: token.try_number,
            leg: token.leg,
            executor: instance.state.executor().cloned(),
        }))
    }

    /// A task's copies that wait, ruled out but for `seeds`; and how many they are.
    fn ruled_out(&self, node: Ix, why: RuledOut, seeds: &BTreeSet<InstanceNo>) -> (Vec<Fact>, u32) {
        let task_id = &self.version.task(node).task_id;
        let waiting = |no, state: &TaskState| {
            (*state == TaskState::Waiting && !seeds.contains(&no)).then_some(())
        };
        let (mut facts, mut count) = (Vec::new(), 0);
        for (map_index, further, ()) in self.stretches(node, waiting) {
            let task_id = task_id.clone();
            facts.push(Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why, further }));
            count += further + 1;
        }
        (facts, count)
    }

    /// A task's copies that `pick` says the same of, in stretches: the first map index, and how many follow.
    pub(super) fn stretches<'a, T: PartialEq + Copy + 'a>(
        &'a self,
        node: Ix,
        pick: impl Fn(InstanceNo, &TaskState) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (MapIndex, u32, T)> + 'a {
        self.stretches_of(self.arena.numbers(node), pick)
    }

    /// The same of some of a task's copies.
    fn stretches_of<'a, T: PartialEq + Copy + 'a>(
        &'a self,
        copies: Range<InstanceNo>,
        pick: impl Fn(InstanceNo, &TaskState) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (MapIndex, u32, T)> + 'a {
        let mut numbers = copies.peekable();
        std::iter::from_fn(move || {
            loop {
                let no = numbers.next()?;
                let first = self.arena.get(no);
                let Some(picked) = pick(no, &first.state) else { continue };
                let mut further = 0;
                while numbers
                    .next_if(|no| pick(*no, &self.arena.get(*no).state) == Some(picked))
                    .is_some()
                {
                    further += 1;
                }
                return Some((first.map_index, further, picked));
            }
        })
    }
}

/// How many copies a task gets whose arguments stand in the file.
fn literal_length(version: &Version, node: Ix) -> Option<u32> {
    match version.task(node).expand.as_ref()? {
        Expand::Literal { length } => Some(*length),
    }
}

/// Tasks settled by one decision, and those downstream of them that are to be judged anew.
struct Wave<'a> {
    run: &'a Run,
    /// Tasks ruled out by the decision itself.
    facts: Vec<Fact>,
    seeds: BTreeSet<InstanceNo>,
    settled: BTreeSet<Ix>,
    count: usize,
    touched: BTreeMap<Ix, (Tally, Tally)>,
    failed_leaves: BTreeSet<Ix>,
}

impl<'a> Wave<'a> {
    fn new(run: &'a Run) -> Self {
        let (seeds, settled) = (BTreeSet::new(), BTreeSet::new());
        let (touched, failed_leaves) = (BTreeMap::new(), BTreeSet::new());
        Self { run, facts: Vec::new(), seeds, settled, count: 0, touched, failed_leaves }
    }

    /// One copy is done by its own doing.
    fn seed(&mut self, no: InstanceNo, done: Done) {
        if self.seeds.insert(no) {
            self.settle(self.run.arena.get(no).node, done, 1);
        }
    }

    /// Where one task has failed for good and that is to stop the run: what runs fails, what waits is skipped.
    /// Teardowns go on, and so do other copies of the same task, as in Airflow.
    fn stop_others(&mut self, failed: Ix) {
        let run = self.run;
        for node in (0..run.version.node_count()).filter(|node| *node != failed) {
            if run.version.task(node).is_teardown {
                continue;
            }
            let copies = run.arena.numbers(node);
            for no in copies.clone() {
                if let Some(fact) = run.cancelled(no).filter(|_| !self.seeds.contains(&no)) {
                    self.facts.push(fact);
                    self.seed(no, Done::Failed);
                }
            }
            self.skip(node, copies);
        }
    }

    /// Copies of a task are skipped by a decision, whatever its trigger rule says: those that have not begun.
    fn skip(&mut self, node: Ix, copies: Range<InstanceNo>) {
        let run = self.run;
        let begins = |no, state: &TaskState| {
            let waits = *state == TaskState::Waiting || state.due().is_some();
            (waits && !self.seeds.contains(&no)).then_some(())
        };
        let (task_id, why) = (&run.version.task(node).task_id, RuledOut::Skipped);
        let mut count = 0;
        for (map_index, further, ()) in run.stretches_of(copies.clone(), begins) {
            let task_id = task_id.clone();
            self.facts.push(Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why, further }));
            count += further + 1;
        }
        self.seeds.extend(copies);
        if count > 0 {
            self.settle(node, Done::RuledOut(why), count);
        }
    }

    /// So many more copies of a task are done.
    fn settle(&mut self, node: Ix, done: Done, copies: u32) {
        self.settled.insert(node);
        self.count += copies as usize;
        let version = &self.run.version;
        if version.is_leaf(node) && done.fails_run() {
            self.failed_leaves.insert(node);
        }
        let is_setup = version.task(node).is_setup;
        for &down in version.downstream(node) {
            let tallies = || self.run.arena.tallies(down);
            let (upstream, _) = self.touched.entry(down).or_insert_with(tallies);
            if is_setup {
                upstream.count_setups(done, copies);
            } else {
                upstream.count(done, copies);
            }
        }
        for &down in version.in_scope_of(node) {
            let tallies = || self.run.arena.tallies(down);
            self.touched.entry(down).or_insert_with(tallies).1.count(done, copies);
        }
    }

    /// Rules out, in the DAG's order, all that can never run any more; then says how the run ends, if it
    /// does.
    fn run_out(mut self) -> Vec<Fact> {
        let mut facts = self.run_out_but_for_the_end();
        facts.extend(self.end());
        facts
    }

    fn run_out_but_for_the_end(&mut self) -> Vec<Fact> {
        let mut all = std::mem::take(&mut self.facts);
        while let Some((node, (upstream, scope))) = self.touched.pop_first() {
            let task = self.run.version.task(node);
            let Standing::Never(why) = judge_in_scope(task, upstream, scope) else { continue };
            let (facts, copies) = self.run.ruled_out(node, why, &self.seeds);
            if copies > 0 {
                all.extend(facts);
                self.settle(node, Done::RuledOut(why), copies);
            }
        }
        all
    }

    fn end(&self) -> Option<Fact> {
        let over = matches!(self.run.phase, Phase::Over(_));
        if self.count < self.run.open || over {
            return None;
        }
        if self.run.failed_leaves == 0 && self.failed_leaves.is_empty() {
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
