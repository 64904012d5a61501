//! How a DAG went over the days: what runs took, what tasks used, and what became of each day.
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::super::DateTime;

/// How a DAG went.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiPast {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// Id of the DAG.
    pub dag_id: String,
    /// The zone that its days are days of.
    pub timezone: String,
    /// The task that points and bands are of; left out where they are the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// How many runs were looked at, the newest.
    pub runs: usize,
    /// Whether those are all that there are.
    pub complete: bool,
    /// Days with something to say, the oldest first.
    pub days: Vec<UiDay>,
    /// Runs, or the task in each of them, the newest last, at most 240.
    pub points: Vec<UiPoint>,
    /// The middle of how long those of the points took that succeeded, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// What nineteen of twenty of them did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Tasks of the newest version, in the order of its file, over the newest runs; at most 500.
    pub tasks: Vec<UiTaskPast>,
    /// How many tasks that version has.
    pub task_count: usize,
    /// Over so many runs.
    pub task_runs: usize,
}

/// A day of a DAG, in the DAG's zone, by what its runs stand for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiDay {
    /// The date: `2026-11-19`.
    pub day: String,
    /// How many hours it has: 24, but where clocks are changed.
    pub hours: u8,
    /// Its runs by state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, u32>,
    /// Runs that are promised for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub planned: u32,
    /// The middle of how long runs of it took that succeeded, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The longest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A run, or a task of it, as a point.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiPoint {
    /// Id of the run.
    pub run_id: String,
    /// What it stands for, or when it could begin.
    pub at: DateTime,
    /// Airflow's state.
    pub state: String,
    /// How long it was queued, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<f64>,
    /// How long it took, in seconds; left out while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<f64>,
    /// The most memory that the try had, in bytes: of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// How a task went over the newest runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiTaskPast {
    /// Id of the task.
    pub task_id: String,
    /// Runs in which it succeeded.
    pub succeeded: u32,
    /// Runs in which it failed.
    pub failed: u32,
    /// The middle of how long it took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// What nineteen of twenty did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// By how many hundredths of the middle the newest differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<i32>,
    /// What nineteen of twenty tries needed no more memory than, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Whether it is mapped: what its copies took is not summed up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
}
