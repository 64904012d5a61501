//! Arguments of `dagbok backfill`: as `airflow backfill` takes them, and more.
use clap::{Args, Subcommand, ValueEnum};
use dagbok_events::Timestamp;

use super::{DryRun, Reason, dags::logical_date};

/// `dagbok backfill …`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Make runs of many dates of a DAG's past, a few at a time; or say which those would be
    #[command(
        after_help = "With --json: the API's BackfillResponse; with --dry-run its DryRunBackfillCollection, `{backfills: […], total_entries, dagbok}`"
    )]
    Create(CreateBackfill),
    /// List backfills, the newest first
    #[command(
        after_help = "With --json: the API's BackfillCollection, `{backfills: […], total_entries}`"
    )]
    List(ListBackfills),
    /// Show how far a backfill has come, and when its end is expected
    #[command(after_help = "With --json: the API's BackfillResponse")]
    Show(OneBackfill),
    /// Make no runs of a backfill and start none; those under way go on
    #[command(after_help = "With --json: the API's BackfillResponse")]
    Pause(ChangeBackfill),
    /// Let a backfill go on
    #[command(visible_alias = "unpause", after_help = "With --json: the API's BackfillResponse")]
    Resume(ChangeBackfill),
    /// Let a backfill be over: runs of it that have not begun are ended, those that have go on
    #[command(after_help = "With --json: the API's BackfillResponse")]
    Cancel(ChangeBackfill),
}

/// What becomes of dates that have a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reprocess {
    /// They are passed over
    None,
    /// The run runs again where it failed
    Failed,
    /// The run runs again, however it ended
    Completed,
}

/// `dagbok backfill create`.
#[derive(Debug, Args)]
pub(crate) struct CreateBackfill {
    /// The DAG
    #[arg(value_name = "DAG_ID", required_unless_present = "dag")]
    pub(crate) dag_id: Option<String>,
    /// The DAG, as `airflow backfill create` takes it
    #[arg(long = "dag-id", id = "dag", value_name = "DAG_ID", conflicts_with = "dag_id")]
    pub(crate) dag: Option<String>,
    /// The first logical date: `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "DATE", value_parser = logical_date)]
    pub(crate) from_date: Timestamp,
    /// The last logical date
    #[arg(long, value_name = "DATE", value_parser = logical_date)]
    pub(crate) to_date: Timestamp,
    #[command(flatten)]
    pub(crate) only: DryRun,
    /// Runs of it that may be under way at once; they do not count for the DAG's own limit
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_active_runs: u32,
    /// The newest date first
    #[arg(long)]
    pub(crate) run_backwards: bool,
    /// What becomes of dates that have a run
    #[arg(long, value_enum, default_value_t = Reprocess::None)]
    pub(crate) reprocess_behavior: Reprocess,
    /// A JSON object that tasks find as `dag_run.conf`
    #[arg(long, visible_alias = "dag-run-conf", value_name = "JSON")]
    pub(crate) conf: Option<String>,
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// `dagbok backfill list`.
#[derive(Debug, Args)]
pub(crate) struct ListBackfills {
    /// Those of this DAG; of all where none is named
    #[arg(value_name = "DAG_ID")]
    pub(crate) dag_id: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}

/// A backfill.
#[derive(Debug, Args)]
pub(crate) struct OneBackfill {
    /// Its number
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
}

/// A backfill to which something is done.
#[derive(Debug, Args)]
pub(crate) struct ChangeBackfill {
    /// Its number
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    #[command(flatten)]
    pub(crate) why: Reason,
}
