//! What a fact means once what was before is known: how long something took, what it was handed from, whose it is.
use dagbok_events::{
    DagId, Failure, FailureKind, Fault, Micros, QueueName, RunKey, RunType, TaskId, Usage,
};

/// The trace of a run that is recorded.
pub type Trace = [u8; 16];

/// The task that a note is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way<'a> {
    /// Its run.
    pub run: &'a RunKey,
    /// The task.
    pub task: &'a TaskId,
    /// Its operator's class, where the DAG is known.
    pub operator: Option<&'a str>,
    /// The queue that its try was offered on, where one is open.
    pub queue: Option<&'a QueueName>,
    /// The trace of its run, where that is recorded.
    pub trace: Option<Trace>,
}

/// Something that is counted or measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Note<'a> {
    /// A run came into being, so long after it was due, where a schedule made it.
    RunCreated {
        /// Which.
        run: &'a RunKey,
        /// How it came about.
        run_type: RunType,
        /// From when it was due.
        delay: Option<Micros>,
        /// Its trace, where that is recorded.
        trace: Option<Trace>,
    },
    /// A run started, so long after it was due, where a schedule made it.
    RunStarted {
        /// Which.
        run: &'a RunKey,
        /// From when it was due.
        delay: Option<Micros>,
        /// Its trace, where that is recorded.
        trace: Option<Trace>,
    },
    /// The first try of a run started.
    FirstTry {
        /// Whose.
        run: &'a RunKey,
        /// From when the run was due, where a schedule made it.
        delay: Option<Micros>,
        /// From the run's making.
        queued: Micros,
        /// Its trace, where that is recorded.
        trace: Option<Trace>,
    },
    /// A run ended.
    RunEnded {
        /// Which.
        run: &'a RunKey,
        /// As what: `success`, `failed`, `timed_out`, `cancelled`.
        state: &'static str,
        /// From its start, where it had one.
        took: Option<Micros>,
        /// Its trace, where that is recorded.
        trace: Option<Trace>,
    },
    /// Promised runs did not happen.
    Missed {
        /// Why.
        why: &'static str,
        /// How many.
        count: u64,
    },
    /// A try was offered, so long after the end that let it where that is known.
    Queued {
        /// Of which task.
        of: Way<'a>,
        /// From the end of the last upstream.
        decided: Option<Micros>,
        /// Whether it is the task's first in its run.
        is_first: bool,
    },
    /// A try began.
    Started {
        /// Of which task.
        of: Way<'a>,
        /// From its being queued.
        queued: Option<Micros>,
        /// From the end of the last upstream, where it was handed its work by that.
        handed: Option<Micros>,
    },
    /// A try, or one leg of it, ended.
    Ended {
        /// Of which task.
        of: Way<'a>,
        /// What became of the task: `success`, `failed`, `up_for_retry` and the like.
        state: &'static str,
        /// How the task stands from now on, in Airflow's words; `None` where it is offered again as it was.
        task_state: Option<&'static str>,
        /// From its start, where it had one.
        took: Option<Micros>,
        /// What it used.
        usage: Option<Usage>,
        /// How and whose, where it failed.
        failure: Option<&'a Failure>,
    },
    /// Copies of a task will not run.
    RuledOut {
        /// Of which task.
        of: Way<'a>,
        /// Why: `skipped`, `upstream_failed`, `removed`.
        why: &'static str,
        /// How many.
        count: u64,
    },
    /// Copies of a task are to run again.
    Cleared {
        /// How many.
        count: u64,
    },
    /// A trigger fired, or came to nothing.
    Trigger {
        /// `fired` or `failed`.
        outcome: &'static str,
        /// Whether it kept all others of its process waiting.
        blocked: bool,
    },
    /// A callback was called, or could not be.
    Callback {
        /// `success`, `failed`, `lost`, `task_failed`.
        outcome: &'static str,
        /// Of which DAG.
        dag: Option<&'a DagId>,
    },
    /// A report was refused.
    Refused {
        /// Why.
        why: &'static str,
    },
    /// An asset was brought up to date.
    AssetUpdated,
    /// A DAG has another meaning.
    Registered,
    /// A DAG is gone for good.
    Forgotten {
        /// Which.
        dag: &'a DagId,
    },
    /// A DAG file could not be read.
    ImportFailed {
        /// Which.
        file: &'a str,
        /// Whether that took too long.
        timeout: bool,
    },
    /// An executor came.
    ExecutorJoined,
    /// An executor went.
    ExecutorLeft {
        /// `drained` or `gone`.
        why: &'static str,
    },
    /// The scheduler's clock went back.
    ClockWentBack,
    /// An entry that is no record was passed over.
    Foreign,
}

impl Note<'_> {
    /// The trace of the run that it is about, where that is recorded.
    pub const fn trace(&self) -> Option<Trace> {
        match self {
            Self::RunCreated { trace, .. }
            | Self::RunStarted { trace, .. }
            | Self::FirstTry { trace, .. }
            | Self::RunEnded { trace, .. } => *trace,
            Self::Queued { of, .. }
            | Self::Started { of, .. }
            | Self::Ended { of, .. }
            | Self::RuledOut { of, .. } => of.trace,
            Self::Missed { .. }
            | Self::Cleared { .. }
            | Self::Trigger { .. }
            | Self::Callback { .. }
            | Self::Refused { .. }
            | Self::AssetUpdated
            | Self::Registered
            | Self::Forgotten { .. }
            | Self::ImportFailed { .. }
            | Self::ExecutorJoined
            | Self::ExecutorLeft { .. }
            | Self::ClockWentBack
            | Self::Foreign => None,
        }
    }
}

/// The label's word of a fault.
pub(crate) const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::User => "user",
        Fault::System => "system",
        Fault::Data => "data",
    }
}

/// The label's word of a kind of run.
pub(crate) const fn run_type(run_type: RunType) -> &'static str {
    match run_type {
        RunType::Manual => "manual",
        RunType::Scheduled => "scheduled",
        RunType::Backfill => "backfill",
        RunType::AssetTriggered => "asset_triggered",
    }
}

/// The labels of a failure.
pub(crate) const fn failure(of: &Failure) -> (&'static str, &'static str) {
    let kind: FailureKind = of.kind;
    (kind.word(), fault(of.fault))
}
