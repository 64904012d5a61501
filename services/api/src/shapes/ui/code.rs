//! A DAG's file.
use serde::Serialize;
use utoipa::ToSchema;

use super::super::DateTime;

/// A DAG's file as it was published.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiCode {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// Id of the DAG.
    pub dag_id: String,
    /// Path within the DAG folder.
    pub file: String,
    /// Line at which the DAG is made, from 1; 0 where unknown.
    pub line: u32,
    /// The version that is shown.
    pub version: u32,
    /// Digest of the folder's archive that it was read from.
    pub bundle: String,
    /// The text; left out where it is not kept any more, or was not wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Whether that is all of the file; else its first mebibyte.
    pub whole: bool,
    /// Versions of the DAG that are at hand, the newest first, at most 200.
    pub versions: Vec<UiCodeVersion>,
    /// Where tries of the newest runs failed that ran the same text, by line.
    pub errors: Vec<UiCodeError>,
}

/// A version of a DAG.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiCodeVersion {
    /// Counts from 1.
    pub version: u32,
    /// When it was registered.
    pub since: DateTime,
    /// Digest of the archive that it was read from.
    pub bundle: String,
}

/// A line at which a try failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiCodeError {
    /// Counts from 1.
    pub line: u32,
    /// The failure in one line.
    pub words: String,
    /// Id of the task.
    pub task_id: String,
    /// Which copy; -1 where it is not mapped.
    pub map_index: i32,
    /// Id of the run.
    pub run_id: String,
}

/// Which files of Python differ between two archives of the DAG folder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiChanges {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// Id of the DAG.
    pub dag_id: String,
    /// The DAG's own file.
    pub file: String,
    /// Whether both archives are still kept; where not, nothing is known of what differs.
    pub kept: bool,
    /// At most 200: the DAG's own, then what no DAG is read from, then files of other DAGs.
    pub files: Vec<UiChange>,
    /// How many differ.
    pub total: usize,
    /// Whether all files of Python were compared.
    pub complete: bool,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UiChange {
    /// Path within the DAG folder.
    pub file: String,
    /// What became of it.
    pub kind: UiChangeKind,
    /// Whether it is a file that other DAGs alone are read from.
    pub of_others: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UiChangeKind {
    /// Its text is another.
    Changed,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
}
