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
    pub fn after_done(&self, ix: Ix, done: Done) -> Vec<Fact> {
        self.follow(vec![(ix, done)])
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
                    TaskState::Queued { try_number, .. } | TaskState::Running { try_number, .. } => {
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

    /// Facts after `settled`, which are facts themselves already and not repeated.
    fn follow(&self, settled: Vec<(Ix, Done)>) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut known: BTreeSet<Ix> = settled.iter().map(|(ix, _)| *ix).collect();
        let mut settled = settled;
        let mut tallies: BTreeMap<Ix, Tally> = BTreeMap::new();
        let mut leaf_failures: Vec<Ix> = Vec::new();
        let mut next = 0;
        while let Some(&(ix, done)) = settled.get(next) {
            next += 1;
            let downstream = self.version.downstream(ix);
            if downstream.is_empty() && done.fails_run() {
                leaf_failures.push(ix);
            }
            for &down in downstream {
                let task = self.task(down);
                let tally = tallies.entry(down).or_insert(task.upstream);
                tally.count(done);
                if task.state != TaskState::Waiting || known.contains(&down) {
                    continue;
                }
                let rule = self.version.task(down).trigger_rule;
                if let Verdict::Never(why) = judge(rule, *tally) {
                    known.insert(down);
                    settled.push((down, Done::RuledOut(why)));
                    facts.extend(self.ruled_out(down, Done::RuledOut(why)));
                }
            }
        }
        if settled.len() == self.open && matches!(self.phase, Phase::Queued | Phase::Running { .. }) {
            facts.push(self.end(&leaf_failures));
        }
        facts
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
