//! Task instances, their tries and their logs.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DagVersionInfo, DateTime, ListExtra};

/// A task of a run, with its newest try.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskInstance {
    /// A UUID.
    pub id: String,
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// Which copy; −1 where the task is not mapped.
    pub map_index: i32,
    /// What the run stands for.
    pub logical_date: Option<DateTime>,
    /// When the run could begin at the earliest.
    pub run_after: DateTime,
    /// When its newest try began.
    pub start_date: Option<DateTime>,
    /// When that was over.
    pub end_date: Option<DateTime>,
    /// From one to the other, in seconds.
    pub duration: Option<f64>,
    /// Airflow's state; null where it has none yet.
    pub state: Option<String>,
    /// The newest try's number; 0 before the first.
    pub try_number: u16,
    /// The number that the last try can have, less one, as in Airflow: the task's retries, and a try for
    /// each that used up none of them.
    pub max_tries: u16,
    /// Name of the task for people; its id where it has none.
    pub task_display_name: String,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// Where the try runs.
    pub hostname: Option<String>,
    /// Always null.
    pub unixname: Option<String>,
    /// Where its slots come from.
    pub pool: String,
    /// How many of its pool's slots a try takes.
    pub pool_slots: u32,
    /// Which executors may pull it.
    pub queue: Option<String>,
    /// Higher goes first.
    pub priority_weight: Option<i32>,
    /// The operator's class.
    pub operator: Option<String>,
    /// Name of the operator's class for people.
    pub operator_name: Option<String>,
    /// When the try was offered.
    pub queued_when: Option<DateTime>,
    /// When the try was decided on, which is when it was queued.
    pub scheduled_when: Option<DateTime>,
    /// Number of its process on the machine that ran it.
    pub pid: Option<u32>,
    /// Id of the executor that holds or held the try.
    pub executor: Option<String>,
    /// Always `{}`.
    pub executor_config: String,
    /// Always null.
    pub note: Option<String>,
    /// What people call this copy of a mapped task, by the task's `map_index_template`; null where it has none.
    pub rendered_map_index: Option<String>,
    /// Always empty.
    #[schema(value_type = Object)]
    pub rendered_fields: serde_json::Map<String, serde_json::Value>,
    /// Always null.
    pub trigger: Option<serde_json::Value>,
    /// Always null.
    pub triggerer_job: Option<serde_json::Value>,
    /// The meaning of the DAG that the run runs.
    pub dag_version: Option<DagVersionInfo>,
    /// What Airflow has no word for.
    pub dagbok: TaskInstanceExtra,
}

/// What Dagbok says of a try beyond Airflow's words.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TaskInstanceExtra {
    /// How the try ended: `succeeded`, `failed`, `skipped`, `lost`, `cancelled`, `returned`.
    pub ended: Option<String>,
    /// How it failed.
    pub failure: Option<TryFailure>,
    /// What it said when it skipped, or how it was found to be lost.
    pub message: Option<String>,
    /// When the next try is due.
    pub retry_at: Option<DateTime>,
    /// Memory and CPU time that its process took.
    pub usage: Option<TryUsage>,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    pub log: Option<TryLog>,
    /// Until when these were kept, where they are forgotten by `retention.logs`.
    #[serde(default)]
    pub log_kept_until: Option<DateTime>,
    /// Digests of what it saw, by name.
    pub inputs: BTreeMap<String, String>,
    /// Callbacks of the task that raised for this try, or could not be called.
    #[serde(default)]
    pub failed_callbacks: Vec<CallbackFailure>,
    /// How far it has come, by its own word; null where it said nothing of it.
    #[serde(default)]
    pub progress: Option<TryProgress>,
    /// What the task keeps for its next try; null where that is nothing, and of a try that is not the newest.
    #[serde(default)]
    pub checkpoint: Option<TaskCheckpoint>,
    /// The group that the task stands in.
    pub group: Option<String>,
    /// The sequence of the last record about it.
    pub last_seq: Option<u64>,
}

/// How far a try has come, as its code says by `ti.progress`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryProgress {
    /// How much is done, from 0 to 1.
    pub fraction: f64,
    /// What its code said of it; empty where that is nothing.
    pub text: String,
    /// When it said so. Not each of its words is kept: the newest is told a minute later at most.
    pub said_at: DateTime,
}

/// What a task keeps for its next try, by `ti.checkpoint`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskCheckpoint {
    /// How many files and links its directory has.
    pub files: u32,
    /// What they hold, in bytes.
    pub bytes: u64,
    /// How many values it has.
    pub keys: u32,
    /// They by their keys; null in lists.
    #[schema(value_type = Option<Object>)]
    pub values: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A callback of a task that failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallbackFailure {
    /// The argument that it was given by: `on_failure_callback` and its like.
    pub callback: String,
    /// What was raised, or what became of it.
    pub message: String,
}

/// A call of a DAG's callback.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagCallback {
    /// Which end of the run it is for, from 1; its log is that of this try of the task `__dag_callback__`.
    pub number: u16,
    /// `on_success_callback` or `on_failure_callback`.
    pub callback: String,
    /// What its context says as `reason`: `success`, `task_failure`, `timed_out`.
    pub reason: String,
    /// `queued`, `running`, `success`, `failed`, or `up_for_retry` where whoever called it is gone.
    pub state: String,
    /// How often it was ordered.
    pub attempts: u32,
    /// The task whose instance its context has.
    pub task_id: String,
    /// Which copy of that, where mapped; else -1.
    pub map_index: i32,
    /// When it was ordered last.
    pub ordered_when: DateTime,
    /// When it began.
    pub start_date: Option<DateTime>,
    /// When it was over.
    pub end_date: Option<DateTime>,
    /// Id of the executor that calls or called it.
    pub executor: Option<String>,
    /// How it failed.
    pub failure: Option<TryFailure>,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    pub log: Option<TryLog>,
    /// Until when these were kept, where they are forgotten by `retention.logs`.
    #[serde(default)]
    pub log_kept_until: Option<DateTime>,
}

/// The calls of a DAG's callbacks for one run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DagCallbackCollection {
    /// All of them, oldest first.
    pub callbacks: Vec<DagCallback>,
}

/// How a try failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryFailure {
    /// `exception`, `timeout`, `out_of_memory`, `signal`, `exit`, `import_error`, `could_not_start`, `executor`.
    pub kind: String,
    /// Whose it was: `user`, `system`, `data`.
    pub fault: String,
    /// One line.
    pub message: String,
    /// The exception's class.
    pub exception: Option<String>,
    /// The traceback, cut to the published limit.
    pub traceback: Option<String>,
    /// The file that it came from.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// The process' exit code.
    pub exit_code: Option<i32>,
    /// Whether another try could help.
    pub retryable: bool,
    /// How long the task's retry policy has the next try wait, in seconds; null where it says nothing.
    pub retry_delay: Option<f64>,
    /// Why the retry policy decided as it did.
    pub retry_reason: Option<String>,
}

/// What a try used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryUsage {
    /// Peak resident memory, in bytes.
    pub max_rss_bytes: u64,
    /// CPU time in user code, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
}

/// What a try wrote.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryLog {
    /// The blob's digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// Lines in it.
    pub lines: u64,
    /// Lines that the cap left out.
    pub dropped: u64,
}

/// A page of task instances.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskInstanceCollection {
    /// The entries of this page.
    pub task_instances: Vec<TaskInstance>,
    /// How many there are over all pages, or at least are where `dagbok.total_is_exact` is false.
    pub total_entries: usize,
    /// What Airflow has no word for.
    #[serde(default)]
    pub dagbok: ListExtra,
}

/// One try of a task instance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryInstance {
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    pub map_index: i32,
    /// When it began.
    pub start_date: Option<DateTime>,
    /// When it was over.
    pub end_date: Option<DateTime>,
    /// From one to the other, in seconds.
    pub duration: Option<f64>,
    /// The state that it is, or was left, in.
    pub state: Option<String>,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: u16,
    /// The task's retries.
    pub max_tries: u16,
    /// Name of the task for people; its id where it has none.
    pub task_display_name: String,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// Where it runs.
    pub hostname: Option<String>,
    /// Always null.
    pub unixname: Option<String>,
    /// Where its slots come from.
    pub pool: String,
    /// How many of its pool's slots a try takes.
    pub pool_slots: u32,
    /// Which executors may pull it.
    pub queue: Option<String>,
    /// Higher goes first.
    pub priority_weight: Option<i32>,
    /// The operator's class.
    pub operator: Option<String>,
    /// Name of the operator's class for people.
    pub operator_name: Option<String>,
    /// When it was offered.
    pub queued_when: Option<DateTime>,
    /// When the try was decided on, which is when it was queued.
    pub scheduled_when: Option<DateTime>,
    /// Number of its process on the machine that ran it.
    pub pid: Option<u32>,
    /// Id of the executor that holds or held the try.
    pub executor: Option<String>,
    /// Always `{}`.
    pub executor_config: String,
    /// The meaning of the DAG that the run runs.
    pub dag_version: Option<DagVersionInfo>,
    /// What Airflow has no word for.
    pub dagbok: TaskInstanceExtra,
}

/// Every try of a task instance, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryCollection {
    /// All of them.
    pub task_instances: Vec<TryInstance>,
    /// How many entries there are on all pages together.
    pub total_entries: usize,
}

/// One line of a try's log. Further fields are those that the try's logger added.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When the line was written, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DateTime>)]
    pub timestamp: Option<String>,
    /// What was said.
    pub event: String,
    /// How loud: `debug`, `info`, `warning`, `error`, `critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// From where: `stdout`, `stderr`, `log`, `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whatever else the line carried, by name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// A stretch of a try's log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryLogs {
    /// The lines of this page, oldest first.
    pub content: Vec<LogLine>,
    /// Where to go on; null at the end of a try that is over.
    pub continuation_token: Option<String>,
}
