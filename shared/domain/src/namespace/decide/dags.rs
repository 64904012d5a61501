//! Pausing DAGs, and limits.
use dagbok_events::{DagId, DagPaused, DagUnpaused, Fact, LimitsSet, MissedWhy, Scope, Timestamp};
use dagbok_protocol::{Command, RefusalCode};

use super::runs::no_dag;
use crate::namespace::{
    Decision, Limits, Namespace, accepted, answering, refuse, schedule, unchanged,
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
            facts.push(Fact::DagPaused(DagPaused {}));
        } else {
            facts.push(Fact::DagUnpaused(DagUnpaused {}));
            // What is caught up goes on where it was; otherwise the time of the pause is passed over.
            if !dag.current.spec.catchup || dag.expected.is_none() {
                facts.extend(schedule::renewed(dag, &dag.current, at, MissedWhy::Paused));
            }
        }
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    pub(super) fn set_limits(
        &self,
        at: Timestamp,
        command: &Command,
        parallelism: u32,
        max_losses: u16,
    ) -> Decision {
        if parallelism == 0 {
            let why = "parallelism 0 would let nothing run; pause DAGs instead".to_owned();
            return refuse(RefusalCode::Invalid, why);
        }
        if self.limits == (Limits { parallelism, max_losses }) {
            return unchanged();
        }
        let facts = vec![Fact::LimitsSet(LimitsSet { parallelism, max_losses })];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }
}
