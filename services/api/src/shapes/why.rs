//! Why something waits.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// How a DAG, a run or a task stands, and all that keeps it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyAnswer {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG; null where the DAG's next run was asked about.
    pub dag_run_id: Option<String>,
    /// As of when this is.
    pub at: DateTime,
    /// The last record of the log that counts.
    pub seq: Option<u64>,
    /// Who says it: `scheduler`, who decides; `log`, as whoever folds it up to that record sees it; `rows`, what is
    /// kept of a run that is over.
    pub by: String,
    /// In one sentence, for people.
    pub message: String,
    /// What was asked about, with its reasons.
    pub is: WhyPiece,
    /// Its place in line; null where it waits for none.
    pub place: Option<WhyPlace>,
    /// When it is expected to go on, by what went before; null where nothing tells.
    pub expected: Option<WhyExpected>,
    /// Of a run: what of it is under way, or stands at the head of what waits. Of a task that waits for others: the
    /// same among those.
    pub roots: Vec<WhyPiece>,
    /// How many more of those there are at least.
    pub more_roots: u32,
}

/// How what kept something changed over its wait.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyChanges {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// Id of the task; null where the run was asked about.
    pub task_id: Option<String>,
    /// Each time that other reasons kept it, or that it stood differently; the first is how it began.
    pub changes: Vec<WhyChange>,
    /// Whether those are all: false of a long wait, of which only some instants were looked at, and where there are
    /// more than 100.
    pub complete: bool,
}

/// What kept something from an instant on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyChange {
    /// From when on.
    pub at: DateTime,
    /// The record of the log with which it came to be so.
    pub seq: u64,
    /// In one sentence, for people.
    pub message: String,
    /// What was asked about, with its reasons.
    pub is: WhyPiece,
}

/// A DAG, a run or a copy of a task, with all that keeps it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyPiece {
    /// Id of the task; null where it is a run or a DAG.
    pub task_id: Option<String>,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    pub map_index: i32,
    /// `scheduled` of a DAG, `waiting`, `queued`, `running`, `ending`, `up_for_retry`, `up_for_reschedule`,
    /// `deferred`, `success`, `failed`, `skipped`, `upstream_failed` or `removed`.
    pub state: String,
    /// Since when, where that is known.
    pub since: Option<DateTime>,
    /// Number of the try in flight.
    pub try_number: Option<u16>,
    /// Who runs it.
    pub executor: Option<String>,
    /// All that keeps it, the nearest first; empty where nothing does.
    pub reasons: Vec<WhyReason>,
}

/// One thing that keeps something from going on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct WhyReason {
    /// `next`, `paused`, `run_queued`, `max_active_runs`, `backfill_paused`, `backfill_max_active_runs`, `not_due`, `timed_out`, `upstream`, `scope`, `lengths`,
    /// `depends_on_past`, `retry`, `reschedule`, `trigger`, `max_active_tasks`, `max_active_tis_per_dag`,
    /// `max_active_tis_per_dagrun`, `no_pool`, `pool_too_small`, `pool`, `parallelism`, `no_executor`, `too_large`,
    /// `resources`, `executors_full`, `offered`, `held`, `never`, `gone`, `no_schedule`, `no_further_run`, `next_run` or `assets`.
    pub kind: String,
    /// For people.
    pub message: String,
    /// When it passes by itself, where that is known.
    pub until: Option<DateTime>,
    /// The pool or the queue.
    pub name: Option<String>,
    /// The limit that is reached, or the slots of the pool.
    pub most: Option<u32>,
    /// Tasks that it waits for, or that ended so that it will not run.
    pub tasks: Vec<WhyTask>,
    /// Runs that have what it waits for.
    pub runs: Vec<String>,
    /// Tries that have what it waits for.
    pub holders: Vec<WhyHolder>,
    /// Assets that it waits for.
    pub assets: Vec<String>,
    /// How many more of those there are at least.
    pub more: u32,
}

/// A task that something waits for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyTask {
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Which of a mapped task's copies, from 0; -1 where the task is meant, or is not mapped.
    pub map_index: i32,
    /// How it stands; null of a task of several copies.
    pub state: Option<String>,
    /// How many of its copies are not done.
    pub open: u32,
    /// How many copies it has.
    pub copies: u32,
}

/// A try in flight that has what something waits for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyHolder {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: String,
    /// Id of the run, unique within its DAG.
    pub dag_run_id: String,
    /// Id of the task, unique within its DAG.
    pub task_id: String,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    pub map_index: i32,
    /// Number of the try.
    pub try_number: u16,
    /// How many slots of its pool it holds.
    pub slots: u32,
    /// Who runs it; null while it is only offered.
    pub executor: Option<String>,
    /// Since when it runs, where that is known.
    pub since: Option<DateTime>,
}

/// A place in line.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyPlace {
    /// How many tasks that are ready go before it, as things stand.
    pub before: u32,
    /// Whether there are so many at least, and it was not counted further.
    pub at_least: bool,
    /// What the line is for: `pool`, `dag` or `task`.
    pub line: String,
}

/// When something is expected to go on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyExpected {
    /// By then in half of the cases.
    pub p50: DateTime,
    /// By then in nine of ten.
    pub p90: DateTime,
    /// How many earlier tries that rests on; 0 where the time is fixed, as of a retry.
    pub of: u32,
}
