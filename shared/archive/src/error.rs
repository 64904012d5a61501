//! What an archive can fail with.
use std::{
    io,
    path::{Path, PathBuf},
};

use dagbok_runlog::{LogMark, PortError, Seq};
use thiserror::Error;

/// The archive can't be read or added to.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("can't {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {why}; put it back from a backup", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A file that must be there is not.
    #[error("the entries from {from} on are in no file of {}: put the archive's files back", .dir.display())]
    Missing {
        /// The archive.
        dir: PathBuf,
        /// The first entry that is missing.
        from: Seq,
    },
    /// It holds another log's entries.
    #[error("it is of the log {theirs}, and this log is {ours}: put its own back")]
    OtherLog {
        /// The archive.
        dir: PathBuf,
        /// The log that it is of.
        theirs: LogMark,
        /// The log that it was held against.
        ours: LogMark,
    },
    /// The archive and the log have different entries.
    #[error("{} and the log do not go together: {why}; put back the one that is a copy of another time", .dir.display())]
    Apart {
        /// The archive.
        dir: PathBuf,
        /// Where they differ.
        why: String,
    },
    /// Entries that do not go on where the archive ends.
    #[error("{} can't take these entries: {why}", .dir.display())]
    NoFit {
        /// The archive.
        dir: PathBuf,
        /// Why.
        why: String,
    },
}

impl ArchiveError {
    /// The file that is at fault, or the archive's folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Damaged { path, .. } => path,
            Self::Missing { dir, .. }
            | Self::OtherLog { dir, .. }
            | Self::Apart { dir, .. }
            | Self::NoFit { dir, .. } => dir,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.into() }
    }
}

impl From<ArchiveError> for PortError {
    fn from(error: ArchiveError) -> Self {
        match &error {
            ArchiveError::Io { .. } => Self::unavailable("archive", error),
            ArchiveError::Damaged { path, why } => {
                let place = path.display().to_string();
                let why = format!("{why}; put it back from a backup");
                Self::Damaged { what: "archive", place, why }
            }
            ArchiveError::Missing { dir, .. }
            | ArchiveError::OtherLog { dir, .. }
            | ArchiveError::Apart { dir, .. }
            | ArchiveError::NoFit { dir, .. } => {
                let place = dir.display().to_string();
                Self::Damaged { what: "archive", place, why: error.to_string() }
            }
        }
    }
}
