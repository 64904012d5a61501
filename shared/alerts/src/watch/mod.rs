//! What is wrong, as a fold of the run log: what failed and has not succeeded since, what should have happened and
//! did not, what waits for too long.
mod condition;
mod evolve;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{DagId, ExecutorId, MapIndex, QueueName, RunId, RunKey, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

pub use condition::Condition;
use runs::TaskFailure;

use crate::{AlertScope, Rule};

/// The fold. Of runs that are over, and of tries that were begun, it keeps nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    last_seq: u64,
    last_at: Timestamp,
    dags: BTreeMap<DagId, Dag>,
    runs: BTreeMap<RunKey, Run>,
    /// What facts say is wrong, until facts say that it is so no more.
    raised: BTreeMap<(Rule, AlertScope), Condition>,
    /// By which sequence something was so no more.
    cleared: BTreeMap<(Rule, AlertScope), u64>,
    /// Promises that stand, by when they are broken.
    promises: BTreeSet<(Timestamp, DagId)>,
    queued: BTreeMap<Copy, Queued>,
    /// The same, by when each counts as stuck.
    waiting: BTreeSet<(Timestamp, Copy)>,
    executors: BTreeMap<ExecutorId, BTreeSet<QueueName>>,
    /// Rises with whatever may change what is wrong.
    changes: u64,
}

/// A copy of a task of a run.
type Copy = (RunKey, TaskId, MapIndex);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Queued {
    seq: u64,
    at: Timestamp,
    queue: QueueName,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Dag {
    owner: String,
    tags: Vec<String>,
    file: String,
    max_active_runs: u32,
    active: u32,
    /// Since which sequence it is paused.
    paused: Option<u64>,
    is_gone: bool,
    promise: Option<Promise>,
    /// The newest of the runs that failed and that no success has made up for.
    failed: Option<Failed>,
}

/// A run that was promised and is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Promise {
    seq: u64,
    logical_date: Timestamp,
    due: Timestamp,
    broken_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Failed {
    run_id: RunId,
    /// Where the run came into being: a success of an earlier one makes nothing up.
    created: u64,
}

/// A run that is not over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Run {
    created: u64,
    /// Whether nobody waits for its end: somebody asked for it, or a backfill did.
    by_hand: bool,
    logical_date: Option<Timestamp>,
    /// Somebody ends it, so that its failure is no surprise.
    is_ended_by_hand: bool,
    failure: Option<TaskFailure>,
}

impl Watch {
    /// The last sequence that was folded.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Rises with whatever may change what is wrong: while it stands still, only time does.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// By which sequence something is so no more, where facts said it.
    pub fn cleared_by(&self, rule: Rule, scope: &AlertScope) -> Option<u64> {
        self.cleared.get(&(rule, scope.clone())).copied()
    }

    /// All that is wrong at `now`, by rule and scope.
    pub fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let mut found: Vec<Condition> = self.raised.values().cloned().collect();
        let broken = self.promises.iter().take_while(|(at, _)| *at <= now);
        found.extend(broken.filter_map(|(_, dag_id)| self.missing(dag_id)));
        found.extend(self.stuck(now));
        found
    }

    /// The time of the last record that was folded.
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// When time alone makes something wrong next, after `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = |at: Timestamp| (at > now).then_some(at);
        let promise = self.promises.iter().find_map(|(at, _)| later(*at));
        let waiting = self.waiting.iter().find_map(|(at, _)| later(*at));
        [promise, waiting].into_iter().flatten().min()
    }

    /// Labels of a DAG, for whoever wants to know where its alerts go; `None` for one that is not known.
    pub fn labels_of(&self, dag_id: &DagId) -> Option<crate::Labels> {
        self.dags.get(dag_id).map(|dag| dag_labels(dag_id, dag))
    }
}

/// Airflow's default owner stands for nobody named.
const NOBODY: &str = "airflow";

fn dag_labels(dag_id: &DagId, dag: &Dag) -> crate::Labels {
    let mut labels = crate::Labels::from([("dag".to_owned(), dag_id.to_string())]);
    if !dag.owner.is_empty() && dag.owner != NOBODY {
        labels.insert("owner".to_owned(), dag.owner.clone());
    }
    if !dag.tags.is_empty() {
        labels.insert("tags".to_owned(), dag.tags.join(","));
    }
    labels
}
