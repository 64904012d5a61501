//! Answers: what became of a command.
use dagbok_events::{
    DagId, DagVersion, Digest, Interval, MapIndex, RunId, TaskId, TasksWere, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackfillPlan, Why};

/// What became of a command. `Accepted` is sent only once its record is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Answer {
    /// Decided; the record is in the log.
    Accepted {
        /// The record's sequence; that of the first decision where the command came twice.
        seq: u64,
        /// The run that was made, where one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<RunId>,
    },
    /// Nothing to do: it is so already.
    Unchanged,
    /// What a command that only asks would clear. Nothing was done.
    WouldClear {
        /// Whether the run is over, and would be queued again.
        run_goes_on: bool,
        /// The tasks, in the DAG's order.
        tasks: Vec<ClearedTask>,
        /// The version that the run would go on with, where that is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Box<VersionChange>>,
    },
    /// What a command that only asks would mark. Nothing was done.
    WouldMark {
        /// Whether the run is over, and would be judged anew.
        run_goes_on: bool,
        /// What would be marked, in the DAG's order.
        tasks: Vec<ClearedTask>,
        /// What would be judged anew with it, and run again where it may.
        cleared: Vec<ClearedTask>,
    },
    /// All that keeps what was asked about from going on. Nothing was done.
    Waits(Box<Why>),
    /// What runs a DAG would make, were it not paused any more. Nothing was done.
    WouldMake(ComingRuns),
    /// What a backfill would do, were it made. Nothing was done.
    WouldBackfill(BackfillPlan),
    /// Over which data intervals the last scheduled runs went. Nothing was done.
    LastScheduled(Vec<LastScheduled>),
    /// The caller's picture is out of date, or the request breaks a rule. Nothing was done.
    Refused(Refusal),
}

/// The last run that a DAG's schedule made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastScheduled {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// What the run works on; `None` where there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
}

/// What runs a DAG's schedule would make by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComingRuns {
    /// How many at once, since they are due, counted up to the published limit.
    pub count: u32,
    /// The first one's logical date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// The last one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// When the one after those is due; none where the schedule has no further run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
}

/// A task that is cleared, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClearedTask {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How many further copies, by the indexes after this one.
    #[serde(default)]
    pub further: u32,
    /// How they stand, in order: so many copies each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<TasksWere>,
}

/// What another version of its DAG makes of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionChange {
    /// The version that it runs.
    pub from: DagVersion,
    /// The version that it would go on with.
    pub to: DagVersion,
    /// The code that it would go on with.
    pub bundle: Digest,
    /// What would be added, and run, in the DAG's order: tasks, and further copies of mapped ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<ClearedTask>,
    /// What would be `removed`, in the order of the DAG as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ClearedTask>,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what, where, and what to do next.
    pub message: String,
}

/// The kinds of refusal.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No such DAG.
    DagNotFound,
    /// No such run.
    RunNotFound,
    /// The run's id is taken.
    RunAlreadyExists,
    /// A run of that DAG has this logical date already.
    LogicalDateTaken,
    /// The run is over.
    RunOver,
    /// The run is not over.
    RunActive,
    /// The DAG is in its file, or has runs, or they have that version.
    DagInUse,
    /// The run has no such task.
    TaskNotFound,
    /// A try of a task is in flight.
    TaskRunning,
    /// No such backfill.
    BackfillNotFound,
    /// The backfill is over.
    BackfillOver,
    /// The DAG has a backfill that is not over.
    BackfillActive,
    /// No such pool.
    PoolNotFound,
    /// There is a pool of that name already.
    PoolAlreadyExists,
    /// No such variable or connection.
    SecretNotFound,
    /// There is a variable or a connection of that name already.
    SecretAlreadyExists,
    /// The variable or the connection has been changed meanwhile.
    SecretChanged,
    /// The value is encrypted by a master key that is retired.
    SecretKeyRetired,
    /// The task asks nobody anything.
    NotAsked,
    /// What the task asks is answered already.
    AlreadyAnswered,
    /// Somebody answers who may not.
    NotAssigned,
    /// A report about a try that is not in flight, or held by another.
    StaleReport,
    /// No executor is called so.
    ExecutorNotFound,
    /// The executor speaks a version of the protocol that is too far from the scheduler's.
    ProtocolTooFar,
    /// The request breaks a rule: conf is no object, a date outside the DAG's, a limit.
    Invalid,
}
