//! The fold: which events follow from which facts.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dagbok_events::{
    DagId, DagVersion, Fact, MapIndex, Record, RunKey, RunMark, Scope, TaskId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, EventType, Names},
    run::{Copy, Run, Token},
    specs::Specs,
    tries::End,
};

/// Runs that are over and are yet known: what is cleared goes on.
const KNOWN: usize = 10_000;

/// Runs that go on, those that may, and what their DAGs' files say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    pub(crate) specs: Specs,
    pub(crate) runs: BTreeMap<RunKey, Run>,
    pub(crate) over: BTreeMap<RunKey, (u64, Run)>,
    order: VecDeque<(u64, RunKey)>,
    /// Runs that ended.
    ends: u64,
}

/// How a run ended.
pub(crate) struct RunEnd {
    pub(crate) event_type: EventType,
    pub(crate) state: &'static str,
    pub(crate) why: Option<&'static str>,
}

fn run_end_of(fact: &Fact, ending: Option<bool>) -> Option<RunEnd> {
    let failed = |why| RunEnd { event_type: EventType::Fail, state: "failed", why: Some(why) };
    let aborted = RunEnd { event_type: EventType::Abort, state: "failed", why: None };
    let done = RunEnd { event_type: EventType::Complete, state: "success", why: None };
    if !fact.ends_run() {
        return None;
    }
    Some(match (fact, ending) {
        (Fact::RunCancelled(_), _) | (Fact::RunFailed(_), Some(true)) => aborted,
        (Fact::RunTimedOut(_), _) | (Fact::RunFailed(_), Some(false)) => failed("it took too long"),
        (Fact::RunFailed(_), None) => failed("a task failed"),
        (Fact::RunMarked(it), _) if it.state == RunMark::Failed => {
            failed("it was marked as failed")
        }
        _ => done,
    })
}

impl Lineage {
    /// Whether records of this subject say anything to it.
    pub fn hears(subject: &str) -> bool {
        subject.starts_with("log.run.") || subject.starts_with("log.dag.")
    }

    /// Takes a record in, and says which events follow from it, in their order.
    pub fn take(&mut self, names: &Names, record: &Record, say: &mut Vec<Event>) {
        match &record.scope {
            Scope::Run(key) => {
                // What ends with a run is told before its end is.
                let (ends, others): (Vec<_>, Vec<_>) =
                    record.facts.iter().partition(|fact| fact.ends_run());
                for fact in others.into_iter().chain(ends) {
                    self.of_run(names, key, record, fact, say);
                }
            }
            Scope::Dag(dag_id) => {
                for fact in &record.facts {
                    match fact {
                        Fact::DagRegistered(f) => {
                            let used = self.versions_used(dag_id);
                            self.specs.register(f, &used);
                        }
                        Fact::DagForgotten(_) => self.specs.forget(dag_id),
                        _ => {}
                    }
                }
            }
            Scope::Namespace | Scope::File(_) | Scope::Executor(_) => {}
        }
    }

    /// Versions of a DAG that runs have which go on.
    fn versions_used(&self, dag_id: &DagId) -> BTreeSet<DagVersion> {
        // No id of a run comes before it.
        let Ok(run_id) = "+".parse() else { return BTreeSet::new() };
        let runs = self.runs.range(RunKey { dag_id: dag_id.clone(), run_id }..);
        runs.take_while(|(key, _)| key.dag_id == *dag_id).map(|(_, run)| run.version).collect()
    }

    fn of_run(
        &mut self,
        names: &Names,
        key: &RunKey,
        record: &Record,
        fact: &Fact,
        say: &mut Vec<Event>,
    ) {
        let at = record.decided_at();
        match fact {
            Fact::RunCreated(created) => {
                self.over.remove(key);
                self.runs.insert(key.clone(), Run::new(created));
            }
            Fact::RunStarted(_) => self.begin(names, key, at, say),
            Fact::RunCleared(_) => self.goes_on(key),
            Fact::RunVersionChanged(f) => {
                let over = self.over.get_mut(key).map(|(_, run)| run);
                if let Some(run) = self.runs.get_mut(key).or(over) {
                    (run.version, run.bundle) = (f.version, f.bundle.to_string());
                }
            }
            Fact::RunTimedOut(it) if it.teardowns_left => self.ending(key, false),
            Fact::RunCancelled(it) if it.teardowns_left => self.ending(key, true),
            Fact::RunDeleted(_) => {
                let end = RunEnd { event_type: EventType::Abort, state: "failed", why: None };
                self.ended(names, key, at, &end, say);
                self.over.remove(key);
            }
            fact if fact.ends_run() => {
                let ending = self.runs.get(key).and_then(|run| run.ending);
                if let Some(end) = run_end_of(fact, ending) {
                    self.ended(names, key, at, &end, say);
                }
            }
            fact => self.of_try(names, key, record, fact, say),
        }
    }

    pub(crate) fn begin(
        &mut self,
        names: &Names,
        key: &RunKey,
        at: Timestamp,
        say: &mut Vec<Event>,
    ) {
        let Some(run) = self.runs.get_mut(key).filter(|run| run.begun.is_none()) else { return };
        run.begun = Some(at);
        say.extend(self.run_event(names, key, EventType::Start, at, None));
    }

    fn ending(&mut self, key: &RunKey, cancelled: bool) {
        if let Some(run) = self.runs.get_mut(key) {
            run.ending = Some(cancelled);
        }
    }

    /// A run that was over goes on, as a further one of its date; one that was about to end as if nothing had been.
    fn goes_on(&mut self, key: &RunKey) {
        if let Some(run) = self.runs.get_mut(key) {
            run.ending = None;
        } else if let Some((_, mut run)) = self.over.remove(key) {
            run.round += 1;
            self.runs.insert(key.clone(), run);
        }
    }

    fn ended(
        &mut self,
        names: &Names,
        key: &RunKey,
        at: Timestamp,
        end: &RunEnd,
        say: &mut Vec<Event>,
    ) {
        let Some(run) = self.runs.get(key) else { return };
        let of = |((task, index), copy): (&(TaskId, MapIndex), &Copy)| Token {
            task_id: task.clone(),
            map_index: *index,
            try_number: copy.try_number,
        };
        let left: Vec<_> = run.copies.iter().map(of).collect();
        for token in left {
            let (event_type, state) = (EventType::Abort, "failed");
            let end = End { token, at, event_type, state, failure: None, why: None };
            self.try_ended(names, key, &end, &[], say);
        }
        // One that never began is not told of.
        if self.runs.get(key).is_some_and(|run| run.begun.is_some()) {
            say.extend(self.run_event(names, key, end.event_type, at, Some(end)));
        }
        let Some(run) = self.runs.remove(key) else { return };
        self.ends += 1;
        self.over.insert(key.clone(), (self.ends, run.over()));
        self.order.push_back((self.ends, key.clone()));
        while self.order.len() > KNOWN {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            // It may have ended once more since.
            if self.over.get(&oldest).is_some_and(|(of, _)| *of == number) {
                self.over.remove(&oldest);
            }
        }
    }
}
