//! By when runs and tasks of a DAG are to be done, as its file says it: Airflow 3's Deadline Alerts, Airflow 2's `sla`.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Micros, TaskId, Timestamp};

/// A time by which something is to be done. It changes nothing of a run: whoever watches tells people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Deadline {
    /// The task that is to be done by then; the whole run where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// What it is counted from.
    pub from: DeadlineFrom,
    /// How much later than that it is, in microseconds; before it where negative.
    pub after: Micros,
    /// What its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a deadline is counted from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineFrom {
    /// The end of the run's data interval, of scheduled runs only: Airflow 2's `sla`.
    IntervalEnd,
    /// The run's logical date; a run without one has no deadline.
    LogicalDate,
    /// When the run was made or cleared.
    QueuedAt,
    /// This instant, whichever run it is.
    Fixed(Timestamp),
    /// When the run was made, and how long runs that succeeded took on average.
    AverageRuntime {
        /// How many of the newest count.
        max_runs: u32,
        /// With fewer than these there is no deadline.
        min_runs: u32,
    },
}
