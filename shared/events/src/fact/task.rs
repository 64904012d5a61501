//! Facts about tasks of a run.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MapIndex, PoolName, QueueName, TaskId, TryNumber};

/// See [`crate::Fact::TaskQueued`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskQueued {
    /// Which task.
    pub task_id: TaskId,
    /// Which copy.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Which try; whoever reports must name it, which fences off zombies.
    pub try_number: TryNumber,
    /// Whose slots it holds from now on.
    pub pool: PoolName,
    /// How many.
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
    /// Its trigger rule can no longer be met, or its run ended first.
    Skipped,
    /// An upstream failed.
    UpstreamFailed,
    /// It is no longer in the DAG.
    Removed,
}

/// See [`crate::Fact::TaskRuledOut`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRuledOut {
    /// Which task.
    pub task_id: TaskId,
    /// Which copy.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Why.
    pub why: RuledOut,
}
