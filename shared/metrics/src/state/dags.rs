//! DAGs and what their schedules promise.
use dagbok_events::{
    DagId, DagRegistered, ExpectedRuns, Fact, Micros, MissedWhy, Resources, RunExpected, Timestamp,
};

use super::{Dag, State};
use crate::Note;

impl State {
    pub(super) fn of_dag(&mut self, dag_id: &DagId, fact: &Fact, say: &mut dyn FnMut(&Note<'_>)) {
        match fact {
            Fact::DagRegistered(registered) => {
                self.registered(dag_id, registered);
                say(&Note::Registered);
            }
            Fact::DagDisappeared(_) => self.dag(dag_id).is_gone = true,
            Fact::DagPaused(_) => self.dag(dag_id).is_paused = true,
            Fact::DagUnpaused(_) => self.dag(dag_id).is_paused = false,
            Fact::DagForgotten(_) => {
                self.dags.remove(dag_id);
                say(&Note::Forgotten { dag: dag_id });
            }
            Fact::RunExpected(expected) => self.expected(dag_id, expected),
            Fact::RunMissed(missed) => {
                let why = match missed.why {
                    MissedWhy::Paused => "paused",
                    MissedWhy::NoScheduler => "no_scheduler",
                    MissedWhy::ScheduleChanged => "schedule_changed",
                    MissedWhy::TooManyActive => "too_many_active",
                    MissedWhy::MadeByHand => "made_by_hand",
                };
                say(&Note::Missed { why, count: u64::from(missed.count) });
            }
            Fact::AssetUpdated(_) => say(&Note::AssetUpdated),
            _ => {}
        }
    }

    pub(super) fn dag(&mut self, dag_id: &DagId) -> &mut Dag {
        self.dags.entry(dag_id.clone()).or_default()
    }

    fn registered(&mut self, dag_id: &DagId, registered: &DagRegistered) {
        let dag = self.dag(dag_id);
        dag.is_gone = false;
        if let Some(paused) = registered.paused {
            dag.is_paused = paused;
        }
        dag.most_runs = registered.spec.max_active_runs;
        let tasks = registered.spec.tasks.iter();
        let asking = tasks.clone().filter(|it| it.resources != Resources::default());
        dag.asks = asking.map(|it| (it.task_id.clone(), it.resources.clone())).collect();
        dag.operators = tasks.map(|it| (it.task_id.clone(), it.operator.clone())).collect();
    }

    pub(super) fn expected(&mut self, dag_id: &DagId, expected: &RunExpected) {
        let dag = self.dag(dag_id);
        if !expected.keeps {
            dag.further.clear();
        }
        dag.due =
            expected.due.filter(|_| expected.logical_date.is_some() || expected.due.is_some());
        dag.further.extend(expected.further.iter().map(promised));
    }

    /// A run that was due then is made: the next one is promised from now on.
    pub(super) fn kept_promise(&mut self, dag_id: &DagId, due: Timestamp) {
        let Some(dag) = self.dags.get_mut(dag_id) else { return };
        if dag.due.is_none_or(|promised| promised > due) {
            return;
        }
        dag.due = None;
        while let Some((first, step, count)) = dag.further.first().copied() {
            if count > 1 {
                dag.further[0] = (first.plus(Micros(step)), step, count - 1);
            } else {
                dag.further.remove(0);
            }
            if first > due {
                dag.due = Some(first);
                return;
            }
        }
    }
}

fn promised(runs: &ExpectedRuns) -> (Timestamp, i64, u32) {
    (runs.first.end, runs.step.0, runs.count)
}
