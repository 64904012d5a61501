//! What a task's process said of its end.
use dagbok_protocol::XComValue;
use serde::Deserialize;

/// A try's end in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It succeeded.
    Succeeded,
    /// It failed; whether it will be retried is the scheduler's business.
    Failed,
    /// Its code said to skip.
    Skipped,
}

/// Details of a failure, said before the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct TaskError {
    /// Ours: `exception`, `timeout`, `terminated`, `fail_without_retry`, `import_error`.
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
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// How it ended, where it said so.
    pub(crate) ending: Option<Ending>,
    /// When that was heard.
    pub(crate) at: Option<std::time::Instant>,
    /// Why it failed, where it said so.
    pub(crate) error: Option<TaskError>,
    /// Values that no report has carried yet.
    pub(crate) xcoms: Vec<XComValue>,
}
