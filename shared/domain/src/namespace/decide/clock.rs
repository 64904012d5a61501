//! What follows from a clock that was wrong: promises made anew, and the record that says so.
use dagbok_events::{Actor, ClockWentBack, DagId, Fact, Record, Scope, Timestamp};
use dagbok_protocol::Command;

use super::runs::no_dag;
use crate::namespace::{Decision, Namespace, accepted, answering, own, schedule, unchanged};

impl Namespace {
    /// The DAG's promise made anew, where the one that stands lies further ahead than its schedule would promise
    /// by the clock as it is.
    pub(in crate::namespace) fn renewed_promise(
        &self,
        at: Timestamp,
        dag_id: &DagId,
    ) -> Option<Record> {
        let dag = self.dags.get(dag_id).filter(|dag| !dag.gone)?;
        let fact = schedule::mended(dag, at).filter(|fact| schedule::is_sooner(dag, fact))?;
        let scope = Scope::Dag(dag_id.clone());
        Some(own(at, Actor::Scheduler, scope, None, vec![Fact::RunExpected(fact)]))
    }

    pub(super) fn clock_back_record(&self, at: Timestamp) -> Option<Record> {
        let fact = Fact::ClockWentBack(ClockWentBack { from: self.clock, to: at });
        self.clock_went_back(at)
            .then(|| own(at, Actor::Scheduler, Scope::Namespace, None, vec![fact]))
    }

    /// As [`Namespace::renewed_promise`], of one DAG or all, whichever way the promises differ.
    pub(super) fn renew_promises(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: Option<&DagId>,
    ) -> Decision {
        if let Some(dag_id) = dag_id
            && self.dags.get(dag_id).is_none_or(|dag| dag.gone)
        {
            return no_dag(dag_id);
        }
        let meant = self
            .dags
            .iter()
            .filter(|(id, dag)| !dag.gone && dag_id.is_none_or(|dag_id| dag_id == *id));
        let renewed = meant.filter_map(|(dag_id, dag)| {
            let facts = vec![Fact::RunExpected(schedule::mended(dag, at)?)];
            Some(answering(command, at, Scope::Dag(dag_id.clone()), facts))
        });
        let records: Vec<Record> = renewed.collect();
        if records.is_empty() { unchanged() } else { accepted(records) }
    }
}
