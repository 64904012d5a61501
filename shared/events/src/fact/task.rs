//! Facts about tasks of a run.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Leg, MapIndex, PoolName, QueueName, TaskId, TryNumber};

/// See [`crate::Fact::TaskQueued`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskQueued {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Which try; whoever reports must name it, which fences off zombies.
    pub try_number: TryNumber,
    /// Which leg of that try: 0 unless it was rescheduled before.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// Whose slots it holds from now on.
    pub pool: PoolName,
    /// How many of its pool's slots a try takes.
    pub pool_slots: u32,
    /// Which executors may pull it.
    pub queue: QueueName,
}

/// Why a task never ran.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RuledOut {
    /// Its trigger rule can no longer be met, a task before it decided so, or its run ended first.
    Skipped,
    /// An upstream failed.
    UpstreamFailed,
    /// It is no longer in the DAG.
    Removed,
    /// It is no part of this run: the run's logical date lies before its `start_date`, or after its `end_date`.
    OutOfDates,
}

/// See [`crate::Fact::TaskRuledOut`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRuledOut {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Why the task does not run.
    pub why: RuledOut,
    /// How many further copies, by the indexes after this one, it says the same of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further: u32,
    /// For people, where `why` does not say all: what is wrong, and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// See [`crate::Fact::TaskExpanded`]. Scope: the run. The copies get the map indexes from 0 on. Said again of a
/// task that has copies, and is to run again with more, those are added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskExpanded {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// How many copies there are; 0 where there is nothing to map over, which skips the task.
    pub length: u32,
}

/// See [`crate::Fact::TaskCleared`]. Scope: the run. Values that it handed on are gone; what comes next is
/// another try, with all of its retries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCleared {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How many further copies, by the indexes after this one, are cleared too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further: u32,
    /// How they stood before, in order: so many copies each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<TasksWere>,
}

/// How copies of a task stood before somebody changed their history: Airflow's states.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskWas {
    /// Airflow's `None`: it waited.
    None,
    /// A try was offered to the executors.
    Queued,
    /// A try ran.
    Running,
    /// It waited for its next try.
    UpForRetry,
    /// It waited to go on with its try.
    UpForReschedule,
    /// It waited for a trigger.
    Deferred,
    /// It had succeeded.
    Success,
    /// It had failed.
    Failed,
    /// It was skipped.
    Skipped,
    /// It was ruled out by a failure before it.
    UpstreamFailed,
    /// It was no longer in the DAG.
    Removed,
}

/// Copies that follow each other and stood the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TasksWere {
    /// Airflow's state of each of them.
    pub state: TaskWas,
    /// How many of them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_one(n: &u32) -> bool {
    *n == 1
}

/// As what somebody marks a task.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskMark {
    /// As one that succeeded.
    Success,
    /// As one that failed.
    Failed,
    /// As one that was skipped.
    Skipped,
}

/// See [`crate::Fact::TaskMarked`]. Scope: the run. A try of it that was in flight was cancelled by the fact before.
/// Values that it handed on stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskMarked {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How many further copies, by the indexes after this one, are marked too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further: u32,
    /// As what it stands from now on.
    pub state: TaskMark,
    /// How they stood before, in order: so many copies each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<TasksWere>,
}

/// See [`crate::Fact::TaskNoted`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskNoted {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// The note from now on; none where it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The note before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}
