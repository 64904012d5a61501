//! What opening found, and why it may refuse.
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use dagbok_runlog::Seq;
use thiserror::Error;

/// What was found at open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The last entry.
    pub last: Seq,
    /// Segment files.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// What a crash had left half-written at the end, now cut off.
    pub torn: Option<TornTail>,
    /// The segment that a crash had left without a whole header, so without entries.
    pub unbegun: Option<PathBuf>,
    /// Segments that a trim had no time to remove.
    pub trimmed: Vec<PathBuf>,
    /// Sidecar indexes that were missing or damaged and were made anew from their segments.
    pub rebuilt: Vec<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, segments, bytes, torn, unbegun, rebuilt, took, trimmed: _ } = self;
        write!(
            f,
            "log of {last} entries in {segments} segments, {bytes} bytes, opened in {took:.1?}"
        )?;
        if !rebuilt.is_empty() {
            write!(f, "; {} indexes made anew", rebuilt.len())?;
        }
        if let Some(unbegun) = unbegun {
            write!(f, "; {} had no whole header, so no entries", unbegun.display())?;
        }
        if let Some(torn) = torn {
            write!(f, "; {torn}")?;
        }
        Ok(())
    }
}

/// A tail that no whole record follows: the write that a crash interrupted. It was never
/// acknowledged, so nothing that anybody counted on is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the last whole record ends.
    pub offset: u64,
    /// How many bytes were after it.
    pub bytes: u64,
    /// Whether they were cut off; they are not where the log was opened to be read.
    pub cut: bool,
    /// Where those bytes are kept, unless the disk had no room for them.
    pub kept: Option<PathBuf>,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, Self { offset, bytes, .. }) = (self.file.display(), self);
        if !self.cut {
            return write!(
                f,
                "{file} has {bytes} bytes of an unfinished write from byte {offset} on"
            );
        }
        write!(
            f,
            "{file} was cut at byte {offset}, after its last whole record: {bytes} bytes of an \
             interrupted write "
        )?;
        match &self.kept {
            Some(kept) => write!(f, "are in {}", kept.display()),
            None => f.write_str("are gone"),
        }
    }
}

/// Why a log can't be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error(
        "{} is in use by another process{}; stop that one, or read it through its API",
        .home.display(), .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The installation.
        home: PathBuf,
        /// Who, where it said.
        holder: Option<u32>,
    },
    /// There is nothing to read.
    #[error("there is no log in {}", .home.display())]
    Missing {
        /// Where one was looked for.
        home: PathBuf,
    },
    /// A later version of Dagbok wrote it.
    #[error(
        "{} has format {found}, and this version reads up to {known}: use the newer Dagbok that wrote it",
        .file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that is understood here.
        known: u32,
    },
    /// Entries that were acknowledged are damaged or missing. Nothing was changed.
    #[error("the log is damaged at byte {offset} of {}: {why}; {advice}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found.
        why: String,
        /// What to do.
        advice: String,
    },
    /// The file system refused.
    #[error("can't {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl OpenError {
    /// A failed action on a path.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
