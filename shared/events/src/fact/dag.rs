//! Facts about DAGs, their files and their schedules.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DagId, DagSpec, DagVersion, Digest, Interval, Micros, RunId, Timestamp};

/// See [`crate::Fact::DagRegistered`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagRegistered {
    /// Rises by one with each meaning.
    pub version: DagVersion,
    /// Hash of the canonical form of `spec`, without where it was read.
    pub spec_digest: Digest,
    /// The code as it was: the folder's content-addressed bundle.
    pub bundle: Digest,
    /// All that the file says of the DAG.
    pub spec: DagSpec,
    /// Whether it is paused now, for a DAG seen for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// See [`crate::Fact::BundlePublished`]. Scope: the namespace. DAGs whose files can't be read now keep
/// the bundle that they had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundlePublished {
    /// The folder's content-addressed bundle.
    pub bundle: Digest,
    /// Which folder, where it goes by a name. Files of no other get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

/// See [`crate::Fact::DagImportFailed`]. Scope: the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagImportFailed {
    /// The line that failed, from 1, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The exception's class, or `Timeout`, `Crash`.
    pub exception: String,
    /// One line for people.
    pub message: String,
    /// The traceback, cut to the published limit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceback: String,
    /// DAGs registered from this file before, which stay in force as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<DagId>,
}

/// See [`crate::Fact::DagImportRecovered`]. Scope: the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagImportRecovered {
    /// Whether the file is gone rather than mended.
    #[serde(default)]
    pub removed: bool,
}

/// See [`crate::Fact::DagDisappeared`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagDisappeared {
    /// Where it last was.
    pub file: String,
    /// Whether the whole file is gone.
    pub file_gone: bool,
}

/// See [`crate::Fact::DagPaused`]. Scope: the DAG.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagPaused {
    /// Its newest runs, which all failed, newest first: `max_consecutive_failed_dag_runs` of them, and so the DAG was
    /// paused by the rules. Empty where somebody asked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_runs: Vec<RunId>,
}

/// See [`crate::Fact::DagUnpaused`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagUnpaused {}

/// See [`crate::Fact::DagForgotten`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagForgotten {}

/// See [`crate::Fact::DagVersionsForgotten`]. Scope: the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagVersionsForgotten {
    /// All versions before this one.
    pub below: DagVersion,
}

/// See [`crate::Fact::RunExpected`]. Scope: the DAG, or the run before. Replaces the promise before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunExpected {
    /// The run's logical date; `None` withdraws the promise: nothing is expected any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
    /// When it should be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// How much later than due is still in order.
    #[serde(default)]
    pub grace: Micros,
    /// Who is to be told; empty where the DAG names nobody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Runs promised beyond this one, in order: after those that still stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<ExpectedRuns>,
    /// Whether what was promised before still stands, as far as it comes after this run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
}

/// Promised runs at even distances. The logical date of each is where its data interval starts, and it is due
/// where that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedRuns {
    /// The first one's data interval.
    pub first: Interval,
    /// From one to the next, in microseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub step: Micros,
    /// How many they are.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
}

pub(super) const fn one() -> u32 {
    1
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
pub(super) const fn is_one(n: &u32) -> bool {
    *n == 1
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
pub(super) const fn is_none(step: &Micros) -> bool {
    step.0 == 0
}

/// See [`crate::Fact::RunMissed`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunMissed {
    /// The first missed run's logical date.
    pub first: Timestamp,
    /// The last one's.
    pub last: Timestamp,
    /// How many, counted up to the published limit.
    pub count: u32,
    /// Why they did not happen.
    pub why: MissedWhy,
}

/// Why promised runs did not happen.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MissedWhy {
    /// The DAG was paused.
    Paused,
    /// No scheduler was running, and the DAG does not catch up.
    NoScheduler,
    /// The schedule was changed or the DAG went away.
    ScheduleChanged,
    /// `max_active_runs` were running until the next was due, and the DAG does not catch up.
    TooManyActive,
    /// Somebody made a run of that logical date.
    MadeByHand,
}
