//! A window of a try's log.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lines of a log that follow one another, in the order in which they were written.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiLog {
    /// Lines of this window, in the order in which they came.
    pub lines: Vec<UiLogLine>,
    /// Where the first of them begins, in bytes.
    pub from: u64,
    /// Where the last of them ends, in bytes: go on here.
    pub to: u64,
    /// Bytes that there are, as far as they were written.
    pub size: u64,
    /// Number of the first line, from 1; left out where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<u64>,
    /// Lines that there are; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_count: Option<u64>,
    /// Where the line begins that says why the try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u64>,
    /// Lines at level `error` or `critical`, and at `warning`: of all that there are, or where `line_count` is left out
    /// of these.
    pub levels: [u64; 2],
    /// Whether nothing will follow.
    pub complete: bool,
    /// Lines that the published limit left out of the log.
    pub dropped: u64,
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiLogLine {
    /// Where it begins, in bytes.
    pub o: u64,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<String>,
    /// How loud: `debug`, `info`, `warning`, `error`, `critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l: Option<String>,
    /// From where: `stdout`, `stderr`, `log`, `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s: Option<String>,
    /// What was said.
    pub m: String,
}
