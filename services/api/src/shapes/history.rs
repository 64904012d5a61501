//! Changing history: what is asked, and what it came to.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DateTime, RunResponse};

/// Says how a run ended, and why.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunMarkBody {
    /// `success` or `failed`.
    pub state: String,
    /// Why, for whoever asks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Asks for tasks of a run to run again, with what was ruled out downstream of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "Airflow has them")]
pub struct RunClear {
    /// Only tasks that failed, or were ruled out by a failure.
    #[serde(default)]
    pub only_failed: bool,
    /// Only these tasks: ids, with all of their copies, or pairs of an id and a map index; all where there is none.
    #[serde(default)]
    pub task_ids: Vec<TaskOrCopy>,
    /// Only those of which a try is in flight.
    #[serde(default)]
    pub only_running: bool,
    /// All that is upstream of them, too.
    #[serde(default)]
    pub include_upstream: bool,
    /// All that is downstream of them, too.
    #[serde(default)]
    pub include_downstream: bool,
    /// The same of all runs of later logical dates.
    #[serde(default)]
    pub include_future: bool,
    /// The same of all runs of earlier logical dates.
    #[serde(default)]
    pub include_past: bool,
    /// Let the run, which must be over, go on with the newest version of its DAG: tasks that it adds run too, those that
    /// it no longer has are `removed`.
    #[serde(default)]
    pub run_on_latest_version: bool,
    /// End the tries of those that run; else nothing is cleared while one does.
    #[serde(default)]
    pub kill: bool,
    /// Why, for whoever asks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would be cleared.
    #[serde(default)]
    pub dry_run: bool,
}

/// Asks for tasks of one run, or of the runs of some dates, to run again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "Airflow has them")]
pub struct ClearTaskInstances {
    /// Only say what would be cleared.
    pub dry_run: bool,
    /// Runs from this logical date on.
    #[schema(value_type = Option<DateTime>)]
    pub start_date: Option<String>,
    /// Runs up to this logical date.
    #[schema(value_type = Option<DateTime>)]
    pub end_date: Option<String>,
    /// Only tasks that failed, or were ruled out by a failure.
    pub only_failed: bool,
    /// Only tasks of which a try is in flight.
    pub only_running: bool,
    /// Must be true: runs that are over go on.
    pub reset_dag_runs: bool,
    /// Ids of tasks, with all of their copies, or pairs of an id and a map index; all where not said.
    pub task_ids: Option<Vec<TaskOrCopy>>,
    /// Of this run; else of those of the dates.
    pub dag_run_id: Option<String>,
    /// All that is upstream of them, too.
    pub include_upstream: bool,
    /// All that is downstream of them, too.
    pub include_downstream: bool,
    /// The same of all runs of later logical dates.
    pub include_future: bool,
    /// The same of all runs of earlier logical dates.
    pub include_past: bool,
    /// Let the runs, which must be over, go on with the newest version of their DAG: tasks that it adds run too, those
    /// that it no longer has are `removed`. Otherwise, and where not said, they keep their own.
    pub run_on_latest_version: Option<bool>,
    /// Clear nothing while one of them runs; else its try is ended, and it begins anew.
    pub prevent_running_task: bool,
    /// Why; kept as the reason.
    pub note: Option<String>,
}

impl Default for ClearTaskInstances {
    fn default() -> Self {
        Self {
            dry_run: true,
            start_date: None,
            end_date: None,
            only_failed: true,
            only_running: false,
            reset_dag_runs: true,
            task_ids: None,
            dag_run_id: None,
            include_upstream: false,
            include_downstream: false,
            include_future: false,
            include_past: false,
            run_on_latest_version: None,
            prevent_running_task: false,
            note: None,
        }
    }
}

/// Asks for a whole run to run again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunClearBody {
    /// Only say what would be cleared; so where not said.
    #[serde(default = "yes")]
    pub dry_run: bool,
    /// Only tasks that failed, or were ruled out by a failure.
    #[serde(default)]
    pub only_failed: bool,
    /// Let the run, which must be over, go on with the newest version of its DAG: tasks that it adds run too, those that
    /// it no longer has are `removed`. Otherwise, and where not said, it keeps its own.
    #[serde(default)]
    pub run_on_latest_version: Option<bool>,
    /// Why; kept as the reason.
    #[serde(default)]
    pub note: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Says how a task ended, or notes something of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "Airflow has them")]
pub struct TaskInstancePatch {
    /// `success`, `failed` or `skipped`; nothing where only the note is to be another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_state: Option<String>,
    /// A note on it, which is also why it has a new state where no reason says so; an empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it has a new state, for people. Airflow has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// All that is upstream of it, too.
    #[serde(default)]
    pub include_upstream: bool,
    /// All that is downstream of it, too, but for teardowns.
    #[serde(default)]
    pub include_downstream: bool,
    /// The same of all runs of later logical dates.
    #[serde(default)]
    pub include_future: bool,
    /// The same of all runs of earlier logical dates.
    #[serde(default)]
    pub include_past: bool,
}

/// Copies of a task that stood the same before.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskWasCount {
    /// Airflow's state; `none` for none.
    pub state: String,
    /// How many of them.
    pub count: u32,
}

/// What somebody changed of a task's history.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskChange {
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Which copy of a mapped task; -1 for one that is not mapped.
    pub map_index: i32,
    /// How many further copies, by the indexes after this one.
    pub further: u32,
    /// `cleared`, `noted`; `added` or `removed` by another version; or as what it was marked: `success`, `failed`,
    /// `skipped`.
    pub change: String,
    /// How they stood before, in order.
    pub was: Vec<TaskWasCount>,
    /// Its note from then on, where that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its note before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_was: Option<String>,
}

/// What somebody changed of a run's history, in one decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunChange {
    /// The record that says so.
    pub seq: u64,
    /// When it was decided.
    pub timestamp: DateTime,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// What became of the run: `cleared`, `cancelled`, or as what it was marked: `success`, `failed`.
    pub run: Option<String>,
    /// How the run stood before.
    pub was: Option<String>,
    /// The version of its DAG that it went on with, where that was another.
    #[serde(default)]
    pub version: Option<u32>,
    /// The version before.
    #[serde(default)]
    pub version_was: Option<u32>,
    /// Its note from then on, where that was changed.
    pub note: Option<String>,
    /// Its note before.
    pub note_was: Option<String>,
    /// The tasks, the first of them.
    pub tasks: Vec<TaskChange>,
    /// How many more entries there were.
    pub more: u32,
}

/// What people changed of a run's history, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunChangeCollection {
    /// One for each record that changed something.
    pub changes: Vec<RunChange>,
    /// How many there are.
    pub total_entries: usize,
}

/// Another run of which tasks are cleared, or would be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OtherCleared {
    /// Its id, unique in the DAG.
    pub dag_run_id: String,
    /// Whether the run was over, and is queued again by this.
    pub run_goes_on: bool,
    /// The tasks, in the DAG's order.
    pub tasks: Vec<Cleared>,
    /// The version that it goes on with, or would, where that is another.
    #[serde(default)]
    pub version: Option<RunVersionChange>,
    /// Until when what its tasks handed on was kept, where some of it is forgotten by `retention.xcoms`: whoever asks
    /// for that fails, so clear those who handed it on as well.
    #[serde(default)]
    pub xcoms_kept_until: Option<DateTime>,
}

/// What another version of its DAG makes of a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunVersionChange {
    /// The version before.
    pub from: u32,
    /// The version after.
    pub to: u32,
    /// The code after.
    pub bundle_version: String,
    /// What comes anew, and runs, in the DAG's order: tasks, and further copies of mapped ones.
    pub added: Vec<Cleared>,
    /// What is `removed`, in the order of the DAG as it was.
    pub removed: Vec<Cleared>,
}

/// A task, or one copy of it, as Airflow names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a task id, or [task id, map index]")]
pub enum TaskOrCopy {
    /// A task's id.
    Task(String),
    /// A task's id, and which copy.
    Copy(String, i32),
}

/// A task that is cleared, or would be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cleared {
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Which copy of a mapped task; -1 for one that is not mapped.
    pub map_index: i32,
    /// How many further copies, by the indexes after this one.
    pub further: u32,
    /// How they stand, or stood, in order.
    #[serde(default)]
    pub was: Vec<TaskWasCount>,
}

/// What is cleared, or would be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunCleared {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Whether the run was over, and is queued again by this.
    pub run_goes_on: bool,
    /// The tasks, in the DAG's order.
    pub tasks: Vec<Cleared>,
    /// The version that the run goes on with, or would, where that is another.
    #[serde(default)]
    pub version: Option<RunVersionChange>,
    /// Until when what its tasks handed on was kept, where some of it is forgotten by `retention.xcoms`: whoever asks
    /// for that fails, so clear those who handed it on as well.
    #[serde(default)]
    pub xcoms_kept_until: Option<DateTime>,
    /// Those of other runs, by their logical dates.
    #[serde(default)]
    pub others: Vec<OtherCleared>,
    /// The run as it is now.
    pub dag_run: RunResponse,
}
