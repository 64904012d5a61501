//! `dagbok hitl …`: what tasks ask people.
use clap::{Args, Subcommand};

use super::Run;

/// `dagbok hitl …`.
#[derive(Debug, Subcommand)]
pub(crate) enum HitlCommand {
    /// List what tasks ask: by default what nobody has answered yet
    #[command(after_help = "With --json, the API's `HITLDetailCollection`")]
    List(ListHitl),
    /// Show what a task asks, and what may be answered
    #[command(after_help = "With --json, the API's `HITLDetail`")]
    Show(HitlOf),
    /// Answer what a task asks
    #[command(after_help = "With --json, the API's `HITLDetailResponse`")]
    Answer(AnswerHitl),
}

/// `dagbok hitl list`.
#[derive(Debug, Args)]
pub(crate) struct ListHitl {
    /// Only of this DAG
    pub(crate) dag_id: Option<String>,
    /// What was answered, too
    #[arg(long)]
    pub(crate) all: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Leave out this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
}

/// A task of a run, or a copy of one.
#[derive(Debug, Args)]
pub(crate) struct HitlOf {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Which task
    pub(crate) task_id: String,
    /// Which copy of a mapped task
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) map_index: i32,
}

/// `dagbok hitl answer`.
#[derive(Debug, Args)]
pub(crate) struct AnswerHitl {
    #[command(flatten)]
    pub(crate) of: HitlOf,
    /// What is chosen; several where the task takes several
    #[arg(required = true)]
    pub(crate) options: Vec<String>,
    /// A JSON object with what the fields are filled in with; `@FILE` reads it from there, `@-` from standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,
}
