//! What tasks ask people, in the words of Airflow's API; and partitions that wait.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{DateTime, ListExtra, TaskInstance};

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HitlUserShape {
    /// By which the API knows who asks.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What a task asks people, and the answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HitlDetail {
    /// The task that asks.
    pub task_instance: TaskInstance,
    /// What may be chosen.
    pub options: Vec<String>,
    /// The question in a line.
    pub subject: String,
    /// More about it, in Markdown.
    pub body: Option<String>,
    /// What counts as chosen once the time is up.
    pub defaults: Option<Vec<String>>,
    /// Whether more than one may be chosen.
    pub multiple: bool,
    /// Fields to be filled in, by name, each with `value`, `description` and `schema`.
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Who may answer; everybody where nobody is named.
    pub assigned_users: Vec<HitlUserShape>,
    /// When it was asked.
    pub created_at: DateTime,
    /// Who answered; null where nobody did, be it that the time was up.
    pub responded_by_user: Option<HitlUserShape>,
    /// When it was answered.
    pub responded_at: Option<DateTime>,
    /// What was chosen.
    pub chosen_options: Option<Vec<String>>,
    /// What the fields were filled in with.
    #[schema(value_type = Object)]
    pub params_input: Map<String, Value>,
    /// Whether there is an answer, be it that of the time that was up.
    pub response_received: bool,
    /// What Airflow has no word for.
    pub dagbok: HitlExtra,
}

/// What Dagbok says of a question beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HitlExtra {
    /// Which try asks.
    pub try_number: u16,
    /// When its time is up; null where it has as long as it takes.
    pub timeout_at: Option<DateTime>,
    /// Whether the task waits for an answer now.
    pub is_open: bool,
}

/// A page of questions.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HitlDetailCollection {
    /// The entries of this page.
    pub hitl_details: Vec<HitlDetail>,
    /// How many there are over all pages, or at least are where `dagbok.total_is_exact` is false.
    pub total_entries: usize,
    /// How exact this is.
    pub dagbok: ListExtra,
}

/// An answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateHitlDetailPayload {
    /// What is chosen; at least one.
    pub chosen_options: Vec<String>,
    /// What the fields are filled in with, by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params_input: Map<String, Value>,
}

/// What became of an answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HitlDetailResponse {
    /// The person whose answer was taken.
    pub responded_by: HitlUserShape,
    /// When the answer was taken.
    pub responded_at: DateTime,
    /// What was chosen.
    pub chosen_options: Vec<String>,
    /// What the fields were filled in with.
    #[schema(value_type = Object)]
    pub params_input: Map<String, Value>,
}

/// Partitions of a DAG that wait for their runs, the oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingPartitionCollection {
    /// The oldest, up to fifty.
    pub partitioned_dag_runs: Vec<PendingPartition>,
    /// How many there are in all.
    pub total: usize,
    /// How many were let go so far, since too many waited.
    pub dropped: u64,
    /// How many of their events were let go so far, since there were too many or they took too much.
    pub events_dropped: u64,
}

/// A partition that waits for its run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingPartition {
    /// Of which DAG.
    pub dag_id: String,
    /// The partition that waits for more events.
    pub partition_key: String,
    /// When the first event came that counts for it.
    pub created_at: DateTime,
    /// When the last one did.
    pub updated_at: DateTime,
    /// Assets of which it has enough.
    pub total_received: u32,
    /// Assets that the DAG waits for.
    pub total_required: u32,
    /// Each of those.
    pub assets: Vec<PendingPartitionAsset>,
}

/// What a partition has of one asset.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingPartitionAsset {
    /// The asset's name, or what it is referred to by.
    pub asset_name: String,
    /// Its uri, where that is known.
    pub asset_uri: Option<String>,
    /// Whether that is enough of it.
    pub received: bool,
    /// How many of its keys came.
    pub received_count: u32,
    /// How many there are of those that make the partition.
    pub required_count: u32,
    /// Keys that came, up to ten.
    pub received_keys: Vec<String>,
    /// Keys that did not, up to ten.
    pub missing_keys: Vec<String>,
    /// Whether several keys of it make one partition.
    pub is_rollup: bool,
    /// Why it can never be enough; null where it can.
    pub fault: Option<String>,
}
