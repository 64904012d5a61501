//! Arguments of `dagbok init`, `config`, `executors`, `explain` and `completion`.
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::change::Reason;

/// `dagbok init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where; it is made if it is not there
    pub(crate) folder: PathBuf,
}

/// `dagbok config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show what is set, and where
    #[command(after_help = "With --json: a list of `key`, `value`, `origin`; secrets are dots")]
    Show(ConfigShow),
    /// Say what is wrong with the configuration
    #[command(after_help = "With --json: `ok`, `set`, how many keys are")]
    Check,
}

/// `dagbok config show`.
#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// Only keys that begin so, as `scheduler` or `nats.u`
    pub(crate) key: Option<String>,
    /// Also what is as it is by default
    #[arg(long)]
    pub(crate) all: bool,
}

/// `dagbok executors …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ExecutorsCommand {
    /// List those that are there
    #[command(
        after_help = "With --json: the API's ExecutorCollection, `{executors: […], total_entries}`"
    )]
    List {
        /// Also those that have left
        #[arg(long)]
        left: bool,
    },
    /// Show one, and what it holds
    #[command(after_help = "With --json: the API's ExecutorInfo")]
    Show {
        /// Which: its id, or how that begins
        executor: String,
    },
    /// Let it take nothing new, in this life and in those to come; what it runs goes on
    #[command(after_help = "With --json: the API's CordonAnswer")]
    Cordon(CordonExecutor),
    /// Let it end what it runs, and leave; lives to come take nothing new either, until it is uncordoned
    #[command(after_help = "With --json: the API's CordonAnswer")]
    Drain {
        #[command(flatten)]
        which: CordonExecutor,
        /// How long its tries may go on, as 10m [default: as each executor is set, `executor.drain`]
        #[arg(long, value_name = "TIME")]
        limit: Option<dagbok_config::Period>,
    },
    /// Let it take work again
    #[command(after_help = "With --json: the API's CordonAnswer")]
    Uncordon(CordonExecutor),
}

/// Which executor, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct CordonExecutor {
    /// What it is called, or its id
    pub(crate) executor: String,
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// `dagbok explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The code, as `DBK0014`, or its number
    pub(crate) code: Option<String>,
}

/// `dagbok completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// For which shell
    pub(crate) shell: clap_complete::Shell,
}

/// `dagbok man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where the pages are written; it is made if it is not there
    pub(crate) folder: PathBuf,
}
