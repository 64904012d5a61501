//! Arguments of `dagbok pools`: as `airflow pools` takes them.
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `dagbok pools …`.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolsCommand {
    /// List the pools, with what is held of each
    #[command(
        after_help = "With --json: the API's PoolCollectionResponse, `{pools: […], total_entries}`"
    )]
    List,
    /// Show one pool
    #[command(after_help = "With --json: the API's PoolResponse")]
    Get(Pool),
    /// Make a pool, or change it
    #[command(after_help = "With --json: the API's PoolResponse")]
    Set(SetPool),
    /// Delete a pool: tries that hold its slots go on, tasks that want some wait
    #[command(after_help = "With --json: `{name}`")]
    Delete(Pool),
    /// Make and change the pools that a file names; others stay
    #[command(
        long_about = "Make and change the pools that a file names; others stay. The file is the one that `export` writes, and `airflow pools export`: `{\"gpu\": {\"slots\": 5, \"description\": \"\", \"include_deferred\": false}}`.",
        after_help = "With --json: `{pools: [NAME, …]}`"
    )]
    Import(File),
    /// Write all pools to a file, as `import` reads it
    #[command(after_help = "With --json: `{pools: [NAME, …]}`")]
    Export(File),
}

/// A pool.
#[derive(Debug, Args)]
pub(crate) struct Pool {
    /// Its name
    pub(crate) name: String,
}

/// `dagbok pools set`.
#[derive(Debug, Args)]
pub(crate) struct SetPool {
    /// Its name
    pub(crate) name: String,
    /// How many slots it is to have; -1 for no limit
    #[arg(allow_negative_numbers = true)]
    pub(crate) slots: i64,
    /// What it is for
    #[arg(default_value = "")]
    pub(crate) description: String,
    /// Tasks that are deferred take up its slots too
    #[arg(long)]
    pub(crate) include_deferred: bool,
}

/// A file of pools.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// A file of JSON
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
}
