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

/// What a deferred try takes up of a pool that counts those, and when its trigger's time is up.
pub type Parked = (Hold, Option<Timestamp>);

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
    /// Waiting for a trigger.
    Deferred {
        /// Which execution comes next.
        token: Token,
        /// Since when, by the clock of who decided it.
        since: Timestamp,
        /// By which record.
        seq: u64,
        /// What it takes up of a pool that counts what is deferred.
        hold: Hold,
        /// It goes on with a failure then.
        until: Option<Timestamp>,
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

    /// Whether the task is no part of its run: nothing is asked of it there.
    pub const fn is_no_part(self) -> bool {
        matches!(self, Self::RuledOut(RuledOut::Removed | RuledOut::OutOfDates))
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
            | Self::Deferred { .. }
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
            | Self::Deferred { .. }
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
            | Self::Deferred { .. }
            | Self::Done(_) => None,
        }
    }

    /// When it may be queued again.
    pub const fn due(&self) -> Option<Timestamp> {
        match self {
            Self::UpForRetry { due, .. } | Self::UpForReschedule { due, .. } => Some(*due),
            Self::Waiting
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::Deferred { .. }
            | Self::Done(_) => None,
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
            | Self::Deferred { .. }
            | Self::Done(_) => None,
        }
    }

    /// Which execution a trigger stands for.
    pub const fn deferred(&self) -> Option<Token> {
        match self {
            Self::Deferred { token, .. } => Some(*token),
            Self::Waiting
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// What a trigger's wait takes up, and when its time is up.
    pub fn parked(&self) -> Option<Parked> {
        match self {
            Self::Deferred { hold, until, .. } => Some((hold.clone(), *until)),
            Self::Waiting
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Done(_) => None,
        }
    }

    /// Whether it waits for a time or for a trigger, with a try behind it.
    pub const fn is_between(&self) -> bool {
        self.due().is_some() || self.deferred().is_some()
    }

    /// How it ended.
    pub const fn done(&self) -> Option<Done> {
        match self {
            Self::Done(done) => Some(*done),
            Self::Waiting
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::UpForRetry { .. }
            | Self::UpForReschedule { .. }
            | Self::Deferred { .. } => None,
        }
    }
}
