//! Rows about DAGs and their files.
use dagbok_events::{
    Actor, DagId, DagSpec, DagVersion, Digest, MissedWhy, RunExpected, RunId, Timestamp,
};
use dagbok_protocol::Ahead;
use serde::{Deserialize, Serialize};

use super::{RunState, TotalsRow};

/// A DAG, without its tasks: those are in its [`VersionRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DagRow {
    /// Which.
    pub dag_id: DagId,
    /// The meaning that new runs get.
    pub version: DagVersion,
    /// When that was registered.
    pub registered_at: Timestamp,
    /// The file that it is read from.
    pub file: String,
    /// Its name for people, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its owners, for lists.
    #[serde(default)]
    pub owner: String,
    /// Its tags, for lists.
    pub tags: Vec<String>,
    /// Whether no new runs are made.
    pub paused: bool,
    /// Since when, by whom and why, where that was decided after it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseRow>,
    /// When it went out of its file, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disappeared_at: Option<Timestamp>,
    /// The run that the schedule promises next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<RunExpected>,
    /// The runs that it promises after that.
    #[serde(default)]
    pub ahead: Ahead,
    /// The promises that were broken last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedRow>,
    /// Its runs and their tasks, counted.
    #[serde(default)]
    pub totals: TotalsRow,
    /// The run that was made last.
    #[serde(default)]
    pub last_run: LastRun,
}

/// The run of a DAG that was made last: enough of it for lists of DAGs, which must not read a run for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastRun {
    /// It has none.
    #[default]
    None,
    /// This one.
    Is {
        /// The sequence of the record that made it.
        seq: u64,
        /// Its state.
        state: RunState,
        /// When it began.
        start_date: Option<Timestamp>,
    },
    /// That one was deleted: which is the last now says the index, until another is made.
    Deleted,
}

/// That a DAG was paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PauseRow {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The newest runs, which all failed, where that is why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_runs: Vec<RunId>,
}

/// Runs that were promised and did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissedRow {
    /// The first one's logical date.
    pub first: Timestamp,
    /// The last one's.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// Why.
    pub why: MissedWhy,
    /// When that was found.
    pub at: Timestamp,
}

/// One meaning of a DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The DAG.
    pub spec: DagSpec,
    /// Hash of its meaning.
    pub spec_digest: Digest,
    /// The code that it was read from.
    pub bundle: Digest,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A file that can't be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportErrorRow {
    /// The sequence of the record that said so: its id.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Which file.
    pub file: String,
    /// Which line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The exception's class.
    pub exception: String,
    /// One line.
    pub message: String,
    /// The traceback.
    pub traceback: String,
    /// DAGs that stay in force as they were.
    pub keeps: Vec<DagId>,
}
