//! What follows from tasks being done: others that never will be, and the run's end.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    Fact, MapIndex, RuledOut, RunFailed, RunSucceeded, TaskRuledOut, Timestamp, TryCancelled,
};
use dagbok_protocol::limits::FAILED_NAMED;

use super::{Done, Phase, Run, TaskState};
use crate::{
    graph::Ix,
    trigger_rule::{Tally, Verdict, judge},
};

impl Run {
    /// Every fact forced by this task being done: tasks ruled out downstream of it, then the run's end.
    ///
    /// Upstreams are judged before their downstreams, so that each task is judged once all that this
    /// decision makes of its upstreams is known: a failure is never hidden by a skip that is found first.
    pub fn after_done(&self, ix: Ix, done: Done) -> Vec<Fact> {
        let mut wave = Wave { run: self, settled: BTreeSet::new(), touched: BTreeMap::new() };
        let mut leaf_failures = Vec::new();
        let mut facts = Vec::new();
        let mut next = Some((ix, done));
        while let Some((ix, done)) = next {
            wave.settle(ix, done);
            if self.version.downstream(ix).is_empty() && done.fails_run() {
                leaf_failures.push(ix);
            }
            next = wave.next_ruled_out();
            facts.extend(next.and_then(|(ix, done)| self.ruled_out(ix, done)));
        }
        if wave.settled.len() == self.open && !matches!(self.phase, Phase::Over(_)) {
            facts.push(self.end(&leaf_failures));
        }
        facts
    }

    /// Every fact forced by the run being ended from outside: its tries are cancelled, the rest skipped.
    pub fn after_end(&self) -> Vec<Fact> {
        self.tasks()
            .filter_map(|(ix, task)| {
                let task_id = self.version.task(ix).task_id.clone();
                let map_index = MapIndex::UNMAPPED;
                match &task.state {
                    TaskState::Done(_) => None,
                    TaskState::Waiting | TaskState::UpForRetry { .. } => {
                        let why = RuledOut::Skipped;
                        Some(Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why }))
                    }
                    TaskState::Queued { try_number, .. }
                    | TaskState::Running { try_number, .. } => {
                        Some(Fact::TryCancelled(TryCancelled {
                            task_id,
                            map_index,
                            try_number: *try_number,
                            executor: task.state.executor().cloned(),
                        }))
                    }
                }
            })
            .collect()
    }

    fn ruled_out(&self, ix: Ix, done: Done) -> Option<Fact> {
        let Done::RuledOut(why) = done else { return None };
        let task_id = self.version.task(ix).task_id.clone();
        Some(Fact::TaskRuledOut(TaskRuledOut { task_id, map_index: MapIndex::UNMAPPED, why }))
    }

    fn end(&self, leaf_failures: &[Ix]) -> Fact {
        if !self.leaf_failed && leaf_failures.is_empty() {
            return Fact::RunSucceeded(RunSucceeded {});
        }
        let before = self.tasks().filter(|(ix, task)| {
            self.version.downstream(*ix).is_empty()
                && matches!(task.state, TaskState::Done(done) if done.fails_run())
        });
        let all: BTreeSet<Ix> =
            before.map(|(ix, _)| ix).chain(leaf_failures.iter().copied()).collect();
        let named = all.into_iter().take(FAILED_NAMED);
        let failed = named.map(|ix| self.version.task(ix).task_id.clone()).collect();
        Fact::RunFailed(RunFailed { failed })
    }

    /// Whether this run is over at `now` by its own timeout.
    pub fn timed_out(&self, now: Timestamp) -> bool {
        self.times_out_at().is_some_and(|due| due <= now)
    }
}

/// Tasks settled by one decision, and those downstream of them that are to be judged anew.
struct Wave<'a> {
    run: &'a Run,
    settled: BTreeSet<Ix>,
    touched: BTreeMap<Ix, Tally>,
}

impl Wave<'_> {
    fn settle(&mut self, ix: Ix, done: Done) {
        self.settled.insert(ix);
        for &down in self.run.version.downstream(ix) {
            let task = self.run.task(down);
            if task.state == TaskState::Waiting && !self.settled.contains(&down) {
                self.touched.entry(down).or_insert(task.upstream).count(done);
            }
        }
    }

    /// The next task, in the DAG's order, that can never run any more.
    fn next_ruled_out(&mut self) -> Option<(Ix, Done)> {
        while let Some((ix, tally)) = self.touched.pop_first() {
            let rule = self.run.version.task(ix).trigger_rule;
            if let Verdict::Never(why) = judge(rule, tally) {
                return Some((ix, Done::RuledOut(why)));
            }
        }
        None
    }
}
