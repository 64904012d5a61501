//! What partitions wait for, as an answer.
use dagbok_events::{AssetRef, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A partition that waits for its run, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionWaits {
    /// The partition that waits for more events.
    pub partition_key: String,
    /// When the first event came that counts for it.
    pub since: Timestamp,
    /// When the last one did.
    pub last_at: Timestamp,
    /// What the DAG waits for, each with what this partition has of it.
    pub assets: Vec<PartitionAsset>,
}

/// What a partition has of one asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionAsset {
    /// As the DAG's file names it.
    pub asset: AssetRef,
    /// Whether that is enough of it.
    pub enough: bool,
    /// Whether it is made of several keys of the asset.
    #[serde(default)]
    pub is_rollup: bool,
    /// Keys of it that came, where several make the partition; up to ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub came: Vec<String>,
    /// Keys of it that did not; up to ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// How many came.
    pub came_count: u32,
    /// How many there are of those that make the partition.
    pub needed_count: u32,
    /// Why it can never be enough, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl PartitionAsset {
    /// Of an asset of which one event is enough.
    pub fn of(asset: AssetRef, enough: bool) -> Self {
        Self {
            asset,
            enough,
            is_rollup: false,
            came: Vec::new(),
            missing: Vec::new(),
            came_count: u32::from(enough),
            needed_count: 1,
            fault: None,
        }
    }
}
