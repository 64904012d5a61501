//! Facts about tries: each leg of a try has exactly one of the terminal ones (succeeded, failed, skipped,
//! rescheduled, lost, cancelled, returned).
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, ExecutorId, Failure, Leg, MapIndex, Payload, TaskId, Timestamp, TryNumber, Usage,
};

/// See [`crate::Fact::TryStarted`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryStarted {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Who runs it.
    pub executor: ExecutorId,
    /// Name of the machine that the try ran on.
    pub hostname: String,
    /// As which process there.
    pub pid: u32,
    /// When, by the executor's clock.
    pub started_at: Timestamp,
    /// Digests of what it saw, by name: `bundle`, `python`, `conf`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub inputs: std::collections::BTreeMap<String, String>,
}

/// Where a try's log lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRef {
    /// SHA-256 digest of the lines, which is their address among the blobs.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Lines in it.
    pub lines: u64,
    /// Lines that the cap left out.
    #[serde(default)]
    pub dropped: u64,
    /// Digest of what the try used over its time, which is kept as long as the log; `None` where it was over before
    /// it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Digest>,
}

/// See [`crate::Fact::TrySucceeded`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrySucceeded {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// When, by the executor's clock.
    pub ended_at: Timestamp,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
    /// Tasks that it decided against, as a branch does: they are skipped whatever their trigger rules say, and
    /// those right below it stay so while it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<TaskId>,
}

/// See [`crate::Fact::TryFailed`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryFailed {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// When, by the executor's clock.
    pub ended_at: Timestamp,
    /// How and whose.
    pub failure: Failure,
    /// When the next try is due; `None` where this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::TrySkipped`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrySkipped {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// When, by the executor's clock.
    pub ended_at: Timestamp,
    /// What the code said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::TryRescheduled`]. Scope: the run. The try goes on as another leg; no retry is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryRescheduled {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// The leg that is over.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// When that was, by the executor's clock.
    pub ended_at: Timestamp,
    /// The next leg is queued no sooner than this.
    pub due: Timestamp,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// How an executor was found to be gone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LostWhy {
    /// Its presence was not renewed for a lease.
    ExecutorGone,
    /// It is there, and says that it does not hold the try.
    NotHeld,
    /// It killed its own processes because it could not renew its lease.
    Fenced,
    /// It was told to stop and the try did not end in time.
    Drained,
    /// It ended the try by an order, or because its start was refused.
    Ordered,
    /// The process that had forked the try and others was ended, it may be by another of them: nobody's
    /// count of losses goes up.
    ParentDied,
    /// Its executor died, or went out of reach, before it said that the try began: it may have begun, so that
    /// its number is used up. Nobody's count of losses goes up.
    MayHaveBegun,
    /// Nobody began it for `task_queued_timeout`, though somebody could have. Nobody's count of losses goes up; but
    /// a task whose tries end so one after the other fails.
    QueuedTooLong,
}

/// See [`crate::Fact::TryLost`]. Scope: the run. The system's fault: uses up none of the user's retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryLost {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Who had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// How that was found.
    pub why: LostWhy,
    /// When the next try is due; `None` where the limit of losses is reached, which fails the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What it used, where its executor could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What it wrote, where its executor could keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::TryCancelled`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryCancelled {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Who runs it, and is told to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// Whether its task is skipped with it, and has not failed: the try had not begun, or its run timed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// See [`crate::Fact::TryReturned`]. Scope: the run. The task is queued again as another try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryReturned {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Who handed it back.
    pub executor: ExecutorId,
}

/// See [`crate::Fact::XComPushed`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct XComPushed {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// By which try.
    pub try_number: TryNumber,
    /// By which leg of it.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Under which name; `return_value` for what the task returned.
    pub key: String,
    /// The value, as JSON text; `None` deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
    /// How many elements it has, where other tasks are mapped over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
}

/// See [`crate::Fact::TryNamed`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryNamed {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try that says so.
    pub try_number: TryNumber,
    /// Part of that try, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// What its `map_index_template` gave.
    pub rendered_map_index: String,
}

/// Why a report was refused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefusedWhy {
    /// The namespace has no such run.
    NoSuchRun,
    /// The run has no such task.
    NoSuchTask,
    /// The try is over, or was never queued.
    NotInFlight,
    /// Another executor holds the try.
    HeldByAnother,
    /// The run is over.
    RunOver,
    /// The try is in flight, which what was left of it says nothing about.
    InFlight,
}

/// What a refused report claimed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ForeignReport {
    /// That the try began.
    Started,
    /// That it succeeded.
    Succeeded,
    /// That it failed.
    Failed,
    /// That it skipped.
    Skipped,
    /// That it pushed a value.
    XCom,
    /// That it was handed back.
    Returned,
    /// That it was lost.
    Lost,
    /// Nothing: it brings what an executor that was killed left of the try.
    Left,
    /// That it asked to go on later.
    Rescheduled,
    /// That it has a name for people.
    Named,
    /// That it waits for a trigger.
    Deferred,
    /// That its trigger fired.
    TriggerFired,
    /// That its trigger came to nothing.
    TriggerFailed,
    /// That its trigger is in a triggerer's hands.
    TriggerHeld,
    /// That a callback of its task failed.
    CallbackFailed,
    /// That it keeps something for the next try.
    Checkpoint,
    /// How far it has come.
    Progress,
    /// What it read and wrote.
    Lineage,
}

/// See [`crate::Fact::ReportRefused`]. Scope: the run that it named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRefused {
    /// The task that it named.
    pub task_id: TaskId,
    /// The copy that it named.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// The try that it named.
    pub try_number: TryNumber,
    /// The leg of it that it named.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// What was reported, and was not believed.
    pub report: ForeignReport,
    /// Who sent it.
    pub executor: ExecutorId,
    /// Why it was refused.
    pub why: RefusedWhy,
    /// What the try used, by the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The log that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}
