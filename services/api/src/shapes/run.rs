//! Runs.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DagVersionInfo, DateTime};

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunResponse {
    /// Its id, unique in the DAG.
    pub dag_run_id: String,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// What it stands for.
    pub logical_date: Option<DateTime>,
    /// When it was made.
    pub queued_at: Option<DateTime>,
    /// When it began.
    pub start_date: Option<DateTime>,
    /// When it was over.
    pub end_date: Option<DateTime>,
    /// From its beginning to its end, in seconds.
    pub duration: Option<f64>,
    /// Where its data begins.
    pub data_interval_start: Option<DateTime>,
    /// Where its data ends.
    pub data_interval_end: Option<DateTime>,
    /// Not before this.
    pub run_after: DateTime,
    /// When something was last decided about it.
    pub last_scheduling_decision: Option<DateTime>,
    /// `manual`, `scheduled`, `backfill`, `asset_triggered`.
    pub run_type: String,
    /// `queued`, `running`, `success`, `failed`.
    pub state: String,
    /// `rest_api`, `timetable`, `backfill`, `asset`.
    pub triggered_by: Option<String>,
    /// Who triggered it.
    pub triggering_user_name: Option<String>,
    /// What they passed along; null where it lies beside the log.
    #[schema(value_type = Option<Object>)]
    pub conf: Option<Box<RawValue>>,
    /// What they wrote.
    pub note: Option<String>,
    /// The meaning of the DAG that it runs.
    pub dag_versions: Vec<DagVersionInfo>,
    /// Digest of the code that it runs.
    pub bundle_version: Option<String>,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// The partition that it stands for.
    pub partition_key: Option<String>,
    /// When that begins, where its key tells of a time.
    pub partition_date: Option<DateTime>,
    /// What Airflow has no word for.
    pub dagbok: RunExtra,
}

/// What Dagbok says of a run beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunExtra {
    /// How many tasks the run has, copies of mapped ones counted.
    pub tasks: u32,
    /// Its tasks by state; those without one under `none`.
    pub counts: BTreeMap<String, u32>,
    /// How it ended: `tasks`, `timed_out`, `cancelled`, `marked`.
    pub ended: Option<String>,
    /// Who ended it, where somebody did.
    pub ended_by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// How long its DAG lets it take, in seconds; null where it does not say.
    pub dagrun_timeout: Option<f64>,
    /// Tasks that failed themselves, the first hundred.
    pub failed_tasks: Vec<String>,
    /// Reports about it that were refused.
    pub refused_reports: u32,
    /// Id of the backfill that it belongs to.
    #[serde(default)]
    pub backfill_id: Option<u64>,
    /// The sequence of the record that made it.
    pub created_seq: u64,
    /// The sequence of the last record about it.
    pub last_seq: u64,
}

/// A page of runs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunCollection {
    /// The entries of this page.
    pub dag_runs: Vec<RunResponse>,
    /// How many there are over all pages, or at least are where `dagbok.total_is_exact` is false.
    pub total_entries: usize,
    /// What Airflow has no word for.
    #[serde(default)]
    pub dagbok: RunListExtra,
}

/// How much the page of a list of runs stands for; see `ListExtra`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunListExtra {
    /// Whether `total_entries` is the whole number; there are at least that many where not.
    pub total_is_exact: bool,
    /// Whether the page has all that belongs on it; false where looking was broken off after 2,000 runs.
    pub complete: bool,
    /// Where it was broken off in the order of `run_after`: that of the last run that was looked at. The list goes on
    /// with it as `run_after_lte`, or `run_after_gte` where the oldest come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_to: Option<DateTime>,
}

impl Default for RunListExtra {
    fn default() -> Self {
        Self { total_is_exact: true, complete: true, looked_to: None }
    }
}

/// Asks for a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerBody {
    /// Its id; made from the date where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_run_id: Option<String>,
    /// What it stands for: RFC 3339 with an offset. Must be there, and may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, value_type = Option<DateTime>)]
    pub logical_date: Option<String>,
    /// Not supported yet: must be null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DateTime>)]
    pub data_interval_start: Option<String>,
    /// Not supported yet: must be null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DateTime>)]
    pub data_interval_end: Option<String>,
    /// Not supported yet: must be null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DateTime>)]
    pub run_after: Option<String>,
    /// A JSON object for its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub conf: Option<Box<RawValue>>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The partition that it stands for, of a DAG whose runs have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// Asks for a change of a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunPatch {
    /// `success`, `failed`, which ends it where it is not over, or `queued`, which lets all of it run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its note from now on; null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub note: Option<Option<String>>,
}

/// A field that is there, be it null.
#[expect(clippy::option_option, reason = "a field may be missing, null, or said")]
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Ends a run, and says why.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCancel {
    /// Why, for whoever asks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Lets runs go that are over: by the rules of the installation, or by those that are given here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Runs that ended longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<f64>,
    /// Of each DAG all finished runs but so many, those that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_runs: Option<u64>,
    /// Only of this DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_id: Option<String>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What of a DAG goes, or would.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PrunedDag {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Runs.
    pub runs: u64,
    /// Bytes of logs, large values and conf that nothing else need name: what goes with the next sweep.
    pub bytes: u64,
    /// When the first of them ended.
    pub first_end_date: Option<DateTime>,
    /// When the last of them ended.
    pub last_end_date: Option<DateTime>,
}

/// What went, or would.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pruned {
    /// Whether it was only asked.
    pub dry_run: bool,
    /// Runs that went, or would: one that was cleared meanwhile stays.
    pub runs: u64,
    /// Bytes, over all of `dags`.
    pub bytes: u64,
    /// By DAG.
    pub dags: Vec<PrunedDag>,
    /// Whether there are more than one request takes.
    pub more: bool,
    /// What is forgotten beside runs, by the installation's rules; nothing where others were given.
    #[serde(default)]
    pub forgotten: Forgotten,
    /// Files that nothing names by now, whatever goes with this: what a sweep finds. Only where it was only asked,
    /// and by the installation's rules.
    #[serde(default)]
    pub unnamed: Option<Unnamed>,
}

/// Logs, large values and code that lie in the blob store and that nothing names any more.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Unnamed {
    /// How many files of the blob store there are.
    pub of: u64,
    /// Those that nothing names, and that nobody has put for as long as they are kept then.
    pub blobs: u64,
    /// What these take, in bytes.
    pub bytes: u64,
}

/// What is forgotten beside runs, or would be. The log keeps its records of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// DAGs that no file defines any more, and that have no run left.
    pub dags: Vec<String>,
    /// Versions of DAGs that no run has.
    pub versions: u64,
    /// Executors that left.
    pub executors: u64,
    /// Reports that were refused.
    pub reports: u64,
    /// Backfills that were over.
    #[serde(default)]
    pub backfills: u64,
    /// What tries of runs wrote that stay.
    #[serde(default)]
    pub logs: ForgottenOfRuns,
    /// What tasks of runs handed on that stay.
    #[serde(default)]
    pub xcoms: ForgottenOfRuns,
}

/// What is forgotten of runs before they go themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgottenOfRuns {
    /// Of how many runs.
    pub runs: u64,
    /// What it takes beside the log, in bytes: what goes with the next sweep, where nothing else needs it.
    pub bytes: u64,
    /// Whether there are more runs than were counted.
    #[serde(default)]
    pub more: bool,
}

impl Forgotten {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        let Self { dags, versions, executors, reports, backfills, logs, xcoms } = self;
        let of_runs = logs.runs + xcoms.runs;
        dags.is_empty() && versions + executors + reports + backfills + of_runs == 0
    }
}

/// What became of waiting for a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunWait {
    /// Whether it is over; false where the time was up first.
    pub finished: bool,
    /// The run as it is.
    pub dag_run: RunResponse,
}
