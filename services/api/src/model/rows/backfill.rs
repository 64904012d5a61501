//! Rows about backfills.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, BackfillId, DagId, ExpectedRuns, Payload, ReprocessBehavior, SkippedWhy, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::RunState;

/// A backfill, going on or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillRow {
    /// Which.
    pub backfill_id: BackfillId,
    /// Whose.
    pub dag_id: DagId,
    /// The first logical date that was asked for.
    pub from_date: Timestamp,
    /// The last one.
    pub to_date: Timestamp,
    /// All its dates, in the order of time.
    pub runs: Vec<ExpectedRuns>,
    /// How many they are.
    pub total: u32,
    /// Whether the newest comes first.
    pub run_backwards: bool,
    /// What becomes of dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// How many of its runs may be under way at once.
    pub max_active_runs: u32,
    /// What its runs find as conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
    /// Who asked for it.
    pub created_by: Actor,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// The sequence of the record that made it.
    pub created_seq: u64,
    /// When something was last decided about it.
    pub updated_at: Timestamp,
    /// Who stopped it for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<BackfillPauseRow>,
    /// How it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<BackfillEnd>,
    /// Dates that got a run, or whose run runs again.
    pub taken: u32,
    /// Dates that were passed over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<SkippedWhy, u32>,
    /// How its runs stand, or stood when they were deleted or went to another backfill.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<RunState, u32>,
}

/// Who paused a backfill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillPauseRow {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a backfill is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillEnd {
    /// Whether somebody ended it before its end.
    pub cancelled: bool,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl BackfillRow {
    /// Dates that were seen to.
    pub fn seen_to(&self) -> u32 {
        self.taken.saturating_add(self.skipped.values().sum())
    }

    /// Runs in a state.
    pub fn count(&self, state: RunState) -> u32 {
        self.counts.get(&state).copied().unwrap_or(0)
    }
}

/// A backfill of a DAG; all is in its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackfillOfDagRow {}
