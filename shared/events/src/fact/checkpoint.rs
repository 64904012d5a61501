//! Facts about what a task keeps for its next try, and about how far a try has come.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Leg, MapIndex, TaskId, Timestamp, TryNumber};

/// A directory as it was kept: a tar archive of it in pieces, each of which lies beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointFiles {
    /// Digests of the pieces, in order; none where the directory is empty.
    pub pieces: Vec<Digest>,
    /// How many files and links it has.
    pub files: u32,
    /// What they hold, in bytes.
    pub bytes: u64,
}

/// What a copy of a task keeps in a run, over its tries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Its directory; none where none was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<CheckpointFiles>,
    /// Its values, as JSON text, by their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Takes in what a try kept: a directory in the place of the one before, and the values that changed.
    pub fn take_in(&mut self, kept: &CheckpointKept) {
        if kept.files.is_some() {
            self.files.clone_from(&kept.files);
        }
        for (key, value) in &kept.values {
            match value {
                Some(value) => drop(self.values.insert(key.clone(), value.clone())),
                None => drop(self.values.remove(key)),
            }
        }
    }
}

/// See [`crate::Fact::CheckpointKept`]. Scope: the run. It stands until the task is done well, is marked, or
/// [`CheckpointDropped`] says that it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointKept {
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
    /// The directory, in the place of the one before; none where that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<CheckpointFiles>,
    /// Values that changed, as JSON text, by their keys; `None` where one is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Option<String>>,
}

/// See [`crate::Fact::CheckpointDropped`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointDropped {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
}

/// See [`crate::Fact::TryProgressed`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryProgressed {
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
    /// How much is done, in ten-thousandths.
    pub done: u16,
    /// What its code says of it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When it said so, by the executor's clock.
    pub said_at: Timestamp,
}
