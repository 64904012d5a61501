//! Facts about callbacks: functions of a DAG's author that are told how a run or a task ended.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LogRef;
use crate::{ExecutorId, Failure, Leg, MapIndex, QueueName, TaskId, TryNumber, Usage};

/// Which of a DAG's callbacks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DagCallbackKind {
    /// `on_success_callback`.
    OnSuccess,
    /// `on_failure_callback`.
    OnFailure,
}

impl DagCallbackKind {
    /// Airflow's name of the argument.
    pub const fn argument(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success_callback",
            Self::OnFailure => "on_failure_callback",
        }
    }
}

/// See [`crate::Fact::DagCallbackOrdered`]. Scope: the run. The code is that of the run; it may be called again where an
/// attempt is lost, so that it is called at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackOrdered {
    /// Which of the DAG's callbacks.
    pub callback: DagCallbackKind,
    /// Which end of the run it is for, from 1: a run that is cleared ends again.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// What its context says as `reason`, in Airflow's words.
    pub reason: String,
    /// The task instance that its context has.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// The last try of that task instance.
    pub try_number: TryNumber,
    /// Executors of which queue may call it.
    pub queue: QueueName,
}

/// See [`crate::Fact::DagCallbackStarted`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackStarted {
    /// Which end of the run it is for, from 1.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// Who calls it.
    pub executor: ExecutorId,
    /// Name of the machine that it is called on.
    pub hostname: String,
    /// In which process there.
    pub pid: u32,
}

/// See [`crate::Fact::DagCallbackSucceeded`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackSucceeded {
    /// Which end of the run it is for, from 1.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::DagCallbackFailed`]. Scope: the run. It is not called again; the run is what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackFailed {
    /// Which of the DAG's callbacks.
    pub callback: DagCallbackKind,
    /// Which end of the run it is for, from 1.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// How and whose.
    pub failure: Failure,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::DagCallbackLost`]. Scope: the run. It is ordered again, up to the published limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackLost {
    /// Which end of the run it is for, from 1.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// Who had it.
    pub executor: ExecutorId,
    /// Whether its code may have run: where it was handed back at once, it has not.
    pub begun: bool,
    /// What it wrote, where that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::DagCallbackUnbegun`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallbackUnbegun {
    /// Which of the DAG's callbacks.
    pub callback: DagCallbackKind,
    /// Which end of the run it is for, from 1.
    pub number: u16,
    /// Which attempt at it, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub attempt: Leg,
    /// On which queue it is offered.
    pub queue: QueueName,
}

/// See [`crate::Fact::TaskCallbackFailed`]. Scope: the run. The try ends as it would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCallbackFailed {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1.
    pub try_number: TryNumber,
    /// Part of the try, from 0.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// The argument that it was given by: `on_failure_callback` and its like.
    pub callback: String,
    /// What was raised, or what became of it.
    pub message: String,
}
