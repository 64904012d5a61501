//! Assets and their events, in the words of Airflow's API.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DateTime, ListExtra};

/// Assets, by their uris.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetCollection {
    /// The assets of this page.
    pub assets: Vec<AssetResponse>,
    /// How many there are in all.
    pub total_entries: usize,
}

/// An asset.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetResponse {
    /// The number that the API knows the asset by.
    pub id: u32,
    /// What people call the asset.
    pub name: String,
    /// Where the data is.
    pub uri: String,
    /// What kind it is.
    pub group: String,
    /// What the file says with it.
    #[schema(value_type = Object)]
    pub extra: serde_json::Value,
    /// When it was named first.
    pub created_at: DateTime,
    /// When a file last named it.
    pub updated_at: DateTime,
    /// DAGs that are scheduled on it.
    pub scheduled_dags: Vec<AssetDag>,
    /// Tasks that bring it up to date.
    pub producing_tasks: Vec<AssetTask>,
    /// Tasks that say that they read it.
    pub consuming_tasks: Vec<AssetTask>,
    /// Aliases by which tasks named it.
    pub aliases: Vec<String>,
    /// Always empty: what watches an asset is said by the files of the DAGs that are scheduled on it.
    pub watchers: Vec<String>,
    /// Its last event.
    pub last_asset_event: Option<LastAssetEvent>,
}

/// A DAG that is scheduled on an asset.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetDag {
    /// The DAG that is scheduled on the asset.
    pub dag_id: String,
}

/// A task that has an asset as an outlet or inlet.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetTask {
    /// Of which DAG.
    pub dag_id: String,
    /// The task that brings the asset up to date.
    pub task_id: String,
}

/// The last event of an asset.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastAssetEvent {
    /// The number of the newest event.
    pub id: u64,
    /// When the asset was brought up to date.
    pub timestamp: DateTime,
}

/// Events of assets, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetEventCollection {
    /// The events of this page, as asked for.
    pub asset_events: Vec<AssetEventResponse>,
    /// How many there are over all pages, or at least are where `dagbok.total_is_exact` is false.
    pub total_entries: usize,
    /// How exact this is.
    pub dagbok: ListExtra,
}

/// Aliases, by their names.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetAliasCollection {
    /// The aliases of this page.
    pub asset_aliases: Vec<AssetAlias>,
    /// How many aliases there are over all pages.
    pub total_entries: usize,
}

/// A name that tasks give to assets when they run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetAlias {
    /// The number that the API knows the alias by.
    pub id: u32,
    /// What tasks and DAGs call it.
    pub name: String,
    /// What kind it is: always `asset`.
    pub group: String,
}

/// An asset was brought up to date.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssetEventResponse {
    /// The number of the event.
    pub id: u64,
    /// The asset's number.
    pub asset_id: u32,
    /// The asset's uri.
    pub uri: String,
    /// The asset's name.
    pub name: String,
    /// What kind of asset it is.
    pub group: String,
    /// What was said with it.
    #[schema(value_type = Object)]
    pub extra: serde_json::Value,
    /// The task that did it; null where somebody outside said so.
    pub source_task_id: Option<String>,
    /// The DAG of the task that brought the asset up to date.
    pub source_dag_id: Option<String>,
    /// The run of the task that brought the asset up to date.
    pub source_run_id: Option<String>,
    /// Which copy of it; -1 where it is not mapped.
    pub source_map_index: i32,
    /// The aliases by which the task named the asset.
    pub source_aliases: Vec<String>,
    /// Which partition of the asset; null where it is not partitioned.
    #[serde(default)]
    pub partition_key: Option<String>,
    /// DAGs scheduled on partitions for which it counts for none, each with why.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub dagbok_refused: std::collections::BTreeMap<String, String>,
    /// The runs that it made, with others.
    pub created_dagruns: Vec<CreatedRun>,
    /// When the asset was brought up to date.
    pub timestamp: DateTime,
}

/// A run that events of assets made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedRun {
    /// The run that the event made, or helped to make.
    pub run_id: String,
    /// Of which DAG.
    pub dag_id: String,
    /// What it stands for; none in the newer era.
    pub logical_date: Option<DateTime>,
    /// When it began.
    pub start_date: Option<DateTime>,
    /// When it was over.
    pub end_date: Option<DateTime>,
    /// How the run stands.
    pub state: String,
    /// Where the data begins that it covers.
    pub data_interval_start: Option<DateTime>,
    /// Where that ends.
    pub data_interval_end: Option<DateTime>,
}

/// Says that an asset is up to date.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAssetEvent {
    /// Which, by its number.
    pub asset_id: u32,
    /// What is said with it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub extra: Option<serde_json::Map<String, serde_json::Value>>,
    /// Which partition of the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// Assets that are up to date and wait for the others that a DAG needs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedEventCollection {
    /// All of them.
    pub queued_events: Vec<QueuedEvent>,
    /// How many events are queued.
    pub total_entries: usize,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedEvent {
    /// The DAG that waits.
    pub dag_id: String,
    /// The asset's number.
    pub asset_id: u32,
    /// Since when it is up to date.
    pub created_at: DateTime,
    /// The DAG's name for people.
    pub dag_display_name: String,
}
