//! Forgetting what nothing needs any more, for whoever looks after what is kept.
use dagbok_events::{
    BackfillCancelled, DagForgotten, DagId, DagVersion, DagVersionsForgotten, Fact,
    HistoryForgotten, Scope, Timestamp,
};
use dagbok_protocol::{Command, RefusalCode};

use super::runs::no_dag;
use crate::namespace::{Backfill, Decision, Namespace, accepted, answering, refuse, unchanged};

impl Namespace {
    /// A DAG that no file defines, once the last of its runs went.
    pub(super) fn forget(&self, at: Timestamp, command: &Command, dag_id: &DagId) -> Decision {
        let Some(dag) = self.dags.get(dag_id) else { return no_dag(dag_id) };
        if !dag.gone {
            let why = format!("the DAG {dag_id} is in {}; it can go once no file has it", dag.file);
            return refuse(RefusalCode::DagInUse, why);
        }
        if !dag.active.is_empty() || !dag.past.is_empty() {
            let why = format!("the DAG {dag_id} has runs; they go first");
            return refuse(RefusalCode::DagInUse, why);
        }
        let backfill = dag.backfill.as_ref().map(Backfill::backfill_id);
        let backfill = backfill.map(|backfill_id| BackfillCancelled { backfill_id });
        let mut facts: Vec<Fact> = backfill.map(Fact::BackfillCancelled).into_iter().collect();
        facts.push(Fact::DagForgotten(DagForgotten {}));
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    /// Versions before one that new runs get, or that a run has which is not over. Whether runs that are over
    /// have them is known to whoever asks.
    pub(super) fn forget_versions(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: &DagId,
        below: DagVersion,
    ) -> Decision {
        let Some(dag) = self.dags.get(dag_id) else { return no_dag(dag_id) };
        if let Some(used) = dag.versions().map(|it| it.number).find(|number| *number < below) {
            let why = format!("version {used} of the DAG {dag_id} is in use");
            return refuse(RefusalCode::DagInUse, why);
        }
        if below <= 1 {
            return unchanged();
        }
        let facts = vec![Fact::DagVersionsForgotten(DagVersionsForgotten { below })];
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    /// Executors that left, reports that were refused and backfills that were over before some time; logs and XComs of
    /// runs that were.
    pub(super) fn forget_history(
        at: Timestamp,
        command: &Command,
        what: HistoryForgotten,
    ) -> Decision {
        let HistoryForgotten {
            executors_left_before,
            reports_refused_before,
            backfills_over_before,
            logs_of_runs_over_before,
            xcoms_of_runs_over_before,
        } = what;
        let times = [
            executors_left_before,
            reports_refused_before,
            backfills_over_before,
            logs_of_runs_over_before,
            xcoms_of_runs_over_before,
        ];
        if let Some(time) = times.into_iter().flatten().find(|time| *time > at) {
            let why = format!("{time} lies ahead: what is yet to come can't be forgotten");
            return refuse(RefusalCode::Invalid, why);
        }
        if times == [None; 5] {
            return unchanged();
        }
        let facts = vec![Fact::HistoryForgotten(what)];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }
}
