//! Backfills.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DateTime, WhyExpected};

/// What becomes of dates that have a run already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReprocessBehavior {
    /// They are passed over.
    #[default]
    None,
    /// The run runs again where it failed.
    Failed,
    /// The run runs again, however it ended.
    Completed,
}

/// Asks for a backfill, or for what one would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillBody {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// The first logical date: RFC 3339 with an offset.
    #[schema(value_type = DateTime)]
    pub from_date: String,
    /// The last one.
    #[schema(value_type = DateTime)]
    pub to_date: String,
    /// Whether the newest comes first.
    #[serde(default)]
    pub run_backwards: bool,
    /// A JSON object for the tasks of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub dag_run_conf: Option<Box<RawValue>>,
    /// What becomes of dates that have a run.
    #[serde(default)]
    pub reprocess_behavior: ReprocessBehavior,
    /// How many of its runs may be under way at once; they do not count for the DAG's own limit.
    #[serde(default = "ten")]
    pub max_active_runs: u32,
    /// All its runs run the DAG as it is then, those that run again too, so `false` is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_on_latest_version: Option<bool>,
    /// Why, for people. Airflow has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// As many as in Airflow.
const fn ten() -> u32 {
    10
}

/// A backfill.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillResponse {
    /// Its number, over all DAGs.
    pub id: u64,
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// The first logical date that was asked for.
    pub from_date: DateTime,
    /// The last one.
    pub to_date: DateTime,
    /// What its runs find as conf.
    #[schema(value_type = Option<Object>)]
    pub dag_run_conf: Option<Box<RawValue>>,
    /// Whether it makes no runs and starts none.
    pub is_paused: bool,
    /// What becomes of dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// How many of its runs may be under way at once.
    pub max_active_runs: u32,
    /// When it was asked for.
    pub created_at: DateTime,
    /// When it was over, be it that somebody cancelled it; null while it is not.
    pub completed_at: Option<DateTime>,
    /// When something was last decided about it or its runs.
    pub updated_at: DateTime,
    /// The DAG's name for people.
    pub dag_display_name: String,
    /// What Airflow has no word for.
    pub dagbok: BackfillExtra,
}

/// What Dagbok says of a backfill beyond Airflow's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillExtra {
    /// `running`, `paused`, `completed` or `cancelled`.
    pub state: String,
    /// How it stands and what keeps it, for people.
    pub message: String,
    /// Whether the newest comes first.
    pub run_backwards: bool,
    /// How many dates it has.
    pub total: u32,
    /// Runs of it that are over, well.
    pub done: u32,
    /// Runs of it that are over, badly.
    pub failed: u32,
    /// Runs of it that are under way.
    pub running: u32,
    /// Runs of it that wait for their turn.
    pub queued: u32,
    /// Dates that were passed over, by why: `already_exists`, `in_flight`, `history_gone`.
    pub skipped: BTreeMap<String, u32>,
    /// Dates that are yet to be seen to.
    pub left: u32,
    /// The date whose turn it is; null where none is left, or it is over.
    pub next_logical_date: Option<DateTime>,
    /// When its last run is expected to end, by how long runs of its DAG took; null where nothing tells, where it
    /// is over or kept, and in lists.
    pub expected: Option<WhyExpected>,
    /// Who asked for it.
    pub created_by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why, in their words.
    pub pause_reason: Option<String>,
    /// Who ended it, where somebody did.
    pub ended_by: Option<String>,
    /// Why, in their words.
    pub end_reason: Option<String>,
    /// The sequence of the record that made it.
    pub created_seq: u64,
}

/// A page of backfills.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillCollection {
    /// The entries of this page.
    pub backfills: Vec<BackfillResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// A date that a backfill would see to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRunBackfill {
    /// The logical date of its run.
    pub logical_date: Option<DateTime>,
    /// Always null.
    pub partition_key: Option<String>,
    /// Always null.
    pub partition_date: Option<DateTime>,
}

/// What a backfill would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRunBackfillCollection {
    /// The dates that would get a run, or whose run would run again, in the backfill's order.
    pub backfills: Vec<DryRunBackfill>,
    /// How many those are.
    pub total_entries: usize,
    /// What Airflow has no word for.
    pub dagbok: DryRunExtra,
}

/// What Dagbok says of what a backfill would do beyond Airflow's words.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DryRunExtra {
    /// How many dates it has.
    pub total: u32,
    /// How many would get a run.
    pub create: u32,
    /// How many have a run that would run again.
    pub rerun: u32,
    /// How many would be passed over, since they have a run that is over.
    pub skip_existing: u32,
    /// How many would be passed over, since they have a run that is not over.
    pub skip_in_flight: u32,
    /// Every date, in the backfill's order.
    pub dates: Vec<DryRunDate>,
}

/// What would become of a date.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRunDate {
    /// The logical date of its run.
    pub logical_date: DateTime,
    /// Where its data begins.
    pub data_interval_start: DateTime,
    /// Where its data ends.
    pub data_interval_end: DateTime,
    /// `create`, `rerun`, `skip_existing` or `skip_in_flight`.
    pub does: String,
}
