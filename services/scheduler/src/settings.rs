//! What the scheduler can be told.
use std::time::Duration;

use dagbok_events::Micros;
use dagbok_protocol::PoolChange;

use crate::Archiving;

/// Limits and pools that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Tries that may be in flight at once.
    pub parallelism: u32,
    /// Losses of one task in one run that are made up for.
    pub max_losses: u16,
    /// Failed runs in a row after which a DAG is paused that does not say; 0 for never.
    pub max_consecutive_failed_dag_runs: u32,
    /// How long a try may be queued while somebody could begin it; 0 for ever.
    pub task_queued_timeout: Micros,
    /// Pools as they are to be; others are left alone.
    pub pools: Vec<PoolChange>,
}

/// Settings of one scheduler.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct SchedulerSettings {
    /// An executor whose presence is not renewed for this long has lost its tries.
    pub executor_lease: Duration,
    /// How long a dead leader keeps the stand-by waiting.
    pub leader_lease: Duration,
    /// Records between two snapshots of the fold.
    pub snapshot_every: u64,
    /// Executors of an earlier life of this process are gone with it, so that their tries need no lease
    /// to run out. True where all services share one process.
    pub executors_end_with_process: bool,
    /// A try that waits on its queue for one to two times as long is offered again, in case its work item
    /// was lost.
    pub offer_again: Duration,
    /// Limits and pools that are to be so whenever a term begins; without, they stay as the log has them.
    pub holds: Option<Holds>,
    /// Where old records go, and when; without, the log keeps all of them.
    pub archiving: Option<Archiving>,
    /// Where the log ends before what the snapshot knows of: folds it afresh, rather than refusing to start.
    pub accept_shorter_log: bool,
    /// Whether tries are to say what their operators read and wrote.
    pub lineage: bool,
    /// Leads without asking for the lease: two then race for each append, which the log survives.
    /// For tests of just that.
    pub ignore_lease: bool,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            executor_lease: Duration::from_secs(30),
            leader_lease: Duration::from_secs(3),
            snapshot_every: 20_000,
            executors_end_with_process: false,
            offer_again: Duration::from_mins(1),
            holds: None,
            archiving: None,
            accept_shorter_log: false,
            lineage: false,
            ignore_lease: false,
        }
    }
}
