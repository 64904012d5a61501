//! Commands: what people, the processor and executors ask the scheduler to decide.
use dagbok_events::{
    Actor, AssetKey, BackfillId, CommandId, DagId, DagSpec, DagVersion, Digest, ExecutorId,
    HistoryForgotten, MapIndex, Micros, PoolName, RunId, RunMark, ScheduleForetold, TaskId,
    TaskMark, Timestamp, TraceContext,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CreateBackfill, Report, SecretChange, WhyAsk};

/// A message to the inbox. Sending it twice with the same id does it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Chosen by the sender, unique for ever (a UUIDv7 or better).
    pub id: CommandId,
    /// Who asks for it.
    pub by: Actor,
    /// When it was sent, by the sender's clock.
    pub sent_at: Timestamp,
    /// The signal subject that the [`crate::Answer`] goes to, where one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Why, in the asker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Trace context of the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// What is asked.
    pub body: CommandBody,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CommandBody {
    /// Make a run.
    TriggerRun(TriggerRun),
    /// End a run.
    CancelRun {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
    },
    /// Let tasks that are done run again, and their run with them where it is over.
    ClearTasks(ClearTasks),
    /// Say how tasks ended, whatever became of them.
    MarkTasks(MarkTasks),
    /// Say how a run ended, whatever became of it.
    MarkRun {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
        /// As what it is to stand.
        state: RunMark,
    },
    /// Write another note on a run, or take it away.
    NoteRun {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
        /// The note from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Write another note on a task of a run, or take it away.
    NoteTask(NoteTask),
    /// Make runs of many dates of a DAG's past, or say which those would be.
    CreateBackfill(Box<CreateBackfill>),
    /// Make no runs of a backfill and start none.
    PauseBackfill {
        /// Id of the backfill.
        backfill_id: BackfillId,
    },
    /// Let a backfill go on.
    UnpauseBackfill {
        /// Id of the backfill.
        backfill_id: BackfillId,
    },
    /// Let a backfill be over: runs of it that have not begun are ended, those that have go on.
    CancelBackfill {
        /// Id of the backfill.
        backfill_id: BackfillId,
    },
    /// Say all that keeps a task, a run, or a DAG's next run from going on. Changes nothing.
    WhyWaits(WhyAsk),
    /// Let a run that is over be gone.
    DeleteRun {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
    },
    /// Forget a DAG that no file defines any more and that has no run left.
    ForgetDag {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
    },
    /// Forget versions of a DAG that none of its runs has any more.
    ForgetVersions {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// All versions before this one.
        below: DagVersion,
    },
    /// Forget what nothing that goes on needs: executors that left, reports that were refused.
    ForgetHistory(HistoryForgotten),
    /// No new runs.
    PauseDag {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
    },
    /// Runs again.
    UnpauseDag {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
    },
    /// Say what runs a paused DAG would make, were it not paused any more. Changes nothing.
    WouldUnpause {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
    },
    /// Say that an asset is up to date, as something outside of every DAG has it.
    UpdateAsset(AssetUpdate),
    /// Let a DAG wait again for assets of which events wait for the others that it needs.
    DropQueuedAssets {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Which assets; all of them where none is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        assets: Vec<AssetKey>,
    },
    /// Make promises anew by the clock and the schedule as they are, where those that stand differ and are not
    /// due yet.
    RenewPromises {
        /// Of which DAG; of every one where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dag_id: Option<DagId>,
    },
    /// Say over which data interval the last scheduled run of each of these DAGs went, of those that there are.
    /// Changes nothing.
    LastScheduled {
        /// Ids of the DAGs.
        dag_ids: Vec<DagId>,
    },
    /// What a file holds now, all of it: registers, re-registers, and lets disappear what is not named.
    DagFileRead(Box<DagFile>),
    /// The folder's code as it is now, once all its changed files were told of.
    PublishBundle {
        /// The folder's bundle.
        bundle: Digest,
        /// Which folder, where it goes by a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
    },
    /// A file is gone, with its DAGs.
    DagFileGone {
        /// Its path in the folder, behind the name of one that has a name: `etl.py`, `team//etl.py`.
        file: String,
    },
    /// Make a pool, or change what is said of it.
    SetPool(PoolChange),
    /// Let a pool be gone: tasks that want its slots wait until there is one again.
    DeletePool {
        /// Name of the pool.
        pool: PoolName,
    },
    /// Set or delete a variable or a connection.
    ChangeSecret(Box<SecretChange>),
    /// Set the namespace's limits.
    SetLimits {
        /// Tries in flight at once, over all DAGs.
        parallelism: u32,
        /// Losses of one task in one run that are made up for; the next one fails it. With 0 the first does.
        max_losses: u16,
        /// A DAG that does not say is paused once so many of its newest runs have failed, all of them; 0 never. As it
        /// is where not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_consecutive_failed_dag_runs: Option<u32>,
        /// How long a try may be queued while somebody could begin it; 0 for ever. As it is where not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_queued_timeout: Option<Micros>,
    },
    /// Answer what a task asks people.
    AnswerHitl(Box<AnswerHitl>),
    /// What an executor has to say of a try.
    Report(Box<Report>),
    /// An executor came.
    ExecutorJoined {
        /// Id of the executor that holds or held the try.
        executor: ExecutorId,
        /// The rest of what it says of itself.
        presence: Box<crate::Presence>,
    },
    /// Let an executor take nothing new, in this life and in those to come.
    CordonExecutor(CordonExecutor),
    /// Let it take work again.
    UncordonExecutor {
        /// What it is called, or the id of one of its lives.
        executor: String,
    },
    /// An executor that makes places for its tries, as pods, has none left for another, or has one again.
    ExecutorFull {
        /// Id of the executor that says so.
        executor: ExecutorId,
        /// Whether it has no place left for another try.
        full: bool,
    },
    /// An executor said goodbye; the tries it still held are handed back or lost.
    ExecutorLeft {
        /// Id of the executor that holds or held the try.
        executor: ExecutorId,
    },
}

/// Lets an executor take nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CordonExecutor {
    /// What it is called, or the id of one of its lives.
    pub executor: String,
    /// Whether those of that name that live now end what they run, and leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// How long their tries may go on; as each is set where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Micros>,
}

/// Says that an asset is up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetUpdate {
    /// The asset that is up to date.
    pub asset: AssetKey,
    /// A JSON object in text that is said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// Which partition of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// Asks for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerRun {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Its id; made from the date where nobody chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// A JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<String>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The partition that it stands for, of a DAG whose runs have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// Answers what a task asks people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerHitl {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// What is chosen.
    pub chosen_options: Vec<String>,
    /// What the fields are filled in with, by name: a JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_input: Option<String>,
}

/// Asks for tasks of a run to run again. What was ruled out downstream of them is judged anew with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own in Airflow")]
pub struct ClearTasks {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Which tasks, all of their copies; every task of the run where neither this nor `copies` names one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_ids: Vec<TaskId>,
    /// Single copies of mapped tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<TaskCopy>,
    /// Only those that failed, or were ruled out by a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_failed: bool,
    /// Only those of which a try is in flight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_running: bool,
    /// All that is upstream of them, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upstream: bool,
    /// All that is downstream of them, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub downstream: bool,
    /// What becomes of those of which a try is in flight, or to follow.
    #[serde(default, skip_serializing_if = "OnRunning::is_default")]
    pub running: OnRunning,
    /// Whether the run, which must be over, goes on with the newest version of its DAG: names of tasks are those of
    /// that one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_latest_version: bool,
    /// Only say what would be cleared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl ClearTasks {
    /// Asks for all tasks of a run that are done to run again.
    pub const fn of(dag_id: DagId, run_id: RunId) -> Self {
        Self {
            dag_id,
            run_id,
            task_ids: Vec::new(),
            copies: Vec::new(),
            only_failed: false,
            only_running: false,
            upstream: false,
            downstream: false,
            running: OnRunning::Leave,
            on_latest_version: false,
            dry_run: false,
        }
    }
}

/// What clearing makes of tasks that are not done, and have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRunning {
    /// They are passed over.
    #[default]
    Leave,
    /// Where a try is in flight, nothing is cleared.
    Refuse,
    /// Their tries are ended, and they begin anew.
    Restart,
}

impl OnRunning {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if passes a reference"
    )]
    const fn is_default(&self) -> bool {
        matches!(self, Self::Leave)
    }
}

/// Asks for tasks of a run to stand as if they had ended so. What failed or was ruled out downstream of them is judged
/// anew, and runs again where it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkTasks {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Which tasks, all of their copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_ids: Vec<TaskId>,
    /// Single copies of mapped tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<TaskCopy>,
    /// As what they are to stand.
    pub state: TaskMark,
    /// All that is upstream of them, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upstream: bool,
    /// All that is downstream of them, too, but for teardowns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub downstream: bool,
    /// Only say what would be marked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Asks for a task of a run to have another note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoteTask {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of its copies; all of them where not said, up to the published limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index: Option<MapIndex>,
    /// The note from now on; none takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One copy of a mapped task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TaskCopy {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of its copies, from 0; -1 where the task is not mapped.
    pub map_index: MapIndex,
}

/// Asks for a pool to be so from now on. What is not said stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolChange {
    /// Name of the pool.
    pub pool: PoolName,
    /// How many slots it is to have; 4,294,967,295 for no limit. A new pool needs this to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// What it is for, in somebody's words; an empty text for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_deferred: Option<bool>,
    /// Refused unless this is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<PoolIs>,
}

impl PoolChange {
    /// Only another number of slots, whether or not there is such a pool.
    pub const fn sized(pool: PoolName, slots: u32) -> Self {
        let (description, include_deferred, only) = (None, None, None);
        Self { pool, slots: Some(slots), description, include_deferred, only }
    }
}

/// Whether there is a pool of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolIs {
    /// There is none.
    Missing,
    /// There is one.
    There,
}

/// What the processor read from one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagFile {
    /// Its path in the folder, behind the name of one that has a name: `etl.py`, `team//etl.py`.
    pub file: String,
    /// The folder as it was: a content-addressed bundle.
    pub bundle: Digest,
    /// The DAGs that the file defines.
    pub dags: Vec<RegisteredDag>,
    /// What went wrong: where there is an error, DAGs that are not named stay in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ImportError>,
    /// Whether DAGs seen for the first time are paused, where they don't say.
    pub paused_at_creation: bool,
}

/// A DAG with the hash of its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredDag {
    /// Hash of the canonical form, without where it was read.
    pub spec_digest: Digest,
    /// All that the file says of the DAG.
    pub spec: DagSpec,
    /// What its timetable answered, where that is written in Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foretold: Option<Box<ScheduleForetold>>,
}

/// Why a file, or a DAG in it, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportError {
    /// The line, from 1, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The exception's class, or `Timeout`, `Crash`.
    pub exception: String,
    /// One line for people.
    pub message: String,
    /// Python's traceback, cut to the published limit.
    #[serde(default)]
    pub traceback: String,
}
