//! What is wrong, as a fold of the run log: what failed and has not succeeded since, what should have happened and
//! did not, what waits for too long.
mod callbacks;
mod condition;
mod dues;
mod evolve;
mod late;
mod questions;
mod refusals;
mod runs;
mod times;
mod traces;
mod watchers;
mod weigh;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use dagbok_events::{
    DagId, DagSpec, Deadline, ExecutorId, MapIndex, Micros, PoolName, QueueName, RunId, RunKey,
    TaskId, Timestamp,
};
use dues::{Due, Dues};
use serde::{Deserialize, Serialize};

pub use condition::Condition;
use questions::Question;
use runs::TaskFailure;
use traces::Traced;
use watchers::FailingWatcher;

use crate::{
    AlertScope, Rule, Thresholds,
    touched::{Changed, Touched},
};

/// The fold. Of runs that are over, and of tries that were begun, it keeps nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    last_seq: u64,
    last_at: Timestamp,
    /// When the scheduler's clock was set back last.
    set_back: Option<SetBack>,
    dags: BTreeMap<DagId, Dag>,
    runs: BTreeMap<RunKey, Run>,
    /// What facts say is wrong, until facts say that it is so no more.
    raised: BTreeMap<(Rule, AlertScope), Condition>,
    /// By which sequence something was so no more.
    cleared: BTreeMap<(Rule, AlertScope), u64>,
    /// Promises that stand, by when they are broken.
    promises: BTreeMap<Timestamp, BTreeSet<DagId>>,
    queued: BTreeMap<DagId, BTreeMap<Copy, Queued>>,
    /// How many of each DAG count as stuck, by when.
    waiting: BTreeMap<Timestamp, BTreeMap<DagId, u32>>,
    executors: BTreeMap<ExecutorId, Executor>,
    /// Executors that take nothing new, by what they are called over their lives.
    cordoned: BTreeSet<dagbok_events::ExecutorName>,
    /// Executors that went without a word, and that nobody stands in for.
    lost: BTreeMap<ExecutorId, Lost>,
    /// Pools that are there, besides the default one.
    pools: BTreeSet<PoolName>,
    /// When something takes too long.
    dues: Dues,
    /// The newest reports that were refused: where, and when.
    refusals: Vec<(u64, Timestamp)>,
    /// Watchers of assets that failed, by the DAG that they run for, each by what triggerers know it by.
    watchers: BTreeMap<(DagId, TaskId), FailingWatcher>,
    /// What the configuration says of that.
    #[serde(skip)]
    thresholds: Vec<Thresholds>,
    /// Whether what is kept of times is by that: what a snapshot has is by what was said when it was made.
    #[serde(skip)]
    is_reckoned: bool,
    /// What may be wrong or right since somebody looked; `None` while nobody looks.
    #[serde(skip)]
    touched: Touched<(Rule, AlertScope)>,
    /// Up to when somebody looked at what only time makes wrong.
    #[serde(skip)]
    looked_at: Timestamp,
}

/// A clock that was set back, and so shows a time twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct SetBack {
    /// Where that was recorded.
    seq: u64,
    from: Timestamp,
    to: Timestamp,
}

/// A copy of a task of one of a DAG's runs.
type Copy = (RunId, TaskId, MapIndex);

/// An executor that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Executor {
    queues: BTreeSet<QueueName>,
    hostname: String,
    slots: u32,
    /// Tries that it began and that did not end.
    running: u32,
    /// What its tries can use together.
    #[serde(default)]
    resources: dagbok_events::Resources,
    /// What it is called over its lives.
    name: dagbok_events::ExecutorName,
    /// Whether it is a part of another, which comes and goes with its try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_part: bool,
    /// Whether it said that it has no place for another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_full: bool,
}

/// An executor that is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lost {
    seq: u64,
    at: Timestamp,
    hostname: String,
    queues: BTreeSet<QueueName>,
}

/// How long a run took from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Took {
    run: Micros,
    has_succeeded: bool,
}

/// What stays known of a run that is over: cleared, it is the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Over {
    run_id: RunId,
    created: u64,
    by_hand: bool,
    is_scheduled: bool,
    logical_date: Option<Timestamp>,
    interval_end: Option<Timestamp>,
    traced: Option<Traced>,
}

/// The most memory that a task had in a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Peak {
    /// Where the run came into being.
    created: u64,
    seq: u64,
    bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Queued {
    seq: u64,
    at: Timestamp,
    queue: QueueName,
    /// Whether who had it handed it back, and it is about to be queued again.
    #[serde(default)]
    is_returned: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Dag {
    owner: String,
    tags: Vec<String>,
    /// Mailboxes that its author names for failures.
    #[serde(default)]
    email: Vec<String>,
    /// Mailboxes that its author names for retries, by task.
    retry_email: BTreeMap<TaskId, Vec<String>>,
    /// What its tasks ask of an executor, of those that ask for anything.
    #[serde(default)]
    asks: BTreeMap<TaskId, dagbok_events::Resources>,
    /// Whom its author's notifiers tell.
    notify: Vec<String>,
    file: String,
    max_active_runs: u32,
    active: u32,
    /// Since which sequence it is paused.
    paused: Option<u64>,
    /// When it was paused last, and is no more.
    unpaused_at: Option<Timestamp>,
    is_gone: bool,
    promise: Option<Promise>,
    /// The newest of the runs that failed and that no success has made up for.
    failed: Option<Failed>,
    deadlines: Vec<Deadline>,
    /// Pools that its tasks need, besides the default one, each with the first task.
    pools: BTreeMap<PoolName, TaskId>,
    /// Where and when it was first seen.
    registered: Option<(u64, Timestamp)>,
    /// Its last success.
    succeeded: Option<(u64, Timestamp)>,
    /// From when that is too old.
    stale: Option<Due>,
    /// How long the newest runs took, the oldest first.
    took: Vec<Took>,
    /// The newest runs that are over, the oldest first.
    over: Vec<Over>,
    /// How much memory its tasks had in the newest runs.
    peaks: BTreeMap<TaskId, Vec<Peak>>,
    /// How often tasks were tried again in the newest runs.
    retries: Vec<u16>,
}

/// A run that was promised and is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Promise {
    seq: u64,
    logical_date: Timestamp,
    due: Timestamp,
    grace: Micros,
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says another thing of a run, and all of them may be"
)]
struct Run {
    created: u64,
    /// Whether nobody waits for its end: somebody asked for it, or a backfill did.
    by_hand: bool,
    logical_date: Option<Timestamp>,
    /// Somebody ends it, so that its failure is no surprise.
    is_ended_by_hand: bool,
    failure: Option<TaskFailure>,
    /// Whether it was over before, and goes on since somebody cleared it.
    is_cleared: bool,
    /// Whether the schedule made it.
    is_scheduled: bool,
    interval_end: Option<Timestamp>,
    /// By what its trace is known.
    traced: Option<Traced>,
    /// When it was made or cleared, and where.
    at: Timestamp,
    seq: u64,
    /// Since when tasks of it may run, and where.
    started: Option<(u64, Timestamp)>,
    /// When something of it is late.
    dues: Vec<(Rule, Due)>,
    /// From when it is stuck, where nothing is under way; one of `dues`.
    idle: Option<Due>,
    /// Copies that are under way or wait for their time, with the executor that has begun them.
    under_way: BTreeMap<(TaskId, MapIndex), Option<ExecutorId>>,
    /// Copies that are not done, of mapped tasks that are waited for.
    left: BTreeMap<TaskId, BTreeSet<MapIndex>>,
    /// What its copies ask people.
    #[serde(default)]
    questions: BTreeMap<(TaskId, MapIndex), Question>,
    retries: u16,
}

impl Watch {
    /// The last sequence that was folded.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// What may be wrong or right by facts or by time since this was asked before; everything at first.
    pub(crate) fn changed(&mut self, now: Timestamp) -> Changed<(Rule, AlertScope)> {
        let mut changed = self.touched.drain();
        if let Changed::These(keys) = &mut changed {
            let since = self.looked_at.min(now);
            let span = (Bound::Excluded(since), Bound::Included(now));
            let missing = self.promises.range(span).flat_map(|(_, dags)| dags);
            keys.extend(missing.map(|dag| (Rule::RunMissing, AlertScope::Dag(dag.clone()))));
            // It ends with the next record, whatever that is about.
            keys.insert((Rule::SchedulerSilent, AlertScope::Namespace));
            let stuck = self.waiting.range(span).flat_map(|(_, dags)| dags.keys());
            keys.extend(stuck.map(|dag| (Rule::StuckQueued, AlertScope::Dag(dag.clone()))));
            keys.extend(self.dues.passed(span));
            if self.next_lost(since).is_some_and(|at| at <= now) {
                keys.insert((Rule::ExecutorLost, AlertScope::Namespace));
            }
            keys.extend(self.quiet_watchers(since, now));
            keys.extend(self.refusals_in(since, now));
        }
        self.looked_at = now;
        changed
    }

    /// Whether facts changed anything since that was asked.
    pub(crate) fn has_changed(&self) -> bool {
        self.touched.is_any()
    }

    /// What is wrong at `now` by one rule with one thing.
    pub fn condition(&self, rule: Rule, scope: &AlertScope, now: Timestamp) -> Option<Condition> {
        match (rule, scope) {
            (Rule::RunMissing, AlertScope::Dag(dag_id)) => {
                let promise = self.dags.get(dag_id)?.promise?;
                if promise.broken_at <= now { self.missing(dag_id) } else { None }
            }
            (Rule::StuckQueued, AlertScope::Dag(dag_id)) => self.stuck(dag_id, now),
            (Rule::SchedulerSilent, AlertScope::Namespace) => self.silent(now),
            (Rule::ExecutorLost, AlertScope::Namespace) => self.executors_gone(now),
            (Rule::ReportsRefused, AlertScope::Namespace) => self.too_many_refusals(now),
            (Rule::WatcherFailing, AlertScope::Dag(dag_id)) => self.failing_watcher(dag_id, now),
            (
                Rule::DeadlineMissed
                | Rule::DeadlineAhead
                | Rule::QuestionWaiting
                | Rule::RunSlow
                | Rule::RunStuck
                | Rule::Stale,
                AlertScope::Dag(dag_id),
            ) => self.late(rule, dag_id, now),
            _ => self.raised.get(&(rule, scope.clone())).cloned(),
        }
    }

    /// By which sequence something is so no more, where facts said it.
    pub fn cleared_by(&self, rule: Rule, scope: &AlertScope) -> Option<u64> {
        self.cleared.get(&(rule, scope.clone())).copied()
    }

    /// All that is wrong at `now`, by rule and scope.
    pub fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let mut found: Vec<Condition> = self.raised.values().cloned().collect();
        let broken = self.promises.range(..=now).flat_map(|(_, dags)| dags);
        found.extend(broken.filter_map(|dag_id| self.missing(dag_id)));
        found.extend(self.silent(now));
        found.extend(self.executors_gone(now));
        found.extend(self.too_many_refusals(now));
        let watching: BTreeSet<&DagId> = self.watchers.keys().map(|(dag_id, _)| dag_id).collect();
        found.extend(watching.into_iter().filter_map(|dag_id| self.failing_watcher(dag_id, now)));
        let late = self.waiting.range(..=now).flat_map(|(_, dags)| dags.keys());
        // What fits nowhere need not be late.
        let asking =
            |dag_id: &&DagId| self.dags.get(*dag_id).is_some_and(|dag| !dag.asks.is_empty());
        let stuck: BTreeSet<&DagId> = late.chain(self.queued.keys().filter(asking)).collect();
        found.extend(stuck.into_iter().filter_map(|dag_id| self.stuck(dag_id, now)));
        let late: BTreeSet<_> =
            self.dues.passed((Bound::Unbounded, Bound::Included(now))).collect();
        found.extend(late.iter().filter_map(|(rule, scope)| self.condition(*rule, scope, now)));
        found
    }

    /// The time of the last record that was folded.
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// When time alone makes something wrong next, after `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded(now), Bound::Unbounded);
        let promise = self.promises.range(later).next().map(|(at, _)| *at);
        let waiting = self.waiting.range(later).next().map(|(at, _)| *at);
        let gone = self.next_lost(now);
        let quiet = self.next_quiet(now);
        let refusals = self.next_refusals(now);
        [promise, waiting, self.dues.next(now), gone, quiet, refusals].into_iter().flatten().min()
    }

    /// What time alone will make wrong after `now` by what the record at `seq` says.
    pub(crate) fn awaited_by(
        &self,
        seq: u64,
        now: Timestamp,
    ) -> Vec<(Rule, AlertScope, Timestamp)> {
        let of = |rule, dag_id: &DagId, at| (rule, AlertScope::Dag(dag_id.clone()), at);
        let promised = self.dags.iter().filter_map(|(dag_id, dag)| {
            let promise = dag.promise.filter(|promise| promise.seq == seq)?;
            Some(of(Rule::RunMissing, dag_id, promise.broken_at))
        });
        let queued = self.queued.iter().flat_map(|(dag_id, copies)| {
            let of_it = copies.values().filter(|queued| queued.seq == seq);
            of_it.map(move |queued| {
                of(Rule::StuckQueued, dag_id, queued.at.plus(crate::limits::STUCK_QUEUED))
            })
        });
        let late = self.dues.by(seq).map(|(rule, dag_id, at)| of(rule, dag_id, at));
        promised.chain(queued).chain(late).filter(|(_, _, at)| *at > now).collect()
    }

    /// What is wrong no more by what the record at `seq` says.
    pub(crate) fn over_by(&self, seq: u64) -> Vec<(Rule, AlertScope)> {
        let over = self.cleared.iter().filter(|(_, by)| **by == seq);
        over.map(|(key, _)| key.clone()).collect()
    }

    /// Takes what the configuration says of numbers and times: from now on that holds.
    pub fn heed(&mut self, thresholds: &[Thresholds]) {
        if self.thresholds != thresholds || !self.is_reckoned {
            self.thresholds = thresholds.to_vec();
            self.is_reckoned = true;
            self.reckon();
            self.touched.note_all();
        }
    }

    /// DAGs that are in some file.
    pub fn dags(&self) -> impl Iterator<Item = &DagId> {
        self.dags.iter().filter(|(_, dag)| !dag.is_gone).map(|(dag_id, _)| dag_id)
    }

    /// Labels of a DAG, for whoever wants to know where its alerts go; `None` for one that is not known.
    pub fn labels_of(&self, dag_id: &DagId) -> Option<crate::Labels> {
        self.dags.get(dag_id).map(|dag| dag_labels(dag_id, dag))
    }
}

/// Labels of a DAG by what its file says.
pub fn labels_of_spec(spec: &DagSpec) -> crate::Labels {
    let dag = Dag {
        owner: spec.owner.clone(),
        tags: spec.tags.clone(),
        email: spec.failure_email.clone(),
        notify: spec.failure_notify.clone(),
        ..Dag::default()
    };
    dag_labels(&spec.dag_id, &dag)
}

/// Airflow's default owner stands for nobody named.
const NOBODY: &str = "airflow";

fn dag_labels(dag_id: &DagId, dag: &Dag) -> crate::Labels {
    let mut labels = crate::Labels::from([("dag".to_owned(), dag_id.to_string())]);
    if !dag.owner.is_empty() && dag.owner != NOBODY {
        labels.insert("owner".to_owned(), dag.owner.clone());
    }
    if !dag.email.is_empty() {
        labels.insert("email".to_owned(), dag.email.join(","));
    }
    if !dag.notify.is_empty() {
        labels.insert("notify".to_owned(), dag.notify.join(","));
    }
    if !dag.tags.is_empty() {
        labels.insert("tags".to_owned(), dag.tags.join(","));
    }
    labels
}
