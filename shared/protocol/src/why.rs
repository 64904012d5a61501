//! Why something waits: all that is in its way, by name.
use dagbok_events::{
    AssetRef, BackfillId, DagId, ExecutorId, ExecutorName, MapIndex, PoolName, QueueName, RuledOut,
    RunId, TaskId, Timestamp, TriggerRule, TryNumber,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked about: a DAG's next run, a run, or a copy of a task of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyAsk {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG; none where the DAG's next run is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Id of the task, unique within its DAG; none where the whole run is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
}

/// How something stands, and all that keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// By whose clock it was answered: what is due later is not due yet.
    pub at: Timestamp,
    /// The last record that counts.
    pub seq: u64,
    /// How it stands.
    pub is: Piece,
    /// Its place in line, where it waits for room that others have before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Of a run: what of it is under way, or stands at the head of what waits. Of a task that waits for others:
    /// the same among those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<Piece>,
    /// How many more of those there are at least.
    #[serde(default)]
    pub more_roots: u32,
}

/// A DAG, a run or a copy of a task, with all that keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Piece {
    /// Id of the task; none where it is a run or a DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How it stands.
    pub stands: Stands,
    /// Since when, where the scheduler knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Number of the try in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub try_number: Option<TryNumber>,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// All that keeps it; nothing of what runs or is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// How a DAG, a run or a copy of a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// A DAG: no run of it was asked about.
    Scheduled,
    /// It waits: for upstreams, or for its turn.
    Waiting,
    /// A run that waits for its turn, or a try that is offered to the executors.
    Queued,
    /// Under way.
    Running,
    /// A run that was ended from outside, whose teardowns are yet to run.
    Ending,
    /// To be tried again.
    UpForRetry,
    /// To go on with the same try.
    UpForReschedule,
    /// It waits for a trigger.
    Deferred,
    /// Over, well.
    Success,
    /// Over, badly.
    Failed,
    /// It will not run.
    Skipped,
    /// It will not run, since one before it failed.
    UpstreamFailed,
    /// It is no longer in the DAG.
    Removed,
}

impl Stands {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::UpForRetry => "up_for_retry",
            Self::UpForReschedule => "up_for_reschedule",
            Self::Deferred => "deferred",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::UpstreamFailed => "upstream_failed",
            Self::Removed => "removed",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Skipped | Self::UpstreamFailed | Self::Removed
        )
    }
}

/// What keeps something from going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing does: it goes on with the next decision.
    Next,
    /// The DAG is paused.
    Paused,
    /// Its run waits for its turn; why that does is said with it.
    RunQueued,
    /// As many runs of the DAG as may be are running.
    MaxActiveRuns {
        /// So many.
        most: u32,
        /// Those, up to ten.
        runs: Vec<RunId>,
        /// How many more.
        more: u32,
        /// How many queued runs come before it, up to a thousand.
        before: u32,
    },
    /// Its backfill is paused.
    BackfillPaused {
        /// Id of the backfill.
        backfill_id: BackfillId,
    },
    /// As many runs of its backfill as may be are running.
    BackfillMaxActiveRuns {
        /// Id of the backfill.
        backfill_id: BackfillId,
        /// So many.
        most: u32,
        /// Those, up to ten.
        runs: Vec<RunId>,
        /// How many more.
        more: u32,
        /// How many queued runs come before it, up to a thousand.
        before: u32,
    },
    /// It does not begin before this.
    NotDue {
        /// Then.
        due: Timestamp,
    },
    /// The run has taken too long, and is about to be ended.
    TimedOut {
        /// When its time was up.
        since: Timestamp,
    },
    /// Tasks before it are not done.
    Upstream {
        /// What it waits for of them.
        rule: TriggerRule,
        /// Those that are not done, up to ten.
        tasks: Vec<Blocker>,
        /// How many more.
        more: u32,
    },
    /// Setups that it needs, or of a teardown what lies between its setups and itself, are not done.
    Scope {
        /// Those, up to ten.
        tasks: Vec<Blocker>,
        /// How many more.
        more: u32,
    },
    /// What it is mapped over is not done, so that nobody knows how many copies there are to be.
    Lengths {
        /// What that is, up to ten.
        tasks: Vec<Blocker>,
        /// How many more.
        more: u32,
    },
    /// In the run before, its own task has not succeeded, or what comes right after it (`depends_on_past`,
    /// `wait_for_downstream`).
    DependsOnPast {
        /// What that run stands for.
        logical_date: Timestamp,
        /// Which that is, where it is not over.
        run_id: Option<RunId>,
        /// The tasks there, up to ten.
        tasks: Vec<TaskId>,
    },
    /// A try of it failed, and the next one waits.
    Retry {
        /// Until then.
        due: Timestamp,
    },
    /// It asked to look again later.
    Reschedule {
        /// Then.
        due: Timestamp,
    },
    /// Its trigger has not fired.
    Trigger {
        /// Where the trigger's class is imported from.
        class_path: String,
        /// It goes on with a failure then; never, where there is none.
        until: Option<Timestamp>,
    },
    /// As many tries of the DAG as may be are in flight.
    MaxActiveTasks {
        /// So many.
        most: u32,
        /// Those.
        holders: Holders,
    },
    /// As many tries of the task as may be are in flight, over all runs of its DAG.
    MaxActiveTisPerDag {
        /// So many.
        most: u32,
        /// Those.
        holders: Holders,
    },
    /// As many tries of the task as may be are in flight in its run.
    MaxActiveTisPerDagRun {
        /// So many.
        most: u32,
        /// Those.
        holders: Holders,
    },
    /// There is no such pool.
    NoPool {
        /// Name of the pool.
        pool: PoolName,
    },
    /// The pool will never have as many slots free as the task needs.
    PoolTooSmall {
        /// Name of the pool.
        pool: PoolName,
        /// What the task needs there.
        needs: u32,
        /// How many slots the pool has.
        slots: u32,
    },
    /// The pool has too few free slots.
    Pool {
        /// Name of the pool.
        pool: PoolName,
        /// What the task needs there.
        needs: u32,
        /// What is free there.
        free: u32,
        /// How many slots the pool has.
        slots: u32,
        /// Who has the others.
        holders: Holders,
    },
    /// As many tries as may be are in flight in all.
    Parallelism {
        /// So many.
        most: u32,
        /// Those.
        holders: Holders,
    },
    /// It is offered, and no executor pulls from its queue.
    NoExecutor {
        /// Name of the queue.
        queue: QueueName,
        /// How many executors there are that pull from others.
        others: u32,
    },
    /// It is offered, and asks for more than any executor has that pulls from its queue.
    TooLarge {
        /// Name of the queue.
        queue: QueueName,
        /// How many executors pull from it.
        executors: u32,
        /// What the largest of them lacks, in words.
        lacks: String,
    },
    /// It is offered, and every executor that could take it is cordoned: somebody said that it takes nothing new.
    Cordoned {
        /// Name of the queue.
        queue: QueueName,
        /// How many executors pull from it.
        executors: u32,
        /// Those that are cordoned, up to ten.
        names: Vec<ExecutorName>,
        /// How many more.
        more: u32,
        /// Since when the first of them is.
        since: Option<Timestamp>,
        /// Why the first of these names is, in somebody's words.
        reason: Option<String>,
    },
    /// It is offered, and what it asks for besides a slot is in use on every executor of its queue that has it.
    Resources {
        /// Name of the queue.
        queue: QueueName,
        /// How many executors pull from it.
        executors: u32,
        /// What is lacking on one of them, in words.
        lacks: String,
        /// Who has some of it there.
        holders: Holders,
    },
    /// It is offered, and every executor that pulls from its queue is full.
    ExecutorsFull {
        /// Name of the queue.
        queue: QueueName,
        /// How many those are.
        executors: u32,
        /// How many tries were offered there before it, up to a thousand.
        before: u32,
        /// What they run.
        holders: Holders,
    },
    /// It is offered, and an executor that has room has not begun it yet, as far as the log knows.
    Offered {
        /// Name of the queue.
        queue: QueueName,
        /// How many executors pull from it.
        executors: u32,
    },
    /// It will not run.
    Never {
        /// How it was ruled out.
        why: RuledOut,
        /// The tasks before it that ended so that it was, up to ten.
        tasks: Vec<Blocker>,
        /// How many more.
        more: u32,
        /// A task that decided against it.
        decided_by: Option<TaskId>,
    },
    /// No file defines the DAG any more.
    Gone,
    /// The DAG has no schedule: runs of it are triggered.
    NoSchedule,
    /// The DAG's schedule has no further run: its end date is past, or it was for one run.
    NoFurtherRun,
    /// The DAG's run is made when it is due.
    NextRun {
        /// What the run stands for.
        logical_date: Timestamp,
        /// When it is made.
        due: Timestamp,
    },
    /// The DAG waits for assets to be brought up to date.
    Assets {
        /// Those that it still waits for, up to ten.
        missing: Vec<AssetRef>,
        /// How many more.
        more: u32,
        /// How many were, and wait for these.
        there: u32,
    },
    /// The DAG makes a run for each partition of its assets, once it has what it needs.
    Partitions {
        /// Those of which something came, the oldest first, up to fifty.
        waiting: Vec<crate::PartitionWaits>,
        /// How many more.
        more: u32,
        /// How many were let go so far since too many waited.
        dropped: u64,
        /// How many of their events were let go so far since there were too many, or they took too much.
        #[serde(default)]
        events_dropped: u64,
    },
    /// It waits for a person's answer.
    Hitl {
        /// What is asked, in a line.
        subject: String,
        /// What may be chosen.
        options: Vec<String>,
        /// Who may answer, by name, up to ten; everybody where nobody is named.
        assigned: Vec<String>,
        /// How many more.
        more: u32,
        /// When its time is up; never, where there is none.
        until: Option<Timestamp>,
        /// Whether defaults count then, and it does not fail.
        has_defaults: bool,
    },
}

/// A task that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blocker {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is meant, or is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// How it stands; none of a task of several copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<Stands>,
    /// How many of its copies are not done.
    pub open: u32,
    /// How many copies it has.
    pub copies: u32,
}

/// Tries in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holders {
    /// Up to ten of them, those of the oldest runs.
    pub named: Vec<Holder>,
    /// How many more.
    pub more: u32,
}

/// A try in flight, and what it takes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try.
    pub try_number: TryNumber,
    /// How many slots of its pool it holds.
    pub slots: u32,
    /// Who runs it; none while it is only offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
}

/// A place in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// How many tasks that are ready go before it, by the order in which they are picked.
    pub before: u32,
    /// Whether there are so many at least, and it was not counted further.
    pub at_least: bool,
    /// What for.
    pub line: WaitingLine,
}

/// What a line waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingLine {
    /// Slots of a pool, over all DAGs.
    Pool(PoolName),
    /// Room in the DAG: its other tasks stand there.
    Dag,
    /// Room under a limit of the task's own: its other copies stand there.
    Task,
}
