//! What is not about one DAG: health, version, executors, import errors, refusals.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// An error: `detail` is a text, an object, or a list of what is wrong with the request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// What happened, and what to do next.
    pub detail: serde_json::Value,
}

/// How much the page of a list stands for. Lists that no index serves are looked through up to a limit, so
/// that no question costs what history does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListExtra {
    /// Whether `total_entries` is the whole number; there are at least that many where not.
    pub total_is_exact: bool,
    /// Whether the page has all that belongs on it; where not, ask for less: name the DAG or a state, or
    /// order by what is filtered.
    pub complete: bool,
}

impl Default for ListExtra {
    fn default() -> Self {
        Self { total_is_exact: true, complete: true }
    }
}

/// A file that can't be read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportErrorResponse {
    /// The sequence of the record that said so.
    pub import_error_id: u64,
    /// When the file was last read in vain.
    pub timestamp: DateTime,
    /// Which file, within the DAG folder.
    pub filename: String,
    /// Always `dags`.
    pub bundle_name: Option<String>,
    /// The traceback, or what else there is to say.
    pub stack_trace: String,
    /// What Airflow has no word for.
    pub dagbok: ImportErrorExtra,
}

/// What Dagbok says of an import error beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportErrorExtra {
    /// The line, from 1.
    pub line: Option<u32>,
    /// The exception's class.
    pub exception: String,
    /// One line.
    pub message: String,
    /// DAGs that stay in force as they were.
    pub keeps: Vec<String>,
}

/// A page of import errors.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportErrorCollection {
    /// The entries of this page.
    pub import_errors: Vec<ImportErrorResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// Whether something works.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusOnly {
    /// `healthy` or `unhealthy`.
    pub status: Option<String>,
}

/// Whether a scheduler decides.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SchedulerHealth {
    /// `healthy` while one holds the lease.
    pub status: Option<String>,
    /// When this API last saw it renew the lease, by this API's clock; null while it has not.
    pub latest_scheduler_heartbeat: Option<String>,
}

/// There is no triggerer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TriggererHealth {
    /// Always null.
    pub status: Option<String>,
    /// Always null.
    pub latest_triggerer_heartbeat: Option<String>,
}

/// Whether DAG files are read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProcessorHealth {
    /// `healthy` while a processor shows that it is there.
    pub status: Option<String>,
    /// When it last did, by its own clock; null where none does.
    pub latest_dag_processor_heartbeat: Option<String>,
}

/// How far the read model is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionHealth {
    /// The sequence up to which the log is folded in.
    pub applied: u64,
    /// The log's last sequence, as far as is known.
    pub last: u64,
    /// Whether answers are still incomplete.
    pub rebuilding: bool,
    /// Why it was built anew at or since the start.
    pub rebuilt_because: Option<String>,
    /// Why it stopped for good.
    pub failed: Option<String>,
}

/// A DAG whose next run was promised anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RescheduledDag {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// When its next run by schedule is due; null where none is promised.
    pub next_dagrun_run_after: Option<String>,
}

/// Promises made anew.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rescheduled {
    /// The DAGs whose promise changed.
    pub dags: Vec<RescheduledDag>,
}

/// The log's stamps and the clock.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClockHealth {
    /// `unhealthy` where the last record is stamped much later than this API's clock shows.
    pub status: Option<String>,
    /// By how many seconds it is; null where that can't be told.
    pub log_ahead_seconds: Option<f64>,
}

/// What Dagbok says of its health beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthExtra {
    /// The read model.
    pub projection: ProjectionHealth,
    /// Executors whose presence is fresh; null where that can't be told.
    pub executors: Option<usize>,
    /// Whether the scheduler's clock can be trusted.
    pub clock: ClockHealth,
}

/// Whether all is well.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether the log can be read, in place of Airflow's database.
    pub metadatabase: StatusOnly,
    /// Whether a scheduler decides.
    pub scheduler: SchedulerHealth,
    /// There is none.
    pub triggerer: TriggererHealth,
    /// Whether a processor reads DAG files.
    pub dag_processor: ProcessorHealth,
    /// What Airflow has no word for.
    pub dagbok: HealthExtra,
}

/// Which build this is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// Dagbok's version.
    pub version: String,
    /// Always null.
    pub git_version: Option<String>,
}

/// An executor.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecutorInfo {
    /// Its id: one life of one process.
    pub executor: String,
    /// What it is called over its lives: a cordon holds for the name.
    pub name: String,
    /// `alive`, `cordoning` (it is to take nothing new, and has not said yet that it knows), `cordoned` (it takes nothing
    /// new), `draining`, `silent` (it has joined and its presence is not fresh) or `left`.
    pub status: String,
    /// That it takes nothing new: who said so, and why.
    pub cordon: Option<CordonInfo>,
    /// Which version of the protocol it speaks.
    pub protocol: u32,
    /// Name of the machine that it runs on.
    pub hostname: String,
    /// How many tries it can hold.
    pub slots: u32,
    /// How many it holds, as the log knows it.
    pub running: u32,
    /// Which queues it pulls from.
    pub queues: Vec<String>,
    /// Version of the program that it runs.
    pub version: String,
    /// Version of the Python that it runs tries with.
    pub python: String,
    /// What its tries can use together.
    pub resources: ResourceInfo,
    /// How it holds tries to their limits, in a sentence; empty where it says nothing.
    pub isolation: String,
    /// When it came.
    pub joined_at: DateTime,
    /// When it went.
    pub left_at: Option<DateTime>,
    /// How: `drained`, `gone`.
    pub left: Option<String>,
    /// The tries that it says it holds.
    pub holds: Vec<ExecutorTry>,
}

/// What a task asks for, or what an executor has for all its tries together. What is null or 0 is not asked for; of
/// an executor, not counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ResourceInfo {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// CPUs.
    pub cpu: Option<f64>,
    /// GPUs, as whole devices.
    pub gpus: u32,
    /// What else is counted, by name.
    pub custom: std::collections::BTreeMap<String, u64>,
    /// What an executor is or where, by name; of a task, what its executor must be.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// What waits on a queue, and who pulls from it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct QueueSignal {
    /// Name of the queue.
    pub queue: String,
    /// Tries on offer that no executor has begun.
    pub queued: u64,
    /// Tries of it that run.
    pub running: u64,
    /// How long the oldest is on offer, in seconds; 0 where none is.
    pub oldest_wait_seconds: f64,
    /// Executors that take work from it: those that pull, less those that are cordoned.
    pub executors: u64,
    /// How many tries those can hold together.
    pub slots: u64,
    /// How many slots there should be so that nothing waits: for what runs and what is on offer, and, while there is any of
    /// that, those that a cordon keeps empty, since whoever counts executors counts those too. Where labels are named, for
    /// what asks for those alone.
    pub slots_wanted: u64,
    /// What tries on offer ask for together and how many run, by the labels that they ask for.
    pub wanted: Vec<QueueWanted>,
    /// Slots of cordoned executors in which nothing runs, by the labels of those, as `region=eu,tier=fast`.
    #[serde(default)]
    pub cordoned: std::collections::BTreeMap<String, u64>,
}

impl QueueSignal {
    /// With the slots that are wanted by all else that it says.
    #[must_use]
    pub fn weighed(mut self) -> Self {
        let busy = self.queued + self.running;
        let kept: u64 = self.cordoned.values().sum();
        self.slots_wanted = if busy == 0 { 0 } else { busy + kept };
        self
    }

    /// Only of what asks for just these labels, and of the executors that such tries can go to.
    #[must_use]
    pub fn of_labels(mut self, labels: String) -> Self {
        self.wanted.retain(|it| it.labels == labels);
        self.queued = self.wanted.iter().map(|it| it.slots).sum();
        self.running = self.wanted.iter().map(|it| it.running).sum();
        let asked: Vec<&str> = labels.split(',').filter(|it| !it.is_empty()).collect();
        self.cordoned.retain(|has, _| {
            // Who has labels is there for those who ask for them.
            let mut has = has.split(',').filter(|it| !it.is_empty()).peekable();
            if asked.is_empty() {
                return has.peek().is_none();
            }
            let has: Vec<&str> = has.collect();
            asked.iter().all(|it| has.contains(it))
        });
        if self.wanted.is_empty() {
            self.wanted.push(QueueWanted { labels, ..QueueWanted::default() });
        }
        self.weighed()
    }
}

/// What tries on offer that ask for the same labels ask for together, and how many of them run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct QueueWanted {
    /// The labels, as `region=eu,tier=fast`; empty for none.
    pub labels: String,
    /// Tries on offer, each of which wants a slot.
    pub slots: u64,
    /// Tries that run.
    #[serde(default)]
    pub running: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// CPUs.
    pub cpus: f64,
    /// GPUs, as whole devices.
    pub gpus: u64,
    /// What else is counted, by name.
    pub custom: std::collections::BTreeMap<String, u64>,
}

/// Every queue that was ever seen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueCollection {
    /// The queues, by name.
    pub queues: Vec<QueueSignal>,
    /// How many there are.
    pub total_entries: usize,
}

/// That executors of a name take nothing new, in this life and in those to come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CordonInfo {
    /// What they are called.
    pub name: String,
    /// Whether those that lived then were to end what they ran, and leave.
    pub drain: bool,
    /// How long their tries could go on, in seconds; null where each went by its own setting.
    pub limit_seconds: Option<f64>,
    /// Since when.
    pub since: DateTime,
    /// Who said so.
    pub by: String,
    /// Why, in that one's words.
    pub reason: Option<String>,
}

/// How an executor is cordoned or drained.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CordonBody {
    /// Why, for whoever wonders later.
    pub reason: Option<String>,
    /// Of a drain: how long its tries may go on, in seconds; as each executor is set where not said.
    pub limit_seconds: Option<f64>,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CordonAnswer {
    /// The record that says so; null where it was so already.
    pub seq: Option<u64>,
    /// How those of that name stand now; null where they take work.
    pub cordon: Option<CordonInfo>,
    /// Ids of those of that name that are there.
    pub executors: Vec<String>,
    /// How many tries they run.
    pub running: u32,
    /// Queues from which nobody else takes anything now.
    pub unserved_queues: Vec<String>,
    /// Ids of those that speak a version of the protocol that knows no cordons, and go on taking work: ask whoever runs them.
    #[serde(default)]
    pub unaware: Vec<String>,
    /// Ids of those that are draining: they end what they run and leave, whatever is said now.
    #[serde(default)]
    pub leaving: Vec<String>,
    /// Ids of those that do not leave where they are drained: part of a process that has others, they take nothing new
    /// and end nothing.
    #[serde(default)]
    pub staying: Vec<String>,
}

/// A try in an executor's hands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecutorTry {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    pub map_index: i32,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: u16,
    /// As which process; null before it is started.
    pub pid: Option<u32>,
    /// Why it has not begun there, for people: what a cluster says of its pod.
    pub waits: Option<String>,
}

/// A page of executors.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecutorCollection {
    /// The entries of this page.
    pub executors: Vec<ExecutorInfo>,
    /// How many there are over all pages.
    pub total_entries: usize,
    /// Every cordon that holds, whether or not one of that name is there.
    #[serde(default)]
    pub cordons: Vec<CordonInfo>,
}

/// A report that was refused: it changed nothing and is kept as evidence.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedReport {
    /// The sequence of the record that says so.
    pub seq: u64,
    /// When it was refused.
    pub timestamp: DateTime,
    /// The task that it named.
    pub task_id: String,
    /// The copy that it named.
    pub map_index: i32,
    /// The try that it named.
    pub try_number: u16,
    /// What it claimed: `started`, `succeeded`, `failed`, `skipped`, `x_com`, `returned`, `lost`.
    pub report: String,
    /// Who sent it.
    pub executor: String,
    /// Why it was refused: `no_such_run`, `no_such_task`, `not_in_flight`, `held_by_another`, `run_over`.
    pub why: String,
    /// What the try used, by the report.
    pub usage: Option<super::TryUsage>,
    /// The log that came with it.
    pub log: Option<super::TryLog>,
    /// Until when that was kept, where it is forgotten by `retention.logs`.
    #[serde(default)]
    pub log_kept_until: Option<DateTime>,
}

/// A page of refused reports.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedReportCollection {
    /// The entries of this page.
    pub refused_reports: Vec<RefusedReport>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaler_by_labels_counts_what_runs_and_the_empty_slots_of_those_that_are_cordoned() {
        let wanted = |labels: &str, slots, running| QueueWanted {
            labels: labels.to_owned(),
            slots,
            running,
            ..QueueWanted::default()
        };
        let slots = |labels: &str, count| (labels.to_owned(), count);
        let signal = QueueSignal {
            queued: 5,
            running: 4,
            wanted: vec![wanted("", 3, 0), wanted("region=eu", 2, 3), wanted("region=us", 0, 1)],
            cordoned: [slots("region=eu,tier=fast", 6), slots("", 1)].into(),
            ..QueueSignal::default()
        };
        let of = |labels: &str| signal.clone().of_labels(labels.to_owned());
        assert_eq!(signal.clone().weighed().slots_wanted, 5 + 4 + 7);
        assert_eq!(of("region=eu").slots_wanted, 2 + 3 + 6);
        assert_eq!((of("region=us").queued, of("region=us").slots_wanted), (0, 1));
        assert_eq!(of("").slots_wanted, 3 + 1);
        assert_eq!(of("region=ap").slots_wanted, 0, "nothing is kept for who has nothing to do");
    }
}
