//! The rows of the read model: what the fold keeps of the log, in the words of Airflow's API.
//!
//! A row is what one question needs. Rows are rebuilt from the log whenever [`VERSION`] rises, so they
//! may change freely; they are stored as MessagePack with named fields.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, DagId, DagSpec, DagVersion, Digest, ExecutorId, Failure, ForeignReport, Interval, LeftWhy,
    LogRef, LostWhy, MapIndex, MissedWhy, Payload, PoolName, QueueName, RefusedWhy, RunExpected, RunId,
    RunType, TaskId, Timestamp, TryNumber, Usage,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the rows and of the rules that make them: raise it with any change of either, and
/// every read model is rebuilt at its next start.
pub const VERSION: u32 = 1;

/// Something that is kept under a key of its own table.
pub(crate) trait Row: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The first byte of its keys, unique among rows.
    const TABLE: u8;
}

macro_rules! tables {
    ($($row:ident = $byte:literal),* $(,)?) => {
        $(impl Row for $row { const TABLE: u8 = $byte; })*
    };
}

tables! {
    DagRow = b'd', VersionRow = b'v', ImportErrorRow = b'e', RunRow = b'r', RunInputRow = b'n',
    RunOrderRow = b'o', DagRunOrderRow = b'p', SeqsRow = b'i', TaskRow = b't', PastTryRow = b'y',
    XComRow = b'x', RefusedRow = b'f', ExecutorRow = b'c', PoolRow = b'l', LimitsRow = b'g',
    BundleRow = b'b', LoadRow = b'k',
}

/// A DAG, without its tasks: those are in its [`VersionRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DagRow {
    /// Which.
    pub dag_id: DagId,
    /// The meaning that new runs get.
    pub version: DagVersion,
    /// When that was registered.
    pub registered_at: Timestamp,
    /// The file that it is read from.
    pub file: String,
    /// Its tags, for lists.
    pub tags: Vec<String>,
    /// Whether no new runs are made.
    pub paused: bool,
    /// When it went out of its file, where it has.
    pub disappeared_at: Option<Timestamp>,
    /// The run that the schedule promises next.
    pub expected: Option<RunExpected>,
    /// The promises that were broken last.
    pub missed: Option<MissedRow>,
    /// Its runs by state.
    pub runs: BTreeMap<RunState, u64>,
}

/// Runs that were promised and did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissedRow {
    /// The first one's logical date.
    pub first: Timestamp,
    /// The last one's.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// Why.
    pub why: MissedWhy,
    /// When that was found.
    pub at: Timestamp,
}

/// One meaning of a DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The DAG.
    pub spec: DagSpec,
    /// Hash of its meaning.
    pub spec_digest: Digest,
    /// The code that it was read from.
    pub bundle: Digest,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A file that can't be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportErrorRow {
    /// The sequence of the record that said so: its id.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Which file.
    pub file: String,
    /// Which line.
    pub line: Option<u32>,
    /// The exception's class.
    pub exception: String,
    /// One line.
    pub message: String,
    /// The traceback.
    pub traceback: String,
    /// DAGs that stay in force as they were.
    pub keeps: Vec<DagId>,
}

/// Airflow's states of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made, not started.
    Queued,
    /// Its tasks may run.
    Running,
    /// Over, well.
    Success,
    /// Over, badly.
    Failed,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Success, Self::Failed];

    /// Airflow's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens to the run.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// How a run came to its end, where that says more than its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Its tasks did.
    Tasks,
    /// It took longer than `dagrun_timeout`.
    TimedOut,
    /// Somebody ended it.
    Cancelled,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Whose.
    pub dag_id: DagId,
    /// Which.
    pub run_id: RunId,
    /// Its state.
    pub state: RunState,
    /// How it came about.
    pub run_type: RunType,
    /// What it stands for.
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// Which meaning of the DAG it runs.
    pub version: DagVersion,
    /// Which code.
    pub bundle: Digest,
    /// Who made it.
    pub created_by: Actor,
    /// When it was made.
    pub queued_at: Timestamp,
    /// When it began.
    pub start_date: Option<Timestamp>,
    /// When it was over.
    pub end_date: Option<Timestamp>,
    /// How it came to its end.
    pub end: Option<RunEnd>,
    /// Who ended it, where somebody did.
    pub ended_by: Option<Actor>,
    /// Why, in their words.
    pub end_reason: Option<String>,
    /// The leaves that failed it.
    pub failed_tasks: Vec<TaskId>,
    /// Its tasks.
    pub tasks: u32,
    /// Those of them that have a state, by state.
    pub counts: BTreeMap<TaskState, u32>,
    /// Reports about it that were refused.
    pub refused: u32,
    /// The sequence of the record that made it.
    pub created_seq: u64,
    /// The sequence of the last record about it.
    pub last_seq: u64,
    /// When that was decided.
    pub updated_at: Timestamp,
    /// The newest sequences of its records, as stretches; older ones are in [`SeqsRow`]s.
    pub seqs: Vec<Stretch>,
}

/// What whoever made a run passed along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInputRow {
    /// A JSON object.
    pub conf: Option<Payload>,
    /// A note.
    pub note: Option<String>,
}

/// Sequences with no gap between them: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch(pub u64, pub u32);

/// A stretch of a run's records that no longer fits its [`RunRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeqsRow(pub Vec<Stretch>);

/// A run in the order of making, over all DAGs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOrderRow {
    /// Whose.
    pub dag_id: DagId,
    /// Which.
    pub run_id: RunId,
}

/// A run in the order of making, of one DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DagRunOrderRow {
    /// Which.
    pub run_id: RunId,
}

/// Airflow's states of a task instance; a task that has none yet has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It may be queued, and is not.
    Scheduled,
    /// Offered to executors.
    Queued,
    /// An executor has begun.
    Running,
    /// Over, well.
    Success,
    /// Over, badly.
    Failed,
    /// Waits for its next try.
    UpForRetry,
    /// Won't run, or said so itself.
    Skipped,
    /// Won't run since an upstream failed.
    UpstreamFailed,
    /// No longer in the DAG.
    Removed,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::UpForRetry,
        Self::Skipped,
        Self::UpstreamFailed,
        Self::Removed,
    ];

    /// Airflow's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::Skipped => "skipped",
            Self::UpstreamFailed => "upstream_failed",
            Self::Removed => "removed",
        }
    }

    /// Whether the task holds slots of its pool.
    pub const fn holds_slots(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// A task of a run, with its newest try; older tries are [`PastTryRow`]s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Which task.
    pub task_id: TaskId,
    /// Which copy.
    pub map_index: MapIndex,
    /// Its state.
    pub state: TaskState,
    /// Its newest try; `None` where it was ruled out before one.
    pub attempt: Option<TryRow>,
    /// When it was ruled out.
    pub ruled_out_at: Option<Timestamp>,
    /// Names of the values that it has handed on, sorted.
    pub xcoms: Vec<String>,
    /// The sequence of the last record about it.
    pub last_seq: u64,
}

/// How a try ended, beyond its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TryEnd {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed(Box<Failure>),
    /// Its code said to skip.
    Skipped(String),
    /// Its executor is gone.
    Lost(LostWhy),
    /// Its run was ended.
    Cancelled,
    /// It was handed back without having been started.
    Returned,
}

/// One try of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TryRow {
    /// Which.
    pub number: TryNumber,
    /// The state that it is, or was left, in.
    pub state: TaskState,
    /// Whose slots it holds.
    pub pool: PoolName,
    /// How many.
    pub pool_slots: u32,
    /// Which executors may pull it.
    pub queue: QueueName,
    /// When it was offered.
    pub queued_at: Timestamp,
    /// The sequence of the record that offered it.
    pub queued_seq: u64,
    /// When it began, by the executor's clock.
    pub started_at: Option<Timestamp>,
    /// When it was over, by the executor's clock, or the scheduler's where no executor said.
    pub ended_at: Option<Timestamp>,
    /// Who runs it.
    pub executor: Option<ExecutorId>,
    /// On which machine.
    pub hostname: Option<String>,
    /// As which process there.
    pub pid: Option<u32>,
    /// How it ended.
    pub end: Option<TryEnd>,
    /// When the next try is due.
    pub retry_at: Option<Timestamp>,
    /// What it used.
    pub usage: Option<Usage>,
    /// What it wrote.
    pub log: Option<LogRef>,
    /// Digests of what it saw.
    pub inputs: BTreeMap<String, String>,
}

/// A try that another has followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastTryRow(pub TryRow);

/// A value that a task handed on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XComRow {
    /// Its name.
    pub key: String,
    /// JSON text.
    pub value: Payload,
    /// By which try.
    pub try_number: TryNumber,
    /// When.
    pub at: Timestamp,
}

/// A report that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The sequence of the record that says so.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The task that it named.
    pub task_id: TaskId,
    /// The copy that it named.
    pub map_index: MapIndex,
    /// The try that it named.
    pub try_number: TryNumber,
    /// What it claimed.
    pub report: ForeignReport,
    /// Who sent it.
    pub executor: ExecutorId,
    /// Why it was refused.
    pub why: RefusedWhy,
    /// The log that came with it.
    pub log: Option<LogRef>,
}

/// An executor, as the log knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorRow {
    /// Which.
    pub executor: ExecutorId,
    /// Its machine.
    pub hostname: String,
    /// How many tries it can hold.
    pub slots: u32,
    /// Which queues it pulls from.
    pub queues: Vec<QueueName>,
    /// Its build.
    pub version: String,
    /// Its Python.
    pub python: String,
    /// When it came.
    pub joined_at: Timestamp,
    /// When it went.
    pub left_at: Option<Timestamp>,
    /// How it went.
    pub left: Option<LeftWhy>,
}

/// What an executor has in hand, whether or not it has joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// Tries that it runs.
    pub running: u32,
}

/// A pool's slots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolRow {
    /// How many there are; `None` where nobody set them.
    pub slots: Option<u32>,
    /// Held by tries that are queued.
    pub queued: u64,
    /// Held by tries that run.
    pub running: u64,
}

/// The namespace's limits, where somebody set them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitsRow {
    /// Tries in flight at once.
    pub parallelism: u32,
    /// Losses after which a task fails.
    pub max_losses: u16,
}

/// The code that new runs get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleRow {
    /// Its digest.
    pub bundle: Digest,
    /// When it was published.
    pub at: Timestamp,
}
