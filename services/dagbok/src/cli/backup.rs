//! Arguments of `dagbok backup` and `dagbok restore`.
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::NatsArgs;

/// `dagbok backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    /// The folder to make: it is not there yet, or empty
    #[arg(value_name = "FOLDER", required = true)]
    pub(crate) folder: Option<PathBuf>,
    /// Copy the keys too: who has them and the log can read every connection and variable
    #[arg(long)]
    pub(crate) with_keys: bool,
    /// Leave the archive out: it is kept elsewhere, and what the log was trimmed of is not missed
    #[arg(long)]
    pub(crate) without_archive: bool,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(subcommand)]
    pub(crate) what: Option<BackupCommand>,
}

/// `dagbok backup …`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Prove that a backup is whole: reads all of it by its manifest, and changes nothing
    #[command(
        after_help = "Ends with 9 where it is not whole, or where blobs were damaged or gone before it was made. With --json: `ok`, `damaged`, a list of blobs that were, `missing`, a list of blobs that its log names and that it lacks (null where that can't be told, and `missing_unknown` says why), `without_archive`, `folder`, `manifest` (its digest), `made_at`, `records`, `files`, `blobs`, `bytes`, `faults`, a list of `path`, `message`"
    )]
    Verify(VerifyBackup),
}

/// `dagbok backup verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyBackup {
    /// The backup
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

/// `dagbok restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup; it is proved before anything is put back
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}
