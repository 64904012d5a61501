//! Facts about runs.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AssetEvent, BackfillId, DagVersion, Digest, Interval, MapIndex, Partition, TaskId, TasksWere,
    Timestamp,
};

/// How a run came about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RunType {
    /// Somebody triggered it.
    Manual,
    /// The schedule made it.
    Scheduled,
    /// A backfill made it.
    Backfill,
    /// An asset's update made it.
    AssetTriggered,
}

/// JSON in text, beside the log where it is large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Payload {
    /// The text itself.
    Inline(String),
    /// Where the text is.
    Blob {
        /// SHA-256 digest of the text, which is its address among the blobs.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
}

/// See [`crate::Fact::RunCreated`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCreated {
    /// How it came about.
    pub run_type: RunType,
    /// What it stands for; a manual run of the newer era may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// Which meaning of the DAG it runs, whatever becomes of the file.
    pub version: DagVersion,
    /// Which code it runs.
    pub bundle: Digest,
    /// What whoever triggered it passed along: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
    /// What whoever triggered it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Events of assets that made it, oldest first: the newest, up to the published limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asset_events: Vec<AssetEvent>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_none")]
    pub asset_events_left_out: u32,
    /// The backfill that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_id: Option<BackfillId>,
    /// The partition that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

/// See [`crate::Fact::RunStarted`]. Scope: the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {}

/// See [`crate::Fact::RunSucceeded`]. Scope: the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSucceeded {}

/// See [`crate::Fact::RunFailed`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunFailed {
    /// The leaves that failed it, up to the published limit.
    pub failed: Vec<TaskId>,
}

/// See [`crate::Fact::RunTimedOut`]. Scope: the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunTimedOut {
    /// Whether teardowns are yet to run: then the run is over with the `RunFailed` that follows the last of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub teardowns_left: bool,
}

/// See [`crate::Fact::RunCancelled`]. Scope: the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCancelled {
    /// Whether teardowns are yet to run: then the run is over with the `RunFailed` that follows the last of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub teardowns_left: bool,
    /// How it stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<RunWas>,
}

/// How a run stood before somebody changed its history.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RunWas {
    /// It waited for its turn.
    Queued,
    /// Its tasks ran, be it only teardowns.
    Running,
    /// It was over and had succeeded.
    Success,
    /// It was over and had failed.
    Failed,
}

/// See [`crate::Fact::RunCleared`]. Scope: the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCleared {
    /// How it stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<RunWas>,
    /// Whether it had ended but for its teardowns: that end's number is used up, and the next end has the one after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Where what its tasks had handed on is forgotten by now: until when it was kept. Whoever asks for such a value is
    /// told so, and gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xcoms_kept_until: Option<Timestamp>,
}

/// See [`crate::Fact::RunVersionChanged`]. Scope: the run, which is over. What stands of tasks that both versions have
/// stays; where only the code differs, the lists are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunVersionChanged {
    /// Which meaning of the DAG it runs from now on.
    pub version: DagVersion,
    /// Which code it runs from now on.
    pub bundle: Digest,
    /// Which meaning it ran before.
    pub was: DagVersion,
    /// Which code it ran before.
    pub bundle_was: Digest,
    /// Tasks that come anew, in the DAG's order: the version before had none of that name, or it was mapped and is
    /// not, or the other way round. Their tries go on from those that a task of that name had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<TaskId>,
    /// Tasks that are no longer there, in the order of the DAG as it was, each with all of its copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<TaskGone>,
    /// The number of its last end, from which the next one goes on; 0 in what was written before this was said, where
    /// the next end of a run that changed its version has the number 1 again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ends: u16,
}

/// Copies of a task that are no longer in their run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskGone {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// The first of its copies; -1 where it has none.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How many further copies, by the indexes after this one.
    #[serde(default, skip_serializing_if = "is_none")]
    pub further: u32,
    /// How they stood before, in order: so many copies each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<TasksWere>,
}

/// How somebody says that a run ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RunMark {
    /// Well.
    Success,
    /// Badly.
    Failed,
}

/// See [`crate::Fact::RunMarked`]. Scope: the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunMarked {
    /// As what it stands from now on.
    pub state: RunMark,
    /// How it stood before.
    pub was: RunWas,
    /// Whether teardowns are yet to run: then the run is over once the last of them is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub teardowns_left: bool,
}

/// See [`crate::Fact::RunNoted`]. Scope: the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunNoted {
    /// The note from now on; none where it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The note before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// See [`crate::Fact::RunDeleted`]. Scope: the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunDeleted {
    /// Its logical date, free again for another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// The highest number that a try of it had. Where its id is used again, tries go on from there, so that
    /// none is taken for one of the run that is gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u16,
    /// The number of its last end, from 1: callbacks bear it. Where its id is used again, ends go on from there
    /// likewise; where it is not said, they begin at 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ends: u16,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_none(n: &u32) -> bool {
    *n == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_zero(n: &u16) -> bool {
    *n == 0
}
