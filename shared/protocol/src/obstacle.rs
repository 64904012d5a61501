//! Why a task that waits is not queued.
use dagbok_events::{PoolName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What keeps a task from being queued: the first thing in its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Obstacle {
    /// Its run waits for its turn.
    RunQueued,
    /// Its upstreams are not done.
    Upstream,
    /// It is to go on later.
    NotDue {
        /// Then.
        due: Timestamp,
    },
    /// In the run before, its own task has not succeeded, or what comes right after it (`depends_on_past`,
    /// `wait_for_downstream`).
    DependsOnPast {
        /// What that run stands for.
        logical_date: Timestamp,
    },
    /// The DAG is paused.
    Paused,
    /// As many tries of the DAG as may be are in flight.
    MaxActiveTasks {
        /// So many.
        most: u32,
    },
    /// As many tries of the task as may be are in flight, over all runs of its DAG.
    MaxActiveTisPerDag {
        /// So many.
        most: u32,
    },
    /// As many tries of the task as may be are in flight in its run.
    MaxActiveTisPerDagRun {
        /// So many.
        most: u32,
    },
    /// There is no such pool.
    NoPool {
        /// Name of the pool.
        pool: PoolName,
    },
    /// The pool will never have as many slots free as the task needs.
    PoolTooSmall {
        /// Name of the pool.
        pool: PoolName,
        /// What the task needs there.
        needs: u32,
        /// How many slots the pool has.
        slots: u32,
    },
    /// The pool has too few free slots.
    Pool {
        /// Name of the pool.
        pool: PoolName,
        /// What the task needs there.
        needs: u32,
        /// What is free there.
        free: u32,
    },
    /// As many tries as may be are in flight in all.
    Parallelism {
        /// So many.
        most: u32,
    },
}
