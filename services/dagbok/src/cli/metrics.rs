//! Arguments of `dagbok metrics`.
use clap::{Args, Subcommand};
use dagbok_events::Timestamp;

/// `dagbok metrics …`.
#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Fold the log afresh and compare each counter with what is served
    #[command(
        after_help = "With --json: `seq` up to which was folded, how many were `compared`, those that `differ` \
                      (`series`, `served`, `folded`), and `since`: what each rose by"
    )]
    Verify(VerifyMetrics),
    /// What a number was over time, from the log
    #[command(
        after_help = "With --json: `name`, `kind`, `unit`, and in `series` by labels a list of [time, value]"
    )]
    History(MetricHistory),
    /// List all that is counted and shown
    #[command(
        after_help = "With --json: a list of `name`, `kind`, `unit`, `labels`, `meaning`, `facts`"
    )]
    List,
}

/// `dagbok metrics verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyMetrics {
    /// Also say what each counter rose by since then: `2h` or `7d` ago, `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = super::dags::since)]
    pub(crate) since: Option<Timestamp>,
}

/// `dagbok metrics history`.
#[derive(Debug, Args)]
pub(crate) struct MetricHistory {
    /// Its name, as `dagbok metrics list` has it
    pub(crate) name: String,
    /// From when: `2h` or `30d` ago, `2026-01-31`, or RFC 3339 [default: the log's beginning]
    #[arg(long, value_name = "TIME", value_parser = super::dags::since)]
    pub(crate) since: Option<Timestamp>,
    /// How many points at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) points: u32,
}
