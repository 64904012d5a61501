//! What several commands take that change something.
use clap::Args;

/// Why it is done.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Reason {
    /// Why; it is kept in the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Whether it is done at all.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DryRun {
    /// Change nothing, and show what would be
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// Whether it is asked about first.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    pub(crate) only: DryRun,
    /// Don't ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}
