//! A record: one decision with all that it forced, and where it came from.
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommandId, DagId, ExecutorId, Fact, RunId, Timestamp};

/// One run of one DAG.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct RunKey {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dag_id, self.run_id)
    }
}

/// Whose history a record belongs to.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Scope {
    /// The namespace: pools, limits.
    Namespace,
    /// A DAG file, by its path in the folder.
    File(String),
    /// A DAG.
    Dag(DagId),
    /// A run.
    Run(RunKey),
    /// An executor.
    Executor(ExecutorId),
}

/// Who decided, or asked for the decision.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Actor {
    /// The scheduler, by its rules.
    Scheduler,
    /// A DAG's schedule.
    Schedule,
    /// The processor, from what it read in the folder.
    Processor,
    /// An executor's report.
    Executor(ExecutorId),
    /// A person, by name.
    User(String),
    /// A program, by its token's name.
    Token(String),
}

/// The command that a decision answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Its id: a command that comes twice is known by it.
    pub command: CommandId,
    /// When its sender says that it was sent; the sender's clock, for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// W3C trace context, carried from who asked to what followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceContext {
    /// The `traceparent` header's text.
    pub traceparent: String,
    /// The `tracestate` header's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// One decision: the unit of append, so a cause and its consequences land together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// When it was decided, by the decider's clock; never earlier than the record before it.
    pub at: Timestamp,
    /// What the decider's clock showed, where that was before `at`: the clock was ahead when the records
    /// before were written, or is behind now. What falls due goes by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Timestamp>,
    /// Whose history it is.
    pub scope: Scope,
    /// Who decided or asked.
    pub by: Actor,
    /// Why, in the words of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command that it answers, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Trace context of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// The fact, then whatever followed from it.
    pub facts: Vec<Fact>,
}

impl Record {
    /// When it was decided, by the clock as it was; unlike `at`, this may go back from record to record.
    pub fn decided_at(&self) -> Timestamp {
        self.clock.unwrap_or(self.at)
    }
}
