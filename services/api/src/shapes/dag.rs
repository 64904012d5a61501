//! DAGs, their versions and their tasks.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// A DAG.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "Airflow has them")]
pub struct DagResponse {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Its name for people.
    pub dag_display_name: String,
    /// Whether no new runs are made.
    pub is_paused: bool,
    /// Whether it is no longer in its file.
    pub is_stale: bool,
    /// When its meaning was last registered.
    pub last_parsed_time: Option<DateTime>,
    /// Always null.
    pub last_parse_duration: Option<f64>,
    /// Always null.
    pub last_expired: Option<DateTime>,
    /// Always `dags`.
    pub bundle_name: Option<String>,
    /// Digest of the code that new runs get.
    pub bundle_version: Option<String>,
    /// Its file within the DAG folder.
    pub relative_fileloc: Option<String>,
    /// Path of the DAG's file in the DAG folder.
    pub fileloc: String,
    /// One line.
    pub description: Option<String>,
    /// Its schedule, as it was written.
    pub timetable_summary: Option<String>,
    /// The rule and its time zone.
    pub timetable_description: Option<String>,
    /// Always false.
    pub timetable_partitioned: bool,
    /// Whether the schedule repeats.
    pub timetable_periodic: bool,
    /// Labels to find the DAG by.
    pub tags: Vec<DagTag>,
    /// Tries that may be in flight at once, over all its runs.
    pub max_active_tasks: u32,
    /// Runs that may be running at once.
    pub max_active_runs: Option<u32>,
    /// It is paused once so many of its newest runs have failed, all of them; 0 for never.
    pub max_consecutive_failed_dag_runs: u32,
    /// Always false.
    pub has_task_concurrency_limits: bool,
    /// Whether its file can't be read now.
    pub has_import_errors: bool,
    /// The logical date of the run that the schedule promises next.
    pub next_dagrun_logical_date: Option<DateTime>,
    /// Where that run's data begins.
    pub next_dagrun_data_interval_start: Option<DateTime>,
    /// Where that run's data ends.
    pub next_dagrun_data_interval_end: Option<DateTime>,
    /// When that run is due.
    pub next_dagrun_run_after: Option<DateTime>,
    /// Always null: all of them.
    pub allowed_run_types: Option<Vec<String>>,
    /// Owners of its tasks, without repetition.
    pub owners: Vec<String>,
    /// Whether it has a schedule to fill up.
    pub is_backfillable: bool,
    /// Its file within the DAG folder.
    pub file_token: String,
    /// What Airflow has no word for.
    pub dagbok: DagExtra,
}

/// What Dagbok says of a DAG beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagExtra {
    /// Which meaning new runs get; rises by one with each.
    pub version: u32,
    /// Hash of that meaning.
    pub spec_digest: String,
    /// Where in the file it is made, from 1; 0 where unknown.
    pub line: u32,
    /// Its runs by state.
    pub runs: BTreeMap<String, u64>,
    /// Its last run.
    pub last_run: Option<LastRun>,
    /// The run that the schedule promises next.
    pub expected: Option<ExpectedRun>,
    /// The promises that were broken last.
    pub missed: Option<MissedRuns>,
    /// Since when it is paused, by whom and why; null where it is not, or was from the beginning.
    pub paused: Option<PausedWhy>,
    /// What its file asks for and nobody carries out.
    pub not_carried_out: Vec<NotCarriedOut>,
}

/// Something that a DAG file asks for and that has no effect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotCarriedOut {
    /// In a sentence.
    pub what: String,
    /// The first task that asks for it; null where the DAG itself does.
    pub task_id: Option<String>,
    /// How many more tasks ask for it.
    pub more: u32,
    /// The line that asks for it first, from 1; 0 where unknown.
    pub line: u32,
}

impl From<&dagbok_events::NotCarriedOut> for NotCarriedOut {
    fn from(it: &dagbok_events::NotCarriedOut) -> Self {
        Self {
            what: it.what.clone(),
            task_id: it.task_id.as_ref().map(ToString::to_string),
            more: it.more,
            line: it.line,
        }
    }
}

/// A DAG's last run, in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// State of the runs that are counted.
    pub state: String,
    /// No run stands for an earlier date than this.
    pub start_date: Option<DateTime>,
    /// No run stands for a later date than this.
    pub end_date: Option<DateTime>,
}

/// A run that the schedule promises.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExpectedRun {
    /// What it will stand for.
    pub logical_date: Option<DateTime>,
    /// When it should be made.
    pub due: Option<DateTime>,
    /// How much later is still in order, in seconds.
    pub grace: f64,
    /// Who is to be told.
    pub owner: String,
}

/// The runs that a DAG's schedule promises, as the log says: nothing is computed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExpectedRunCollection {
    /// In order.
    pub expected_runs: Vec<PromisedRun>,
    /// How many are promised: a day ahead or the next five, whichever is more, but at most one for each minute of a
    /// day, and somewhat beyond.
    pub total_entries: usize,
    /// Whether the DAG is paused, so that none is made.
    pub is_paused: bool,
}

/// A run that a schedule promises.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PromisedRun {
    /// What it will stand for.
    pub logical_date: DateTime,
    /// Where the data begins that it will cover.
    pub data_interval_start: DateTime,
    /// Where that ends.
    pub data_interval_end: DateTime,
    /// When it is due.
    pub run_after: DateTime,
}

/// What a paused DAG would make, were it not paused any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnpausePreview {
    /// The DAG that would be unpaused.
    pub dag_id: String,
    /// How many runs at once, since they are due; at most 10,000 are counted.
    pub runs: u32,
    /// The first one's logical date.
    pub first_logical_date: Option<DateTime>,
    /// The last one's; null where there are too many to count.
    pub last_logical_date: Option<DateTime>,
    /// When the next one after those is due; null where there is none, or too many to count.
    pub next_run_after: Option<DateTime>,
}

/// Runs that were promised and did not happen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MissedRuns {
    /// The first one's logical date.
    pub first: DateTime,
    /// The last one's.
    pub last: DateTime,
    /// How many runs are in that state.
    pub count: u32,
    /// Why: `paused`, `no_scheduler`, `schedule_changed`, `too_many_active`, `made_by_hand`.
    pub why: String,
    /// When that was found.
    pub at: DateTime,
}

/// Why a DAG is paused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedWhy {
    /// Since when.
    pub since: DateTime,
    /// Who paused it: `scheduler` where its newest runs had failed.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Its newest runs, which all failed, newest first: why the scheduler paused it
    /// (`max_consecutive_failed_dag_runs`). Empty where somebody else did.
    pub failed_runs: Vec<String>,
}

/// A tag of a DAG.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagTag {
    /// The label itself.
    pub name: String,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Its name for people.
    pub dag_display_name: String,
}

/// A page of DAGs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagCollection {
    /// The entries of this page.
    pub dags: Vec<DagResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// A DAG with all that is said of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagDetails {
    /// What lists say of it.
    #[serde(flatten)]
    pub dag: DagResponse,
    /// Whether runs that were missed are made up for.
    pub catchup: bool,
    /// A run older than this fails: an ISO 8601 duration.
    pub dag_run_timeout: Option<String>,
    /// The assets that it is scheduled on, as Airflow writes it: `all` or `any` of `asset`, `alias`, `asset_ref`.
    pub asset_expression: Option<serde_json::Value>,
    /// Markdown.
    pub doc_md: Option<String>,
    /// First instant that a scheduled run may stand for.
    pub start_date: Option<DateTime>,
    /// Last instant that a scheduled run may stand for.
    pub end_date: Option<DateTime>,
    /// Whether it started paused; null leaves it to the configuration.
    pub is_paused_upon_creation: Option<bool>,
    /// Default parameters.
    #[schema(value_type = Option<Object>)]
    pub params: Option<serde_json::Value>,
    /// Always false.
    pub render_template_as_native_obj: bool,
    /// Always null.
    pub template_search_path: Option<Vec<String>>,
    /// Its time zone.
    pub timezone: Option<String>,
    /// When its meaning was last registered.
    pub last_parsed: Option<DateTime>,
    /// Always null.
    pub default_args: Option<serde_json::Value>,
    /// Always null.
    pub rerun_with_latest_version: Option<bool>,
    /// Always null.
    pub owner_links: Option<serde_json::Value>,
    /// Always false.
    pub is_favorite: bool,
    /// Runs that are queued or running.
    pub active_runs_count: u64,
    /// The same as `max_active_tasks`.
    pub concurrency: u32,
    /// The meaning that new runs get.
    pub latest_dag_version: Option<DagVersionInfo>,
}

/// Asks for a change of a DAG.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DagPatch {
    /// Whether no new runs are to be made.
    pub is_paused: bool,
}

/// One meaning of a DAG.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagVersionInfo {
    /// A UUID.
    pub id: String,
    /// Counts from 1.
    pub version_number: u32,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Always `dags`.
    pub bundle_name: Option<String>,
    /// Digest of the code that it was read from.
    pub bundle_version: Option<String>,
    /// When it was registered.
    pub created_at: DateTime,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// Always null.
    pub bundle_url: Option<String>,
}

/// A page of a DAG's versions.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagVersionCollection {
    /// The entries of this page.
    pub dag_versions: Vec<DagVersionInfo>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// The text of a DAG's file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagSource {
    /// The text; of a file beyond a mebibyte its first.
    pub content: Option<String>,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// The version that was read from it; counts from 1.
    pub version_number: u32,
    /// The DAG's name for people.
    pub dag_display_name: String,
}

/// A length of time, as Airflow's task serialiser writes it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TimeDelta {
    /// Always `TimeDelta`.
    #[serde(rename = "__type")]
    pub kind: String,
    /// Whole days.
    pub days: i64,
    /// Seconds beyond them.
    pub seconds: i64,
    /// Microseconds beyond those.
    pub microseconds: i64,
}

/// A task of a DAG.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskInfo {
    /// Id of the task, unique within its DAG.
    pub task_id: Option<String>,
    /// Its name for people.
    pub task_display_name: Option<String>,
    /// Who answers for the task, as its file says.
    pub owner: Option<String>,
    /// No run stands for an earlier date than this.
    pub start_date: Option<DateTime>,
    /// No run stands for a later date than this.
    pub end_date: Option<DateTime>,
    /// When upstream states let it run.
    pub trigger_rule: Option<String>,
    /// Always false.
    pub depends_on_past: bool,
    /// Always false.
    pub wait_for_downstream: bool,
    /// Extra tries after the first.
    pub retries: Option<f64>,
    /// Which executors may pull it.
    pub queue: Option<String>,
    /// Where its slots come from.
    pub pool: Option<String>,
    /// How many of its pool's slots a try takes.
    pub pool_slots: Option<f64>,
    /// A try that takes longer fails.
    pub execution_timeout: Option<TimeDelta>,
    /// Wait before a retry.
    pub retry_delay: Option<TimeDelta>,
    /// Multiplies the wait for each further retry; 0 keeps it the same.
    pub retry_exponential_backoff: f64,
    /// Higher goes first.
    pub priority_weight: Option<f64>,
    /// Always null: `priority_weight` is the effective one.
    pub weight_rule: Option<String>,
    /// Always null.
    pub ui_color: Option<String>,
    /// Always null.
    pub ui_fgcolor: Option<String>,
    /// Always null.
    pub template_fields: Option<Vec<String>>,
    /// Direct downstreams, sorted.
    pub downstream_task_ids: Option<Vec<String>>,
    /// Markdown.
    pub doc_md: Option<String>,
    /// The operator's class.
    pub operator_name: Option<String>,
    /// Always null.
    pub params: Option<serde_json::Value>,
    /// `class_name` alone.
    #[schema(value_type = Option<Object>)]
    pub class_ref: Option<serde_json::Value>,
    /// Whether it is expanded over its inputs.
    pub is_mapped: Option<bool>,
    /// Always empty.
    pub extra_links: Vec<String>,
    /// What Airflow has no word for.
    pub dagbok: TaskExtra,
}

/// What Dagbok says of a task beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskExtra {
    /// Direct upstreams, sorted.
    pub upstream_task_ids: Vec<String>,
    /// The group it stands in, with the groups around it.
    pub group: Option<String>,
}

/// A DAG's tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskCollection {
    /// All of them.
    pub tasks: Vec<TaskInfo>,
    /// How many entries there are on all pages together.
    pub total_entries: usize,
}
