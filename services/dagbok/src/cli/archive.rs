//! Arguments of `dagbok archive`.
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::NatsArgs;

/// `dagbok archive …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Prove that the archive holds what the log held: reads all of it, and changes nothing
    #[command(
        after_help = "With --json: `ok`, `archive`, `log` and `chain` (digests), `first`, `last`, `entries`, `files`, `bytes` of what was proved, `log_first`, where the log begins, and `fault`, null or `path`, `message`. Exit code 9 where there is a fault"
    )]
    Verify(Verify),
}

/// `dagbok archive verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// The archive's folder [default: `retention.archive`, or `archive` in the installation's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Hold the files against one another only, and against no log
    #[arg(long, requires = "dir")]
    pub(crate) alone: bool,
}
