//! Answers: what became of a command.
use dagbok_events::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a command. `Accepted` is sent only once its record is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Answer {
    /// Decided; the record is in the log.
    Accepted {
        /// The record's sequence; that of the first decision where the command came twice.
        seq: u64,
        /// The run that was made, where one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<RunId>,
    },
    /// Nothing to do: it is so already.
    Unchanged,
    /// The caller's picture is out of date, or the request breaks a rule. Nothing was done.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what, where, and what to do next.
    pub message: String,
}

/// The kinds of refusal.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No such DAG.
    DagNotFound,
    /// No such run.
    RunNotFound,
    /// The run's id is taken.
    RunAlreadyExists,
    /// A run of that DAG has this logical date already.
    LogicalDateTaken,
    /// The run is over.
    RunOver,
    /// A report about a try that is not in flight, or held by another.
    StaleReport,
    /// The request breaks a rule: conf is no object, a date outside the DAG's, a limit.
    Invalid,
}
