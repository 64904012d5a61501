//! Arguments of `dagbok providers`.
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `dagbok providers …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersCommand {
    /// Install provider packages for a DAG folder, and what its requirements.txt asks for, without apache-airflow
    #[command(
        long_about = "Install provider packages for a DAG folder, and what its requirements.txt asks for: all that they need but apache-airflow itself, for which this installation answers. Versions and hashes go into `dagbok.lock` in the folder, to be kept with its files; on another machine the command without names makes the same environment again. DAG files of the folder are parsed in it, and their tasks run in it.",
        after_help = "With --json: `folder`, `lock`, `digest`, `interpreter`, `wanted`, `providers` and `packages`, by name their versions, `stale`, whether a requirements file has changed since"
    )]
    Install(Install),
    /// List a DAG folder's providers
    #[command(
        after_help = "With --json: as `install`, a line for each folder where several are configured; `interpreter` is null where it is not made here"
    )]
    List(Folder),
    /// Take providers away
    #[command(after_help = "With --json: as `install`")]
    Remove(Remove),
}

/// Of which DAG folder.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The DAG folder [default: `processor.dags` of the configuration, where that is one]
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Option<PathBuf>,
}

/// `dagbok providers install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Providers by their short names, with a version where it matters: `amazon http 'google>=12' cncf.kubernetes`
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// A file of requirements, by its path from the DAG folder [default: requirements.txt, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) requirements: Vec<String>,
    /// A file of constraints, by its path from the DAG folder, or a URL
    #[arg(short, long, value_name = "FILE|URL")]
    pub(crate) constraints: Vec<String>,
    /// Look for newer versions of all packages
    #[arg(long)]
    pub(crate) upgrade: bool,
}

/// `dagbok providers remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Providers by their short names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
}
