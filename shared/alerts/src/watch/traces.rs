//! To which trace a run belongs: whoever is told of it finds it there.
use dagbok_events::{Fact, Record, RunKey, Scope, Timestamp};
use dagbok_protocol::trace::{RunTrace, run_span};
use serde::{Deserialize, Serialize};

use super::Watch;

/// What a run's ids follow from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Traced {
    pub(super) run_after: Timestamp,
    /// Of whoever asked for it, where they said so.
    pub(super) traceparent: Option<String>,
    /// How often it went on after it was over.
    pub(super) round: u32,
}

impl Watch {
    /// Notes of the runs that a record makes by what their traces are known.
    pub(super) fn note_traces(&mut self, record: &Record) {
        let Scope::Run(key) = &record.scope else { return };
        for fact in &record.facts {
            let Fact::RunCreated(created) = fact else { continue };
            let Some(run) = self.runs.get_mut(key) else { continue };
            let traceparent = record.trace.as_ref().map(|trace| trace.traceparent.clone());
            let run_after = created.run_after;
            run.traced = Some(Traced { run_after, traceparent, round: 0 });
        }
    }

    /// W3C's `traceparent` of a run's span; `None` for one that is not known any more.
    pub(crate) fn trace_of(&self, key: &RunKey) -> Option<String> {
        let over = || {
            let over = &self.dags.get(&key.dag_id)?.over;
            over.iter().rev().find(|it| it.run_id == key.run_id)?.traced.as_ref()
        };
        let of_run = self.runs.get(key).and_then(|run| run.traced.as_ref());
        let Traced { run_after, traceparent, round } = of_run.or_else(over)?;
        let trace = RunTrace::of(key, *run_after, traceparent.as_deref());
        Some(trace.traceparent(run_span(key, *run_after, *round)))
    }
}
