//! Arguments of `dagbok tasks` and `why`.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dagbok_events::Timestamp;

use super::{DryRun, OtherRuns, Reason, Run};

/// Airflow's states of a task, and `cancelled`, which it has no word for.
const TASK_STATES: [&str; 13] = [
    "scheduled",
    "queued",
    "running",
    "restarting",
    "success",
    "failed",
    "cancelled",
    "skipped",
    "upstream_failed",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
    "removed",
];

/// `dagbok tasks list`.
#[derive(Debug, Args)]
pub(crate) struct ListTasks {
    /// Of which DAG, or how its id begins
    pub(crate) dag_id: String,
    /// As they are in this run [default: as the DAG defines them]
    pub(crate) run_id: Option<String>,
    /// Only those in this state; may be given several times
    #[arg(long, value_name = "STATE", requires = "run_id", value_parser = TASK_STATES)]
    pub(crate) state: Vec<String>,
}

/// `dagbok tasks render` and `dagbok tasks test`.
#[derive(Debug, Args)]
pub(crate) struct Alone {
    /// The DAG file
    pub(crate) file: PathBuf,
    /// Which task
    pub(crate) task_id: String,
    /// The folder that the file's imports are looked for in [default: the project that the file lies in, or its own]
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Option<PathBuf>,
    /// Which DAG of a file that has several
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
    /// What the run stands for: `2026-01-31`, or RFC 3339 [default: now]
    #[arg(long, value_name = "DATE", value_parser = super::dags::logical_date)]
    pub(crate) logical_date: Option<Timestamp>,
    /// A JSON object that the task finds as `dag_run.conf`
    #[arg(long, value_name = "JSON")]
    pub(crate) conf: Option<String>,
}

/// `dagbok tasks note`.
#[derive(Debug, Args)]
pub(crate) struct NoteTask {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// The note from now on; none takes it away
    pub(crate) text: Option<String>,
    /// Only on this copy of the task, which is mapped
    #[arg(long, value_name = "N")]
    pub(crate) map_index: Option<u32>,
}

/// `dagbok tasks mark`.
#[derive(Debug, Args)]
pub(crate) struct MarkTask {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// As what it is to stand
    #[arg(value_parser = ["success", "failed", "skipped"])]
    pub(crate) state: String,
    /// Only this copy of the task, which is mapped
    #[arg(long, value_name = "N")]
    pub(crate) map_index: Option<u32>,
    /// All that is upstream of it, too
    #[arg(long)]
    pub(crate) upstream: bool,
    /// All that is downstream of it, too, but for teardowns
    #[arg(long)]
    pub(crate) downstream: bool,
    #[command(flatten)]
    pub(crate) others: OtherRuns,
    #[command(flatten)]
    pub(crate) why: Reason,
    #[command(flatten)]
    pub(crate) only: DryRun,
}

/// `dagbok tasks …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// List the tasks of a DAG, or as they are in a run
    #[command(
        after_help = "With --json, the API's TaskCollectionResponse, or of a run its TaskInstanceCollectionResponse"
    )]
    List(ListTasks),
    /// Show what a task's templates become in a run of a date: of a file here, without any service
    #[command(
        long_about = "Show what a task's templates become in a run of a date. The file is imported here, without any service; what other tasks would have handed on is not there.",
        after_help = "With --json: `dag_id`, `task_id`, `fields`, by name what each became"
    )]
    Render(Alone),
    /// Run one task of a file here, in one process, without any service
    #[command(
        long_about = "Run one task of a file here, in one process that a debugger stops in, without any service. Nothing is kept; what other tasks would have handed on is not there.",
        after_help = "With --json: `dag_id`, `task_id`, `xcoms`, by key what it handed on"
    )]
    Test(Alone),
    /// Print what a task wrote
    #[command(
        after_help = "With --json, one line of the log a line: `timestamp`, `event`, `level`, `source`, and what the logger added"
    )]
    Logs(Logs),
    /// Say how a task ended: success, failed or skipped
    #[command(after_help = "With --json: the API's TaskInstanceCollectionResponse")]
    Mark(MarkTask),
    /// Write a note on a task of a run, or take it away
    #[command(after_help = "With --json: the API's TaskInstanceCollectionResponse")]
    Note(NoteTask),
    /// Show what a task uses of its machine, or all that runs in a run
    #[command(
        long_about = "Show what a task used of its machine over its time: memory, CPU, disks, processes. Without a task, what all that runs in the run uses now.",
        after_help = "With --json, the API's `TryUsageSeries`; without a task, a list of `task_id`, `map_index`, `try_number` and that as `usage`"
    )]
    Usage(Usage),
    /// Say why a task waits: the same as `dagbok why DAG RUN TASK`
    #[command(after_help = "With --json, the API's `WhyAnswer`")]
    Why(WhyTask),
    /// Show what a task has handed on: its names, or with --key one value
    #[command(
        after_help = "With --json, the API's `XComCollectionResponse`, or with --key its `XComResponse`"
    )]
    Xcoms(Xcoms),
}

/// `dagbok xcom …`.
#[derive(Debug, Subcommand)]
pub(crate) enum XcomCommand {
    /// List what a task has handed on
    #[command(after_help = "With --json: the API's `XComCollectionResponse`")]
    List(ListXcom),
    /// Print one value that a task has handed on, as JSON
    #[command(after_help = "With --json: the API's `XComResponse`")]
    Get(GetXcom),
}

/// `dagbok xcom list`.
#[derive(Debug, Args)]
pub(crate) struct ListXcom {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// Only of this copy of a mapped task
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) map_index: Option<i32>,
}

/// `dagbok xcom get`.
#[derive(Debug, Args)]
pub(crate) struct GetXcom {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// Under which name
    #[arg(default_value = "return_value")]
    pub(crate) key: String,
    /// Of this copy of a mapped task
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) map_index: Option<i32>,
}

impl XcomCommand {
    /// The same in other words.
    pub(crate) fn as_xcoms(&self) -> Xcoms {
        let (run, task_id, map_index, key) = match self {
            Self::List(it) => (&it.run, &it.task_id, it.map_index, None),
            Self::Get(it) => (&it.run, &it.task_id, it.map_index, Some(it.key.clone())),
        };
        let run = Run { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
        Xcoms { run, task_id: task_id.clone(), map_index, key, limit: 100, offset: 0 }
    }
}

/// `dagbok tasks xcoms`.
#[derive(Debug, Args)]
pub(crate) struct Xcoms {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// Only of this copy of a mapped task [default: of all, and with --key of the task itself]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) map_index: Option<i32>,
    /// The value of this name, as JSON
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// At most this many names
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Leave out this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
}

/// `dagbok why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Of which DAG
    pub(crate) dag_id: String,
    /// Which run [default: the one that the DAG makes next]
    pub(crate) run_id: Option<String>,
    /// Which task [default: the run as a whole]
    pub(crate) task_id: Option<String>,
    #[command(flatten)]
    pub(crate) of: WhyOf,
}

/// `dagbok tasks why`.
#[derive(Debug, Args)]
pub(crate) struct WhyTask {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    #[command(flatten)]
    pub(crate) of: WhyOf,
}

/// Of which copy, and when.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhyOf {
    /// Which copy of a mapped task
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) map_index: i32,
    /// As of this instant, as `2026-11-28T05:30:00Z` [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// How that changed over the run's time: of a run or a task
    #[arg(long, conflicts_with = "at")]
    pub(crate) history: bool,
}

impl Default for WhyOf {
    fn default() -> Self {
        Self { map_index: -1, at: None, history: false }
    }
}

/// `dagbok tasks usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task [default: all that run]
    pub(crate) task_id: Option<String>,
    /// Which try [default: the last]
    #[arg(long = "try", value_name = "N", requires = "task_id")]
    pub(crate) try_number: Option<u16>,
    /// Which copy of a mapped task
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) map_index: i32,
}

/// `dagbok tasks logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// Which try [default: the last]
    #[arg(long = "try", value_name = "N")]
    pub(crate) try_number: Option<u16>,
    /// Which copy of a mapped task
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) map_index: i32,
    /// Go on until the try is over
    #[arg(long, short)]
    pub(crate) follow: bool,
}
