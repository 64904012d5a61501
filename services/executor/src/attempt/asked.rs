//! What the process of a try asks for: the bodies of its requests, as the task protocol has them.
use dagbok_events::{AssetRef, Timestamp, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub(super) struct GetXCom {
    pub(super) key: String,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) map_index: Option<i32>,
    #[serde(default)]
    pub(super) include_prior_dates: bool,
}

#[derive(Deserialize)]
pub(super) struct SetXCom {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: Value,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) map_index: Option<i32>,
    /// How many copies of other tasks the value makes.
    #[serde(default)]
    pub(super) mapped_length: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct SetRenderedMapIndex {
    pub(super) rendered_map_index: String,
}

#[derive(Deserialize)]
pub(super) struct SetRenderedFields {
    pub(super) rendered_fields: Map<String, Value>,
}

/// What its operator read and wrote.
#[derive(Deserialize)]
pub(super) struct TaskLineage {
    pub(super) lineage: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct CallbackBegun {
    pub(super) callback: String,
}

#[derive(Deserialize)]
pub(super) struct CallbackFailed {
    pub(super) callback: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct MaskSecret {
    pub(super) forms: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct RescheduleTask {
    pub(super) reschedule_date: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct GetXComSequence {
    pub(super) key: String,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    /// How many values of it to pass over.
    #[serde(default)]
    pub(super) start: usize,
    /// The first that is not wanted any more.
    #[serde(default)]
    pub(super) stop: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct GetXComElement {
    pub(super) key: String,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) map_index: Option<i32>,
    /// Which element, from 0.
    pub(super) place: usize,
}

#[derive(Deserialize)]
pub(super) struct SkipDownstreamTasks {
    /// Ids, or ids with a map index, which follows from who decides.
    pub(super) tasks: Vec<Value>,
}

#[derive(Deserialize)]
pub(super) struct SucceedTask {
    /// Events of assets.
    #[serde(default)]
    pub(super) outlet_events: Vec<Outlet>,
    /// What the process has used; only where nothing but its own end is left to run.
    #[serde(default)]
    pub(super) used: Option<Usage>,
}

/// An asset by its name and uri, or what refers to one.
#[derive(Deserialize)]
pub(super) struct Outlet {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) uri: Option<String>,
    #[serde(default, rename = "ref")]
    pub(super) refers: Option<AssetRef>,
    #[serde(default)]
    pub(super) extra: Option<String>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) partition_key: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LastWord {
    pub(super) state: String,
}
