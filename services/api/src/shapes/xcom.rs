//! Values that tasks handed on.
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DateTime, ListExtra};

/// A value, without itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct XComEntry {
    /// Name of the value; `return_value` for what the task returned.
    pub key: String,
    /// When it was handed on.
    pub timestamp: DateTime,
    /// What the run stands for.
    pub logical_date: Option<DateTime>,
    /// Which copy of the task.
    pub map_index: i32,
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub run_id: String,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// Name of the task for people; its id where it has none.
    pub task_display_name: String,
    /// When the run could begin at the earliest.
    pub run_after: DateTime,
}

/// A value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct XComValue {
    /// Whose and when.
    #[serde(flatten)]
    pub entry: XComEntry,
    /// The value; its JSON as text where `stringify` was asked for.
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
}

/// A page of values.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct XComCollection {
    /// The entries of this page.
    pub xcom_entries: Vec<XComEntry>,
    /// How many there are over all pages, or at least are where `dagbok.total_is_exact` is false.
    pub total_entries: usize,
    /// Until when values were kept that are forgotten by `retention.xcoms` and stand in no entry; none where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<DateTime>,
    /// What Airflow has no word for.
    #[serde(default)]
    pub dagbok: ListExtra,
}
