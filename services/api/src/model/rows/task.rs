//! Rows about tasks of runs and their tries.
use std::collections::BTreeMap;

use dagbok_events::{
    Checkpoint, DagCallbackOrdered, ExecutorId, Failure, FailureKind, Leg, LogRef, LostWhy,
    MapIndex, Payload, PoolName, QueueName, TaskId, Timestamp, TryNumber, Usage,
};
use serde::{Deserialize, Serialize};

/// Airflow's states of a task instance; a task that has none yet has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskInstanceState {
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
    /// Goes on later with the same try.
    UpForReschedule,
    /// To run again: Airflow's task instance without a state.
    Cleared,
    /// Waits for a trigger.
    Deferred,
}

impl TaskInstanceState {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::UpForRetry,
        Self::Skipped,
        Self::UpstreamFailed,
        Self::Removed,
        Self::UpForReschedule,
        Self::Cleared,
        Self::Deferred,
    ];

    /// Whether nothing more happens to it by itself.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Skipped | Self::UpstreamFailed | Self::Removed
        )
    }

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
            Self::UpForReschedule => "up_for_reschedule",
            Self::Cleared => "none",
            Self::Deferred => "deferred",
        }
    }

    /// What a [`StripRow`] has for a copy in it: nothing is 0.
    pub const fn mark(self) -> u8 {
        self as u8 + 1
    }

    /// Whether slots of its pool are counted for the task: held, or where the pool counts what is deferred.
    pub const fn counts_slots(self) -> bool {
        self.holds_slots() || matches!(self, Self::Deferred)
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
    pub state: TaskInstanceState,
    /// Its newest try; `None` where it was ruled out before one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<TryRow>,
    /// When it was ruled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled_out_at: Option<Timestamp>,
    /// Why it was ruled out, where its state does not say all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What its newest try said that people call this copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What somebody noted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it keeps for its next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<Checkpoint>>,
    /// What it has handed on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xcoms: Vec<Handed>,
    /// The sequence of the last record about it.
    pub last_seq: u64,
}

/// Copies of a mapped task that one [`StripRow`] stands for.
pub const STRIP: u32 = 1_024;

/// The states of copies of a mapped task that follow each other, a [mark](TaskInstanceState::mark) for each; 0, or
/// no more of it, for those that have none. So what is asked of a hundred thousand copies reads a hundred rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripRow(pub Vec<u8>);

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
    /// Tries before it that used up none of the task's retries: lost, handed back, or failed by Dagbok.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spared: u16,
    /// The state that it is, or was left, in.
    pub state: TaskInstanceState,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over, by the executor's clock, or the scheduler's where no executor said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// On which machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// As which process there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TryEnd>,
    /// When the next try is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
    /// What of its log a killed executor left on its disk: it stands in where no other comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LogRef>,
    /// Which leg of the try is the newest.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// What the legs before it wrote, of the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<LogRef>,
    /// Digests of what it saw.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// Callbacks of its task that failed, the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_callbacks: Vec<FailedCallback>,
    /// How far it has come, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<Progress>>,
    /// Where it is no try of a task but a call of a DAG's callback: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_callback: Option<Box<DagCallbackOrdered>>,
}

/// What a try said last of how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in ten-thousandths.
    pub done: u16,
    /// What its code said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When, by the executor's clock.
    pub said_at: Timestamp,
}

/// A callback of a task that raised, or could not be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCallback {
    /// The argument that it was given by.
    pub callback: String,
    /// What was raised, or what became of it.
    pub message: String,
}

impl TryRow {
    /// What the next try's `spared` is.
    pub fn spared_with_it(&self) -> u16 {
        let spares = match &self.end {
            Some(TryEnd::Lost(_) | TryEnd::Returned) => true,
            Some(TryEnd::Failed(failure)) => {
                matches!(failure.kind, FailureKind::CouldNotStart | FailureKind::Executor)
            }
            _ => false,
        };
        self.spared.saturating_add(u16::from(spares))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl TryRow {
    /// The log that is kept of it, once it is over.
    pub fn kept_log(&self) -> Option<&LogRef> {
        let left = self.left.as_ref().filter(|_| self.end.is_some());
        self.log.as_ref().or(left)
    }
}

/// A try that another has followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastTryRow(pub TryRow);

/// Where a value that a task handed on is kept: small ones with the task, so that they cost no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Handed {
    /// Here.
    Small(XComRow),
    /// In an [`XComRow`] under this name.
    Apart(String),
}

impl Handed {
    /// The value's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Small(row) => &row.key,
            Self::Apart(name) => name,
        }
    }
}

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
