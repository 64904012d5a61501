//! Facts about backfills: many runs of a DAG's past that somebody asked for at once.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackfillId, ExpectedRuns, Payload, Timestamp};

/// What becomes of a date of a backfill that has a run already: Airflow's words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ReprocessBehavior {
    /// It is passed over.
    None,
    /// The run runs again where it failed.
    Failed,
    /// The run runs again, however it ended.
    Completed,
}

/// See [`crate::Fact::BackfillCreated`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillCreated {
    /// Which backfill: from one, in the order of making, over all DAGs.
    pub backfill_id: BackfillId,
    /// The first logical date that was asked for.
    pub from_date: Timestamp,
    /// The last one.
    pub to_date: Timestamp,
    /// All its runs, in the order of their logical dates, as the schedule was then.
    pub runs: Vec<ExpectedRuns>,
    /// Whether the newest comes first.
    pub run_backwards: bool,
    /// What becomes of dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// How many of its runs may be under way at once; they do not count for the DAG's own limit.
    pub max_active_runs: u32,
    /// What its runs find as conf: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
}

/// See [`crate::Fact::BackfillPaused`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillPaused {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
}

/// See [`crate::Fact::BackfillUnpaused`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillUnpaused {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
}

/// See [`crate::Fact::BackfillCancelled`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillCancelled {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
}

/// See [`crate::Fact::BackfillCompleted`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillCompleted {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
}

/// Why a date of a backfill was passed over.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SkippedWhy {
    /// It has a run that is over, and is not to run again.
    AlreadyExists,
    /// It has a run that is not over.
    InFlight,
    /// It has a run that is over, and what the log held of it can't be read any more.
    HistoryGone,
}

/// See [`crate::Fact::BackfillSkipped`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillSkipped {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
    /// The first logical date that is passed over, in the backfill's order.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// How many they are.
    pub count: u32,
    /// What kept them from getting a run, or their run from running again.
    pub why: SkippedWhy,
}

/// See [`crate::Fact::RunBackfilled`]. Scope: the run. What clears it stands in the same record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunBackfilled {
    /// Id of the backfill.
    pub backfill_id: BackfillId,
    /// What the run finds as conf from now on, where the backfill has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
}
