//! `max_consecutive_failed_dag_runs`: a DAG whose newest runs have all failed is paused, as Airflow counts it.
//!
//! The newest are those of the latest logical dates in Airflow 2, and in Airflow 3 those that were due last; one that
//! is not over keeps the DAG from being paused. Looked at is when a run fails by its tasks: not where somebody
//! cancelled it or it timed out, which counts all the same when another one fails. Of a DAG that is never paused so
//! nothing is kept, of others as many runs as it takes.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, DagId, DagPaused, DagSpec, Fact, Record, RunId, RunKey, Scope, Timestamp,
};
use dagbok_protocol::limits::FAILED_NAMED;
use serde::{Deserialize, Serialize};

use super::{Namespace, RunNo, own};
use crate::run::{Ending, Run};

/// A DAG's newest runs, oldest first, and how those ended that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newest {
    runs: BTreeMap<(Timestamp, RunNo), (RunId, Option<Ending>)>,
}

impl Newest {
    /// Takes in a run that is not over, where the newest `most` are to be known.
    fn put(&mut self, number: RunNo, run: &Run, most: usize) {
        let run_id = &run.key().run_id;
        if let Some((_, ending)) = self.find(run_id) {
            *ending = None;
        } else {
            let meta = run.meta();
            let by_date = meta.logical_date.filter(|_| run.version().spec.era < 3);
            let date = by_date.unwrap_or(meta.run_after);
            self.runs.insert((date, number), (run_id.clone(), None));
        }
        while self.runs.len() > most {
            self.runs.pop_first();
        }
    }

    fn find(&mut self, run_id: &RunId) -> Option<&mut (RunId, Option<Ending>)> {
        self.runs.values_mut().find(|(known, _)| known == run_id)
    }

    /// Somebody says how a run ended that is over.
    pub(super) fn mark(&mut self, run_id: &RunId, ending: Ending) {
        if let Some((_, known)) = self.find(run_id) {
            *known = Some(ending);
        }
    }

    /// Forgets a run that is gone.
    pub(super) fn forget(&mut self, run_id: &RunId) {
        self.runs.retain(|_, (known, _)| known != run_id);
    }

    /// The newest `most`, newest first, where there are so many and all of them failed.
    fn all_failed(&self, most: usize) -> Option<Vec<RunId>> {
        let newest = self.runs.values().rev().take(most);
        let failed = newest.take_while(|(_, ending)| *ending == Some(Ending::Failed));
        let failed: Vec<RunId> = failed.map(|(run_id, _)| run_id.clone()).collect();
        (failed.len() == most).then_some(failed)
    }
}

impl Namespace {
    /// After how many failed runs a DAG is paused; 0 where it never is.
    fn pauses_after(&self, spec: &DagSpec) -> usize {
        let most = match spec.max_consecutive_failed_dag_runs {
            0 => self.limits.max_consecutive_failed_dag_runs,
            most => most,
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// A run is there, or goes on.
    pub(super) fn note_newest(&mut self, number: RunNo) {
        let Some(run) = self.runs.get(&number).cloned() else { return };
        let most = self.pauses_after(&run.version().spec);
        let Some(dag) = self.dags.get_mut(&run.key().dag_id) else { return };
        if most > 0 || !dag.newest.runs.is_empty() {
            std::sync::Arc::make_mut(dag).newest.put(number, &run, most);
        }
    }

    /// A run is over; `by_tasks`: because of how its tasks ended.
    pub(super) fn note_ending(&mut self, key: &RunKey, ending: Ending, by_tasks: bool) {
        let Some(run) = self.run(key) else { return };
        let most = self.pauses_after(&run.version().spec);
        let Some(dag) = self.dags.get_mut(&key.dag_id) else { return };
        if most == 0 || dag.newest.runs.is_empty() {
            return;
        }
        let dag = std::sync::Arc::make_mut(dag);
        if let Some((_, known)) = dag.newest.find(&key.run_id) {
            *known = Some(ending);
        }
        let failed = by_tasks && ending == Ending::Failed && !dag.paused;
        if failed && dag.newest.all_failed(most).is_some() {
            dag.pause_due = true;
        }
    }

    /// Pauses a DAG whose newest runs have all failed.
    pub(super) fn pause_after_failures(&self, at: Timestamp, dag_id: &DagId) -> Option<Record> {
        let dag = self.dags.get(dag_id).filter(|dag| dag.pause_due && !dag.paused)?;
        let failed = dag.newest.runs.values().rev();
        let failed = failed.take_while(|(_, ending)| *ending == Some(Ending::Failed));
        let failed_runs: Vec<RunId> =
            failed.map(|(run_id, _)| run_id.clone()).take(FAILED_NAMED).collect();
        let named: Vec<&str> = failed_runs.iter().map(RunId::as_str).collect();
        let reason = format!(
            "max_consecutive_failed_dag_runs: the newest {} runs failed: {}",
            named.len(),
            named.join(", ")
        );
        let facts = vec![Fact::DagPaused(DagPaused { failed_runs })];
        let record = own(at, Actor::Scheduler, Scope::Dag(dag_id.clone()), None, facts);
        Some(Record { reason: Some(reason), ..record })
    }
}
