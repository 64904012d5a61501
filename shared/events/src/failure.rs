//! How a try ended badly, whose fault that was, and what the try used.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Micros, OutOfMemory};

/// What a try used, as the kernel counted it up to its end; up to its last word where nothing of it was left to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Peak resident memory, in bytes.
    pub max_rss_bytes: u64,
    /// CPU time in user code, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
}

/// Why a try did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What kind of end it was.
    pub kind: FailureKind,
    /// Whose it was: decides who is told.
    pub fault: Fault,
    /// One line for people.
    pub message: String,
    /// The exception's class, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The traceback, cut to the published limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The whole traceback, where it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback_blob: Option<Digest>,
    /// The file of the user's code that it came from, within the bundle where it lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The process' exit code, where it ended without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Where it was ended for its memory: the limit, the peak, and who was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<OutOfMemory>,
    /// Whether another try could help; `AirflowFailException` says not.
    #[serde(default = "yes")]
    pub retryable: bool,
    /// How long to wait before the next try, where the task's retry policy says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<Micros>,
    /// Why the retry policy decided as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_reason: Option<String>,
}

impl Failure {
    /// One of which nothing more is known; another try could help.
    pub fn new(kind: FailureKind, fault: Fault, message: String) -> Self {
        Self {
            kind,
            fault,
            message,
            exception: None,
            traceback: None,
            traceback_blob: None,
            file: None,
            line: None,
            signal: None,
            exit_code: None,
            out_of_memory: None,
            retryable: true,
            retry_delay: None,
            retry_reason: None,
        }
    }
}

fn yes() -> bool {
    true
}

/// The kinds of bad end, told apart everywhere.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The user's code raised.
    Exception,
    /// It took longer than `execution_timeout`.
    Timeout,
    /// It asked for more memory than there was: the kernel's kill, or `MemoryError`.
    OutOfMemory,
    /// A signal ended the process, not sent by us.
    Signal,
    /// The process ended without a word, with an exit code.
    Exit,
    /// The DAG file or the task in it could not be loaded.
    ImportError,
    /// The executor could not start the try: no Python, no bundle, no process.
    CouldNotStart,
    /// The executor broke: see the message.
    Executor,
}

impl FailureKind {
    /// As it stands in facts and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::ImportError => "import_error",
            Self::CouldNotStart => "could_not_start",
            Self::Executor => "executor",
        }
    }
}

/// Whose a failure is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The DAG's code or its settings.
    User,
    /// Dagbok, the machine, the network.
    System,
    /// The data that came in.
    Data,
}
