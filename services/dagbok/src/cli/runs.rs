//! Arguments of `dagbok runs`, `prune` and `events`.
use clap::{Args, Subcommand};
use dagbok_config::Period;
use dagbok_events::Timestamp;

use super::{Asked, Reason};

/// `dagbok runs …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the newest first
    #[command(
        after_help = "With --json: the API's DAGRunCollectionResponse, `{dag_runs: […], total_entries}`"
    )]
    List(List),
    /// Show one run and its tasks
    #[command(
        after_help = "With --json: `run`, the API's DAGRunResponse, `tasks`, a list of its TaskInstanceResponse, `changes`, who changed its history, why, and what was before, and `callbacks`, the calls of the DAG's callbacks"
    )]
    Show(Run),
    /// Say why a run failed: the line, the log's last words, who was told, what to do
    #[command(
        after_help = "With --json: `dag_run`, `failure`, `log`, a list of lines, `told`, the API's alerts, `next`, a list of commands; of a run that goes on the API's `WhyAnswer`"
    )]
    Why(WhyRun),
    /// Print what all tasks of a run wrote, task by task, or with --follow as it comes
    #[command(
        after_help = "With --json, one line of a log a line, as `tasks logs` has them, with `task_id`, `map_index`, `try_number`"
    )]
    Logs(RunLogs),
    /// Let the tasks of a run that failed run again: the same as `runs clear --only-failed`
    #[command(after_help = "With --json, as `runs clear`")]
    Retry(Retry),
    /// Wait until a run is over, and end as it did
    #[command(after_help = "With --json: `finished`, and `dag_run`, the API's DAGRunResponse")]
    Wait(Wait),
    /// End a run
    #[command(after_help = "With --json: the API's DAGRunResponse")]
    Cancel(Cancel),
    /// Let tasks of a run run again: shows which, asks, and does it
    #[command(
        after_help = "With --json: `dry_run`, `run_goes_on`, `tasks`, a list of `task_id`, `map_index`, `further`, `version` with what --latest changes, and `dag_run`, the API's DAGRunResponse"
    )]
    Clear(Clear),
    /// Say how a run ended: success or failed
    #[command(after_help = "With --json: the API's DAGRunResponse")]
    Mark(MarkRun),
    /// Write a note on a run, or take it away
    #[command(after_help = "With --json: the API's DAGRunResponse")]
    Note(Note),
    /// The calls of the DAG's on_success_callback and on_failure_callback for a run, and what they wrote
    #[command(
        after_help = "With --json: the API's DagCallbackCollection, `{callbacks: […]}`; with --log one line of the log a line"
    )]
    Callbacks(Callbacks),
    /// Let a run that is over be gone
    #[command(after_help = "With --json: `dag_id`, `run_id`")]
    Delete(Delete),
}

/// A run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Of which DAG, or how its id begins
    pub(crate) dag_id: String,
    /// Which run: its id, how it begins, its date, or `latest`
    pub(crate) run_id: String,
}

/// `dagbok runs callbacks`.
#[derive(Debug, Args)]
pub(crate) struct Callbacks {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Print what the call wrote, of the run's last end where N is left out
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    pub(crate) log: Option<u16>,
}

/// `dagbok runs list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of which DAG [default: of all]
    pub(crate) dag_id: Option<String>,
    /// Only runs in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = ["queued", "running", "success", "failed", "cancelled"])]
    pub(crate) state: Vec<String>,
    /// Only runs that could begin since then: `2h` or `7d` ago, `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = super::dags::since)]
    pub(crate) since: Option<Timestamp>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub(crate) limit: usize,
    /// Leave out this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
}

/// `dagbok runs why`.
#[derive(Debug, Args)]
pub(crate) struct WhyRun {
    /// Of which DAG [default: of all]
    pub(crate) dag_id: Option<String>,
    /// Which run [default: the one that failed last]
    pub(crate) run_id: Option<String>,
}

/// `dagbok runs logs`.
#[derive(Debug, Args)]
pub(crate) struct RunLogs {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Only of tasks that failed
    #[arg(long)]
    pub(crate) failed: bool,
    /// Go on until the run is over: lines of all tasks as they come, each behind its task's name
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `dagbok runs retry`.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Go on with the newest version of the DAG
    #[arg(long)]
    pub(crate) latest: bool,
    #[command(flatten)]
    pub(crate) why: Reason,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

impl Retry {
    /// The same in other words.
    pub(crate) fn as_clear(&self) -> Clear {
        Clear {
            run: Run { dag_id: self.run.dag_id.clone(), run_id: self.run.run_id.clone() },
            only_failed: true,
            task: Vec::new(),
            map_index: Vec::new(),
            only_running: false,
            upstream: false,
            downstream: false,
            others: OtherRuns { future: false, past: false },
            latest: self.latest,
            kill: false,
            why: self.why.clone(),
            asked: self.asked,
        }
    }
}

/// `dagbok runs wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Give up after this long: `30s`, `5m`, or a number of seconds [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Period>,
}

/// `dagbok runs cancel`.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// Other runs in which the same is done.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OtherRuns {
    /// The same in all runs of later logical dates
    #[arg(long)]
    pub(crate) future: bool,
    /// The same in all runs of earlier logical dates
    #[arg(long)]
    pub(crate) past: bool,
}

/// `dagbok runs clear`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Clear {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Only tasks that failed, or were ruled out by a failure
    #[arg(long)]
    pub(crate) only_failed: bool,
    /// Only this task; may be given several times
    #[arg(long, value_name = "TASK_ID")]
    pub(crate) task: Vec<String>,
    /// Only this copy of the task, which is mapped; may be given several times
    #[arg(long, value_name = "N", requires = "task")]
    pub(crate) map_index: Vec<u32>,
    /// Only tasks that run now, or are queued; needs --kill
    #[arg(long, requires = "kill", conflicts_with = "only_failed")]
    pub(crate) only_running: bool,
    /// All that is upstream of them, too
    #[arg(long)]
    pub(crate) upstream: bool,
    /// All that is downstream of them, too
    #[arg(long)]
    pub(crate) downstream: bool,
    #[command(flatten)]
    pub(crate) others: OtherRuns,
    /// Go on with the newest version of the DAG: tasks that it adds run too, those that it no longer has are removed
    #[arg(long, conflicts_with = "only_running")]
    pub(crate) latest: bool,
    /// End the tries of tasks that run, and begin them anew
    #[arg(long)]
    pub(crate) kill: bool,
    #[command(flatten)]
    pub(crate) why: Reason,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// `dagbok runs mark`.
#[derive(Debug, Args)]
pub(crate) struct MarkRun {
    #[command(flatten)]
    pub(crate) run: Run,
    /// As what it is to stand
    #[arg(value_parser = ["success", "failed"])]
    pub(crate) state: String,
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// `dagbok runs note`.
#[derive(Debug, Args)]
pub(crate) struct Note {
    #[command(flatten)]
    pub(crate) run: Run,
    /// The note from now on; none takes it away
    pub(crate) text: Option<String>,
}

/// `dagbok runs delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Of which DAG
    pub(crate) dag_id: String,
    /// Which run, or several
    #[arg(required = true)]
    pub(crate) run_ids: Vec<String>,
}

/// `dagbok prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Runs that ended longer ago than this, as `720h` [default: as the installation is set up]
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Period>,
    /// Of each DAG, all finished runs but so many
    #[arg(long, value_name = "N")]
    pub(crate) keep_runs: Option<u64>,
    /// Only of this DAG
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
}

/// `dagbok events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what is about this DAG
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
    /// Only what is about this run
    #[arg(long, value_name = "RUN_ID", requires = "dag")]
    pub(crate) run: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with this sequence
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    pub(crate) from: u64,
    /// Begin with the last N of what is wanted
    #[arg(long, value_name = "N", conflicts_with = "from")]
    pub(crate) tail: Option<usize>,
    /// Begin with what came since then: `2h` or `7d` ago, `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = super::dags::since, conflicts_with_all = ["from", "tail"])]
    pub(crate) since: Option<Timestamp>,
}
