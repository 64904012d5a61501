//! Runs: their making, their start, their end.
use dagbok_events::{Fact, Record, RunCreated, RunKey, RunMark, RunType, Timestamp};
use dagbok_protocol::trace::RunTrace;

use super::{Run, State};
use crate::Note;

type Say<'s> = &'s mut dyn FnMut(&Note<'_>);

impl Run {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self {
            created_at: at,
            due: None,
            is_apart: false,
            started_at: None,
            begun: false,
            ending: None,
            ended_at: None,
            trace: None,
            copies: std::collections::BTreeMap::new(),
        }
    }
}

impl State {
    pub(super) fn of_run(&mut self, at: Timestamp, run: &RunKey, fact: &Fact, say: Say<'_>) {
        match fact {
            Fact::RunCleared(_) => {
                // One that was about to end goes on as if nothing had been.
                self.runs.entry(run.clone()).or_insert_with(|| Run::new(at)).ending = None;
            }
            Fact::RunStarted(_) => self.started(at, run, say),
            Fact::RunDeleted(_) => {
                self.runs.remove(run);
            }
            Fact::RunExpected(expected) => self.expected(&run.dag_id, expected),
            Fact::RunSucceeded(_) => self.ended(at, run, "success", say),
            Fact::RunFailed(_) => {
                let cancelled = self.runs.get(run).and_then(|run| run.ending);
                let state = match cancelled {
                    Some(true) => "cancelled",
                    Some(false) => "timed_out",
                    None => "failed",
                };
                self.ended(at, run, state, say);
            }
            Fact::RunTimedOut(it) if it.teardowns_left => self.ending(run, false),
            Fact::RunTimedOut(_) => self.ended(at, run, "timed_out", say),
            Fact::RunCancelled(it) if it.teardowns_left => self.ending(run, true),
            Fact::RunCancelled(_) => self.ended(at, run, "cancelled", say),
            Fact::RunMarked(it) if !it.teardowns_left => {
                let state = if it.state == RunMark::Success { "success" } else { "failed" };
                self.ended(at, run, state, say);
            }
            Fact::AssetUpdated(_) => say(&Note::AssetUpdated),
            fact => self.of_copy(at, run, fact, say),
        }
    }

    fn ending(&mut self, run: &RunKey, cancelled: bool) {
        if let Some(run) = self.runs.get_mut(run) {
            run.ending = Some(cancelled);
        }
    }

    pub(super) fn created(
        &mut self,
        record: &Record,
        key: &RunKey,
        created: &RunCreated,
        say: Say<'_>,
    ) {
        let at = record.decided_at();
        let is_scheduled = created.run_type == RunType::Scheduled;
        let mut run = Run::new(at);
        run.due = is_scheduled.then_some(created.run_after);
        run.is_apart = created.backfill_id.is_some();
        let delay = run.due.map(|due| at.since(due));
        let named = record.trace.as_ref().map(|trace| trace.traceparent.as_str());
        let of = RunTrace::of(key, created.run_after, named);
        let trace = (of.flags & 1 == 1).then_some(of.trace_id);
        run.trace = trace;
        self.runs.insert(key.clone(), run);
        if is_scheduled {
            self.kept_promise(&key.dag_id, created.run_after);
        }
        say(&Note::RunCreated { run: key, run_type: created.run_type, delay, trace });
    }

    fn started(&mut self, at: Timestamp, key: &RunKey, say: Say<'_>) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let is_first = run.started_at.is_none();
        run.started_at = Some(at);
        if is_first {
            let delay = run.due.map(|due| at.since(due));
            let trace = run.trace;
            say(&Note::RunStarted { run: key, delay, trace });
        }
    }

    /// A run that was over already, and is marked as something else, does not end again.
    fn ended(&mut self, at: Timestamp, key: &RunKey, state: &'static str, say: Say<'_>) {
        let Some(run) = self.runs.remove(key) else { return };
        let took = run.started_at.map(|start| at.since(start));
        say(&Note::RunEnded { run: key, state, took, trace: run.trace });
    }
}
