//! Forgetting the oldest entries: the base first, for good, then the files that lie wholly below it. A
//! crash between the two leaves files that the next open removes.
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_runlog::{
    Base, Chain, LogMark, PortError, PortResult, ReadLimit, Seq, limits::check_trim,
};
use parking_lot::{Mutex, RwLock};

use crate::{base::Trimmed, disk::Disk, read, segment, view::View};

/// What is needed to trim; one trim at a time.
#[derive(Debug)]
pub(crate) struct Trimmer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) turn: Mutex<()>,
}

impl Trimmer {
    /// As [`dagbok_runlog::RunLog::trim`], of a log with this mark. Blocks on the disk.
    pub(crate) fn trim(
        &self,
        view: &RwLock<View>,
        mark: LogMark,
        below: Seq,
        given: Chain,
    ) -> PortResult<Base> {
        let _turn = self.turn.lock();
        let (base, last) = {
            let view = view.read();
            (view.base(), Seq(view.last()))
        };
        if below <= base.first {
            return Ok(base);
        }
        let found = if below > last { given } else { chain_before(view, base, below)? };
        check_trim(below, last, given, found)?;
        let trimmed = Trimmed { base: Base { first: below, chain: given }, mark };
        let dir = self.dir.display();
        trimmed.store(&*self.disk, &self.dir).map_err(|error| {
            PortError::unavailable(
                "log",
                format!("can't write {dir}/base: {error}; nothing was trimmed"),
            )
        })?;
        let files = view.write().trim(trimmed);
        for file in &files {
            remove(file);
        }
        Ok(trimmed.base)
    }
}

/// The chain's value at the entry before `below`.
fn chain_before(view: &RwLock<View>, base: Base, below: Seq) -> PortResult<Chain> {
    let (mut seen, mut chain) = (Seq(base.first.0 - 1), base.chain);
    while seen.plus(1) < below {
        let entries = read::read_files(view, seen, ReadLimit::default())?;
        for entry in entries.iter().take_while(|entry| entry.seq < below) {
            chain = chain.then(entry);
            seen = entry.seq;
        }
    }
    Ok(chain)
}

/// Removes a segment, its sidecar before it: what is left of the two is found by the segment. One that stays
/// takes room until the next open, and nothing else.
pub(crate) fn remove(path: &Path) {
    for file in [&segment::sidecar(path), path] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("can't remove {}, which was trimmed: {error}", file.display());
            }
            _ => {}
        }
    }
}
