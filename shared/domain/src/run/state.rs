//! Where a copy of a task stands: each state carries just what is true in it.
use dagbok_events::{ExecutorId, Leg, PoolName, QueueName, RuledOut, Timestamp, TryNumber};
use serde::{Deserialize, Serialize};

/// What a try in flight takes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose slots.
    pub pool: PoolName,
    /// How many.
    pub slots: u32,
    /// On which queue it was offered.
    pub queue: QueueName,
}

/// Which execution of a task's copy: what fences off all others. Rises and never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// Which try.
    pub try_number: TryNumber,
    /// Which leg of it.
    pub leg: Leg,
}

/// Airflow's task-instance states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// Airflow's `None`: waiting for upstreams or for its turn.
    Waiting,
    /// Offered to the executors.
    Queued {
        /// Which execution.
        token: Token,
        /// When.
        at: Timestamp,
        /// By which record.
        seq: u64,
        /// What it takes up.
        hold: Hold,
    },
    /// Begun.
    Running {
        /// Which execution.
        token: Token,
        /// By whom.
        executor: ExecutorId,
        /// What it takes up.
        hold: Hold,
    },
    /// To be tried again.
    UpForRetry {
        /// When the try before ended, by the clock of who decided it.
        since: Timestamp,
        /// Not before this.
        due: Timestamp,
    },
    /// To go on with the same try.
    UpForReschedule {
        /// Which execution comes next.
        token: Token,
        /// When the leg before ended, by the clock of who decided it.
        since: Timestamp,
        /// Not before this.
        due: Timestamp,
    },
    /// Over, until somebody clears it.
    Done(Done),
}

/// Airflow's terminal states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// A try succeeded.
    Success,
    /// Ran out of tries, or was cancelled in flight.
    Failed,
    /// Never ran, or its code said to skip.
    RuledOut(RuledOut),
}

impl Done {
    /// Whether a leaf that ended so fails its run.
    pub const fn fails_run(self) -> bool {
        matches!(self, Self::Failed | Self::RuledOut(RuledOut::UpstreamFailed))
    }
}

impl TaskState {
    /// What it takes up; nothing unless in flight.
    pub const fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Queued { hold, .. } | Self::Running { hold, .. } => Some(hold),
            Self::Waiting
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// The execution in flight.
    pub const fn in_flight(&self) -> Option<Token> {
        match self {
            Self::Queued { token, .. } | Self::Running { token, .. } => Some(*token),
            Self::Waiting
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// Who runs it.
    pub const fn executor(&self) -> Option<&ExecutorId> {
        match self {
            Self::Running { executor, .. } => Some(executor),
            Self::Queued { .. }
            | Self::Waiting
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// When it may be queued again.
    pub const fn due(&self) -> Option<Timestamp> {
        match self {
            Self::UpForRetry { due, .. } | Self::UpForReschedule { due, .. } => Some(*due),
            Self::Waiting | Self::Queued { .. } | Self::Running { .. } | Self::Done(_) => None,
        }
    }

    /// Since when it is offered to the executors, on which queue, and nobody is known to have begun it.
    pub fn queued_since(&self) -> Option<(Timestamp, QueueName)> {
        match self {
            Self::Queued { at, hold, .. } => Some((*at, hold.queue.clone())),
            Self::Running { .. }
            | Self::Waiting
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// How it ended.
    pub const fn done(&self) -> Option<Done> {
        match self {
            Self::Done(done) => Some(*done),
            Self::Waiting
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. } => None,
        }
    }
}
