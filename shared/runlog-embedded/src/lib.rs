//! The primitives in one process: a run log in segment files of our own, blobs in files by their
//! digest, and the rest in memory.
//!
//! An append is acknowledged once its bytes are flushed to the disk (see [`Durability`]). One thread
//! writes; whatever waits for it goes out in one write and one flush. At the next open a torn tail
//! is cut at the last whole record and said, and damage anywhere else refuses to open.
//!
//! Queues, keyed state and signals are those of [`dagbok_runlog::memory`] and end with the process.
//! That loses nothing: a command is answered only once its record is in the log, the work list is a
//! fold of the log, and leases and presence of a process that is gone are best forgotten.
//!
//! The log is never compacted. Its oldest entries may be [trimmed](dagbok_runlog::RunLog::trim) by
//! whoever keeps copies of them.
//!
//! ```text
//! <home>/lock                          held by the one writer
//! <home>/log/00000000000000000001.seg  entries from 1 on: a header, then frames
//! <home>/log/00000000000000000001.idx  a sealed segment's places, so that it is not read at open
//! <home>/log/base                      where it begins, once it was trimmed
//! <home>/log/torn/                     what was cut off a torn tail, kept for people
//! <home>/blobs/ab/cdef…                a blob
//! <home>/snapshots/<name>              a fold, so that a restart is quick
//! <home>/alerts/…                      a log alone, as of alerting: `lock` and `log` as above
//! ```
mod base;
mod blobs;
mod copy;
mod disk;
mod frame;
mod index;
mod lock;
mod log;
mod read;
mod read_only;
mod reader;
mod recover;
mod report;
mod segment;
mod snapshots;
mod trim;
mod view;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Instant};

use dagbok_runlog::{
    Ports, RunLog,
    memory::{MemoryQueues, MemorySignals, MemoryState},
};

pub use blobs::FileBlobs;
pub use copy::{CopiedBlobs, blobs_in, copy_blobs, copy_file, copy_into, copy_log, digest_of_file};
pub use log::EmbeddedLog;
pub use read_only::{ReadOnly, ReadOnlyLog, open_read_only};
pub use report::{OpenError, OpenReport, TornTail};
pub use snapshots::FileSnapshots;

/// What an acknowledged append survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: every append is flushed to the disk (fdatasync) before it is acknowledged.
    #[default]
    Fsync,
    /// The end of this process only: nothing is flushed. For logs that are thrown away.
    None,
}

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// Size at which a segment is sealed and the next begun, in bytes; one append may pass it.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Fsync, segment_bytes: 64 << 20 }
    }
}

/// Opens the installation in `home`, or begins one there, as its only writer. Blocks on the disk.
pub fn open(home: &Path, options: Options) -> Result<(Ports, OpenReport), OpenError> {
    let disk = Arc::new(disk::FileDisk { durability: options.durability });
    open_on(disk, home, options)
}

/// Opens a log alone in the folder `dir`, or begins one there, as its only writer: for a log beside the
/// installation's own, in a folder below it. Blocks on the disk.
pub fn open_log(dir: &Path, options: Options) -> Result<(Arc<dyn RunLog>, OpenReport), OpenError> {
    let disk = Arc::new(disk::FileDisk { durability: options.durability });
    let (log, report) = log_on(disk, dir, options)?;
    Ok((Arc::new(log), report))
}

/// Opens the log in `home` and says what was found.
fn log_on(
    disk: Arc<dyn disk::Disk>,
    home: &Path,
    options: Options,
) -> Result<(EmbeddedLog, OpenReport), OpenError> {
    let log_dir = home.join("log");
    disk.create_dirs(&log_dir).map_err(|source| OpenError::io("make", &log_dir, source))?;
    let lock = lock::take(home)?;
    let (log, report) = EmbeddedLog::open(lock, disk, home, options)?;
    if let Some(torn) = &report.torn {
        tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "{torn}");
    }
    if let Some(unbegun) = &report.unbegun {
        tracing::warn!(file = %unbegun.display(), "a segment had no whole header and was removed");
    }
    Ok((log, report))
}

/// Opens on a disk that a test may have a hand in.
fn open_on(
    disk: Arc<dyn disk::Disk>,
    home: &Path,
    options: Options,
) -> Result<(Ports, OpenReport), OpenError> {
    let start = Instant::now();
    let (log, mut report) = log_on(disk, home, options)?;
    let blobs = FileBlobs::open(&home.join("blobs"), options.durability)?;
    report.took = start.elapsed();
    tracing::debug!("{report}");
    let ports = Ports {
        log: Arc::new(log),
        queues: Arc::new(MemoryQueues::default()),
        state: Arc::new(MemoryState::default()),
        blobs: Arc::new(blobs),
        signals: Arc::new(MemorySignals::default()),
        snapshots: Arc::new(FileSnapshots::new(&home.join("snapshots"))),
    };
    Ok((ports, report))
}
