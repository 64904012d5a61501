//! Pools with who holds them, and executors with how the installation is.
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{DateTime, ExecutorInfo, Health};

/// Every pool, with who holds its slots and who has yet to come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiPools {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// Pools by name.
    pub pools: Vec<UiPool>,
    /// Whether every run that is under way was looked at for holders; else the oldest of them were.
    pub complete: bool,
}

/// A pool with who holds it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiPool {
    /// Name of the pool.
    pub name: String,
    /// How many slots it has; -1 is no limit.
    pub slots: i64,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    pub include_deferred: bool,
    /// Slots held by tries that run.
    pub running: i64,
    /// Slots held by tries that are queued.
    pub queued: i64,
    /// Slots of tries that wait for a trigger, held where `include_deferred` says so.
    pub deferred: i64,
    /// Slots that are free; -1 where there is no limit.
    pub open: i64,
    /// Tries that hold slots, the longest first, at most 100.
    pub holders: Vec<UiPoolTask>,
    /// How many those are.
    pub holder_count: usize,
    /// Tasks of runs under way that have not begun and take their slots here, by how long their run runs, at most 100.
    pub to_come: Vec<UiPoolTask>,
    /// How many those are.
    pub to_come_count: usize,
}

/// A task that holds slots of a pool, or will.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiPoolTask {
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// Id of the task.
    pub task_id: String,
    /// Which copy; -1 where it is not mapped.
    pub map_index: i32,
    /// Airflow's state; `none` where it has none yet.
    pub state: String,
    /// How many slots.
    pub slots: u32,
    /// Since when it holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime>,
}

/// Who runs tries, and how the installation is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiExecutors {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// How the parts of the installation are.
    pub health: Health,
    /// Executors that are there, in the order of coming: at most 200, a page.
    pub executors: Vec<ExecutorInfo>,
    /// How many come before them.
    pub offset: usize,
    /// How many those are.
    pub total: usize,
}
