//! The list of DAGs, and one DAG with its grid.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{DateTime, NotCarriedOut, PausedWhy};

/// A page of the list of DAGs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiDags {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// How many there are that are asked for.
    pub total: usize,
    /// How many of those come before this page.
    pub offset: usize,
    /// Those of this page, in order.
    pub dags: Vec<UiDagRow>,
}

/// A DAG in the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiDagRow {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Its name for people, where it has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether no new runs are made.
    pub paused: bool,
    /// Whether it went out of its file.
    pub stale: bool,
    /// Whether its file can't be read now.
    pub import_error: bool,
    /// Its schedule as the file has it; left out where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Its schedule in words.
    pub schedule_words: String,
    /// When its next run is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<DateTime>,
    /// Whose it is.
    pub owner: String,
    /// Tags that its file gives it.
    pub tags: Vec<String>,
    /// Its runs by state, all that there are.
    pub runs: BTreeMap<String, u64>,
    /// Its last runs, the newest last, at most 14.
    pub last: Vec<UiLastRun>,
    /// The middle of how long those took that succeeded, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// How much longer the newest of them took, in hundredths of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<i32>,
}

/// A run as a bar.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiLastRun {
    /// Id of the run.
    pub run_id: String,
    /// State of the run, in Airflow's word.
    pub state: String,
    /// How long it took, in seconds; left out while it runs, so that time alone changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// When it could begin at the earliest.
    pub run_after: DateTime,
}

/// A DAG with its grid.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiDag {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// What the list has of it.
    pub dag: UiDagRow,
    /// One line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// The meaning that new runs get.
    pub version: u32,
    /// When that was registered.
    pub registered_at: DateTime,
    /// The file, within the DAG folder.
    pub file: String,
    /// The line in it, from 1; 0 where unknown.
    pub line: u32,
    /// Time zone of the schedule.
    pub timezone: String,
    /// Runs that may run at once.
    pub max_active_runs: u32,
    /// Tries that may be in flight at once.
    pub max_active_tasks: u32,
    /// Whether runs that were missed are made up for.
    pub catchup: bool,
    /// Since when it is paused, by whom and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PausedWhy>,
    /// What its file asks for and nobody carries out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_carried_out: Vec<NotCarriedOut>,
    /// What a run can be given.
    pub params: Vec<UiParam>,
    /// Whether a run may stand for a partition, so that a key of one may be said where it is triggered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_partition: bool,
    /// The newest run's conf, where it had one of its own: offered when the next is triggered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub last_conf: Option<Value>,
    /// The grid's rows, in the order of the file; upstreams come before downstreams.
    pub tasks: Vec<UiGridTask>,
    /// The grid's columns by run id.
    pub columns: BTreeMap<String, UiColumn>,
    /// Run ids in the order of the columns: the newest last.
    pub order: Vec<String>,
    /// Runs that there are, over all.
    pub total_runs: u64,
}

/// A row of the grid.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiGridTask {
    /// Id of the task.
    pub task_id: String,
    /// The group that it stands in, with the groups around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The operator's class.
    pub operator: String,
    /// Whether it is mapped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
    /// Places of its direct upstreams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<u32>,
}

/// A column of the grid: a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiColumn {
    /// State of the run, in Airflow's word.
    pub state: String,
    /// `manual`, `scheduled`, `backfill`, `asset_triggered`.
    pub run_type: String,
    /// What it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// When it could begin at the earliest.
    pub run_after: DateTime,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime>,
    /// The meaning that it runs.
    pub version: u32,
    /// Who made it.
    pub by: String,
    /// Two hexadecimal digits for each row: the state's place in `none`, `scheduled`, `queued`, `running`, `success`,
    /// `failed`, `up_for_retry`, `skipped`, `upstream_failed`, `removed`, `up_for_reschedule`, `cleared`, or `f` where the run
    /// has no such task; then the newest try, at most 15. Of a mapped task the state that matters most.
    pub cells: String,
}

/// Something that a run can be given.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiParam {
    /// Name of the param, as conf has it.
    pub name: String,
    /// What it is where a run is given nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub default: Option<Value>,
    /// Its JSON schema, where its file has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// Whether a run must be given it.
    pub required: bool,
}
