//! Pausing DAGs, and limits.
use dagbok_events::{DagId, DagPaused, DagUnpaused, Fact, LimitsSet, MissedWhy, Scope, Timestamp};
use dagbok_protocol::{Command, LastScheduled, RefusalCode, limits::CONSECUTIVE_FAILED_RUNS};

use super::runs::no_dag;
use crate::namespace::{
    Decision, Namespace, Outcome, accepted, answering, refuse, schedule, unchanged,
};

impl Namespace {
    pub(super) fn set_paused(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: &DagId,
        pause: bool,
    ) -> Decision {
        let Some(dag) = self.dags.get(dag_id).filter(|dag| !dag.gone) else {
            return no_dag(dag_id);
        };
        if dag.paused == pause {
            return unchanged();
        }
        let mut facts = Vec::new();
        if pause {
            facts.push(Fact::DagPaused(DagPaused::default()));
        } else {
            facts.push(Fact::DagUnpaused(DagUnpaused {}));
            // What is caught up goes on where it was; otherwise the time of the pause is passed over.
            if !dag.current.spec.catchup || dag.expected.is_none() {
                facts.extend(schedule::renewed(dag, &dag.current, at, MissedWhy::Paused));
            }
        }
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    /// What runs a DAG would make, were it not paused any more.
    pub(super) fn would_unpause(&self, at: Timestamp, dag_id: &DagId) -> Decision {
        let Some(dag) = self.dags.get(dag_id).filter(|dag| !dag.gone) else {
            return no_dag(dag_id);
        };
        let outcome = Outcome::WouldMake(schedule::would_make(dag, at));
        Decision { records: Vec::new(), outcome }
    }

    /// Over which data intervals the last scheduled runs of these DAGs went: what a timetable is asked after.
    pub(super) fn last_scheduled(&self, dag_ids: &[DagId]) -> Decision {
        let last = |dag_id: &DagId| {
            let data_interval = self.dags.get(dag_id)?.last_interval;
            Some(LastScheduled { dag_id: dag_id.clone(), data_interval })
        };
        let outcome = Outcome::LastScheduled(dag_ids.iter().filter_map(last).collect());
        Decision { records: Vec::new(), outcome }
    }

    pub(super) fn set_limits(
        &self,
        at: Timestamp,
        command: &Command,
        limits: LimitsSet,
    ) -> Decision {
        if limits.parallelism == 0 {
            let why = "parallelism 0 would let nothing run; pause DAGs instead".to_owned();
            return refuse(RefusalCode::Invalid, why);
        }
        let (most, asked) = (CONSECUTIVE_FAILED_RUNS, limits.max_consecutive_failed_dag_runs);
        if asked > most {
            let why = format!(
                "max_consecutive_failed_dag_runs is {asked}; at most {most} runs are remembered"
            );
            return refuse(RefusalCode::Invalid, why);
        }
        if self.limits == limits {
            return unchanged();
        }
        let facts = vec![Fact::LimitsSet(limits)];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }
}
