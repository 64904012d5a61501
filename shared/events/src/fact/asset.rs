//! Facts about assets.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AssetKey, DagId, MapIndex, Partition, PartitionedFor, TaskId, spec::is_default};

/// See [`crate::Fact::AssetUpdated`]. Scope: the run whose task did it, or the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetUpdated {
    /// The asset that was brought up to date.
    pub asset: AssetKey,
    /// The task that did it; `None` where somebody outside said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// A JSON object in text that was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// The aliases by which the task named the asset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// DAGs that wait for it: their next run consumes it, and may come by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queued_for: Vec<DagId>,
    /// DAGs that would, and are paused: their next run consumes it, and does not come by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_for: Vec<DagId>,
    /// Which partition of the asset; `None` where it is not partitioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// DAGs that are scheduled on its partitions, and not paused: what it means for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitioned_for: Vec<PartitionedFor>,
    /// How many bytes the JSON has that was said with it, where that is more than is kept, and left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra_left_out: u64,
    /// On the last that a try brought up to date: how many more it did, which are more than one try may, and left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more_left_out: u32,
}

/// See [`crate::Fact::QueuedAssetsDropped`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuedAssetsDropped {
    /// Which assets; all of them where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<AssetKey>,
}
