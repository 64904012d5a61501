//! Rows about assets, their events, and what waits for a DAG's next run by them.
use std::collections::BTreeSet;

use dagbok_events::{AssetKey, AssetSource, DagId, RunKey, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

/// Events of one record are told apart by so many bits of their numbers.
const PLACE_BITS: u32 = 7;

/// The number of the `nth` event of the record `seq`.
pub(crate) fn event_id(seq: u64, nth: u32) -> u64 {
    (seq << PLACE_BITS) | u64::from(nth)
}

/// An asset that some DAG names, or that was brought up to date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetRow {
    /// Which.
    pub asset: AssetKey,
    /// Its number, in the order of being named first.
    pub id: u32,
    /// What kind it is.
    pub group: String,
    /// A JSON object in text that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// When it was named first.
    pub created_at: Timestamp,
    /// When a file last named it.
    pub updated_at: Timestamp,
    /// DAGs that are scheduled on it.
    pub scheduled: BTreeSet<DagId>,
    /// Tasks that bring it up to date.
    pub producing: BTreeSet<(DagId, TaskId)>,
    /// Tasks that say that they read it.
    pub consuming: BTreeSet<(DagId, TaskId)>,
    /// Aliases by which tasks named it; at most so many as a run takes events.
    #[serde(default)]
    pub aliases: BTreeSet<String>,
    /// Its last event: number and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<(u64, Timestamp)>,
}

impl AssetRow {
    /// Whether a DAG names it now.
    pub fn is_named(&self) -> bool {
        !(self.scheduled.is_empty() && self.producing.is_empty() && self.consuming.is_empty())
    }
}

/// A name that tasks give to assets when they run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetAliasRow {
    /// The name.
    pub name: String,
    /// Its number, in the order of being named first.
    pub id: u32,
}

/// An event of an asset, or of a DAG's tasks; all is in its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AssetEventOfRow {}

/// A DAG that an asset waits in; its id is at the end of the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueuedForRow {}

/// The asset of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetIdRow {
    /// Which.
    pub asset: AssetKey,
}

/// How many numbers of assets and aliases were given out, and how many events there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AssetCountRow {
    /// So many.
    pub assets: u32,
    /// Numbers of aliases.
    #[serde(default)]
    pub aliases: u32,
    /// Events that there were.
    #[serde(default)]
    pub events: u64,
}

/// An asset that was brought up to date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssetEventRow {
    /// Its number: the record's sequence, and which of its events.
    pub id: u64,
    /// Which asset.
    pub asset: AssetKey,
    /// When.
    pub at: Timestamp,
    /// A JSON object in text that was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// The aliases by which the task named the asset.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The task that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AssetSource>,
    /// Which partition of the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// DAGs scheduled on partitions for which it counts for none, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(DagId, String)>,
    /// The runs that it made, with others.
    #[serde(default)]
    pub runs: Vec<RunKey>,
}

/// An asset that is up to date, and waits for the others that a DAG needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedAssetRow {
    /// Which asset.
    pub asset: AssetKey,
    /// Since when.
    pub since: Timestamp,
    /// The number of the event that it waits with.
    #[serde(default)]
    pub event: u64,
    /// Whether it came by an alias: the oldest of these go where there are too many.
    #[serde(default)]
    pub by_alias: bool,
}

/// The events that made a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunAssetsRow {
    /// Their numbers, oldest first.
    pub events: Vec<u64>,
    /// How many more there were.
    #[serde(default)]
    pub left_out: u32,
}
