//! What is under way: as much of it as notes and gauges need.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    DagId, ExecutorId, ExecutorName, Fact, MapIndex, PoolName, QueueName, Record, Resources,
    RunKey, Scope, TaskId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{Note, Trace};

mod copies;
mod dags;
mod gauges;
mod runs;

pub use gauges::{Depth, PoolUse, Wanted, label_text};

/// How a copy of a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Stands {
    Queued,
    Running,
    UpForRetry,
    UpForReschedule,
    Deferred,
}

impl Stands {
    const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::UpForRetry, Self::UpForReschedule, Self::Deferred];

    const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::UpForRetry => "up_for_retry",
            Self::UpForReschedule => "up_for_reschedule",
            Self::Deferred => "deferred",
        }
    }
}

/// A copy of a task with a try that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Copy {
    stands: Stands,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    /// The end that let it be queued, where one did.
    handed_at: Option<Timestamp>,
    pool: PoolName,
    slots: u32,
    queue: QueueName,
    /// Who has begun it.
    executor: Option<ExecutorId>,
}

/// A run that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    created_at: Timestamp,
    /// When it was due, where a schedule made it.
    due: Option<Timestamp>,
    /// Whether a backfill made it: it takes no room of what schedules make.
    is_apart: bool,
    started_at: Option<Timestamp>,
    /// Whether a try of it has started.
    begun: bool,
    /// As what it is to end once its teardowns have run.
    ending: Option<bool>,
    /// When its last try ended.
    ended_at: Option<Timestamp>,
    /// Its trace, where that is recorded.
    trace: Option<Trace>,
    copies: BTreeMap<TaskId, BTreeMap<MapIndex, Copy>>,
}

/// What is known of a DAG.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Dag {
    is_paused: bool,
    is_gone: bool,
    /// When its next promised run is due.
    due: Option<Timestamp>,
    /// The promised ones after it: the first one's due time, the step, how many.
    further: Vec<(Timestamp, i64, u32)>,
    /// So many runs may be under way; 0 is no limit.
    most_runs: u32,
    operators: BTreeMap<TaskId, String>,
    /// What tasks ask for besides a slot, of those that do.
    asks: BTreeMap<TaskId, Resources>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pool {
    /// `None` for no limit.
    slots: Option<u32>,
    counts_deferred: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Executor {
    slots: u32,
    queues: BTreeSet<QueueName>,
    /// What it is called over its lives: a cordon is of that.
    name: ExecutorName,
    labels: BTreeMap<String, String>,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    runs: BTreeMap<RunKey, Run>,
    dags: BTreeMap<DagId, Dag>,
    pools: BTreeMap<PoolName, Pool>,
    executors: BTreeMap<ExecutorId, Executor>,
    cordoned: BTreeSet<ExecutorName>,
    unreadable: BTreeSet<String>,
    /// Queues and pools that were ever seen: their series go on at zero.
    queues: BTreeSet<QueueName>,
}

impl State {
    /// Takes a record in, and says what its facts mean.
    pub fn take(&mut self, record: &Record, say: &mut dyn FnMut(&Note<'_>)) {
        for fact in &record.facts {
            match &record.scope {
                Scope::Run(run) => {
                    if let Fact::RunCreated(created) = fact {
                        self.created(record, run, created, say);
                    } else {
                        self.of_run(record.decided_at(), run, fact, say);
                    }
                }
                Scope::Dag(dag) => self.of_dag(dag, fact, say),
                Scope::Executor(id) => self.of_executor(id, fact, say),
                Scope::File(file) => self.of_file(file, fact, say),
                Scope::Namespace => self.of_namespace(fact, say),
            }
        }
    }

    fn of_executor(&mut self, id: &ExecutorId, fact: &Fact, say: &mut dyn FnMut(&Note<'_>)) {
        match fact {
            Fact::ExecutorJoined(joined) => {
                let queues: BTreeSet<QueueName> = joined.queues.iter().cloned().collect();
                self.queues.extend(queues.iter().cloned());
                let name = ExecutorName::or_of_machine(joined.name.as_ref(), &joined.hostname);
                let labels = joined.resources.labels.clone();
                let executor = Executor { slots: joined.slots, queues, name, labels };
                self.executors.insert(id.clone(), executor);
                say(&Note::ExecutorJoined);
            }
            Fact::ExecutorLeft(left) => {
                self.executors.remove(id);
                let why = match left.why {
                    dagbok_events::LeftWhy::Drained => "drained",
                    dagbok_events::LeftWhy::Gone => "gone",
                };
                say(&Note::ExecutorLeft { why });
            }
            _ => {}
        }
    }

    fn of_file(&mut self, file: &str, fact: &Fact, say: &mut dyn FnMut(&Note<'_>)) {
        match fact {
            Fact::DagImportFailed(failed) => {
                self.unreadable.insert(file.to_owned());
                say(&Note::ImportFailed { file, timeout: failed.exception == "Timeout" });
            }
            Fact::DagImportRecovered(_) => {
                self.unreadable.remove(file);
            }
            _ => {}
        }
    }

    fn of_namespace(&mut self, fact: &Fact, say: &mut dyn FnMut(&Note<'_>)) {
        match fact {
            Fact::PoolSet(set) => {
                let slots = (set.slots != dagbok_events::PoolSet::UNLIMITED).then_some(set.slots);
                let pool = Pool { slots, counts_deferred: set.include_deferred };
                self.pools.insert(set.pool.clone(), pool);
            }
            Fact::PoolDeleted(gone) => {
                self.pools.remove(&gone.pool);
            }
            Fact::ExecutorCordoned(cordoned) => {
                self.cordoned.insert(cordoned.name.clone());
            }
            Fact::ExecutorUncordoned(uncordoned) => {
                self.cordoned.remove(&uncordoned.name);
            }
            Fact::AssetUpdated(_) => say(&Note::AssetUpdated),
            Fact::ClockWentBack(_) => say(&Note::ClockWentBack),
            Fact::ForeignEntrySkipped(_) => say(&Note::Foreign),
            _ => {}
        }
    }
}
