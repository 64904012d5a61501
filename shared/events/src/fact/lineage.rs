//! What operators say of what they read and wrote.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Leg, MapIndex, TaskId, TryNumber};

/// See [`crate::Fact::LineageTold`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineageTold {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Which try of the copy says so.
    pub try_number: TryNumber,
    /// Which leg of it.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// What it says: a JSON object in text, with `inputs`, `outputs`, `run_facets` and `job_facets` as OpenLineage has them.
    pub lineage: String,
}
