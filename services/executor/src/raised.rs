//! An exception that ended a task or a DAG file's import, as Python tells of it.
use serde::Deserialize;

/// What was raised, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Raised {
    /// Ours: `exception`, `timeout`, `terminated`, `fail_without_retry`, `import_error`; empty from an import.
    #[serde(default)]
    pub(crate) kind: String,
    /// The exception's class.
    #[serde(default)]
    pub(crate) exception: String,
    /// Its message.
    #[serde(default)]
    pub(crate) message: String,
    /// The user's part of the traceback.
    #[serde(default)]
    pub(crate) traceback: String,
    /// The file that it came from.
    #[serde(default)]
    pub(crate) file: Option<String>,
    /// The line there.
    #[serde(default)]
    pub(crate) line: Option<u32>,
    /// How long its task's retry policy has the next try wait, in microseconds.
    #[serde(default)]
    pub(crate) retry_delay_us: Option<i64>,
    /// Why the policy decided so.
    #[serde(default)]
    pub(crate) retry_reason: Option<String>,
}
