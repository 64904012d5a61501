//! The rows on disk, which may be lost at any time and are then built again: what is written goes to a generation
//! of rows, and a generation that has grown moves to the cold ones. Readers see one store.
use std::{
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use dagbok_events::hex;
use dagbok_projection::Checkpoint;
use dagbok_runlog::{Position, Seq};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    Key,
    cold::Cold,
    hot::{Hot, OpenFailure},
    key,
    levels::{Levels, Mover},
    merge::Bytes,
    open::{self, Claim, Failure},
};

/// The key of the row that says how far the others are.
pub(crate) const META: &[u8] = b"m";
/// What a generation's files take when the next one begins, in bytes.
const GROWN: u64 = 128 << 20;
/// Rows written after which that is looked at.
const LOOK_AFTER: usize = 4_096;

/// A key as the store has it.
pub type RowKey = Bytes;

/// A change of one key: its new bytes, or `None` where it is gone.
pub type KeyChange = (Key, Option<Vec<u8>>);

/// The rows could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A generation failed.
    #[error("the rows' store failed")]
    Sled(#[from] sled::Error),
    /// The cold rows failed.
    #[error("the store of the cold rows failed")]
    Cold(#[from] lsm_tree::Error),
    /// The system refused.
    #[error("the rows' store was refused something by the system")]
    System(#[from] io::Error),
    /// A row is not what was written.
    #[error("a row can't be read: {0}")]
    Unreadable(String),
}

/// The store could not be opened, and building it anew would not help.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the rows at {} are in use by another process; stop that one, or use another home", .0.display())]
    InUse(PathBuf),
    /// The disk refused.
    #[error("the rows at {} can't be opened", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Encodes a row.
pub fn pack<T: Serialize>(row: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(row).expect("rows have text keys and memory does not fail")
}

/// Decodes a row.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// How far the rows are, and by which rules they were made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) version: u32,
    pub(crate) seq: u64,
    pub(crate) position: Option<Position>,
    /// The generation that says so.
    pub(crate) generation: u64,
    /// Where the rows below it end.
    pub(crate) base: u64,
}

/// The rows. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// Dropped first: it ends the move of rows.
    mover: Mutex<Option<Mover>>,
    levels: Arc<ArcSwap<Levels>>,
    /// Of the rules that make the rows.
    version: u32,
    /// Rows written since the generation's size was looked at.
    written: AtomicUsize,
    /// None of a store that is gone when it is closed.
    claim: Option<Claim>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("version", &self.0.version).finish_non_exhaustive()
    }
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub store: Store,
    /// Why what was there before is not used, where something was.
    pub rebuilt_because: Option<String>,
}

impl Store {
    /// One that is gone when the last clone is dropped.
    pub fn temporary(version: u32) -> Result<Self, StoreError> {
        let levels = Levels { hot: Arc::new(Hot::temporary()?), settling: None, cold: None };
        Self::new(levels, version, None)
    }

    fn new(levels: Levels, version: u32, claim: Option<Claim>) -> Result<Self, StoreError> {
        let settles = levels.settling.is_some();
        let levels = Arc::new(ArcSwap::from_pointee(levels));
        let mover = if settles { Some(Mover::start(&levels)?) } else { None };
        let (mover, written) = (Mutex::new(mover), AtomicUsize::new(LOOK_AFTER));
        Ok(Self(Arc::new(Inner { mover, levels, version, written, claim })))
    }

    /// Opens the store in the folder `dir`, for rows that are made by rules of `version`. One that is
    /// damaged or was made by other rules is moved aside, and an empty one takes its place.
    pub fn open(dir: &Path, version: u32) -> Result<Opened, OpenError> {
        match try_open(dir, version) {
            Ok(store) => Ok(Opened { store, rebuilt_because: None }),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Useless(because)) => Self::start_over(dir, version, because),
        }
    }

    /// Moves the folder `dir` aside, keeping one such, and opens an empty store in its place.
    pub fn start_over(dir: &Path, version: u32, because: String) -> Result<Opened, OpenError> {
        let disk = |source| OpenError::Disk { path: dir.to_owned(), source };
        let aside = dir.with_extension("set-aside");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(disk)?;
        }
        if dir.exists() {
            fs::rename(dir, &aside).map_err(disk)?;
        }
        tracing::warn!(dir = %dir.display(), set_aside = %aside.display(), because, "rows are built anew");
        match try_open(dir, version) {
            Ok(store) => Ok(Opened { store, rebuilt_because: Some(because) }),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Useless(why)) => Err(disk(io::Error::other(why))),
        }
    }

    /// Up to where the rows are.
    pub fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let meta: Option<Meta> = self.get(META)?;
        Ok(meta.map_or_else(Checkpoint::default, |meta| Checkpoint {
            seq: Seq(meta.seq),
            position: meta.position,
        }))
    }

    /// Writes rows and checkpoint at once, however many they are: no reader and no crash sees a part.
    /// One thread writes at a time.
    pub fn write(&self, changes: &[KeyChange], checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let levels = self.0.levels.load();
        let Checkpoint { seq, position } = *checkpoint;
        let (version, generation, base) = (self.0.version, levels.hot.number, levels.hot.base);
        let meta = Meta { version, seq: seq.0, position, generation, base };
        levels.hot.write(changes, pack(&meta), levels.has_older())?;
        if self.0.written.fetch_add(changes.len(), Ordering::Relaxed) >= LOOK_AFTER {
            self.0.written.store(0, Ordering::Relaxed);
            // What was asked for is written: that the rest can't move yet is tried again after so many rows.
            if levels.hot.size()? >= GROWN
                && let Err(error) = self.begin_generation()
            {
                tracing::warn!(%error, "rows can't be moved to the cold ones yet");
            }
        }
        Ok(())
    }

    /// Begins a generation, and moves the rows of the one before; not while others still move.
    fn begin_generation(&self) -> Result<(), StoreError> {
        let Some(Claim { root, .. }) = &self.0.claim else { return Ok(()) };
        let mut mover = self.mover();
        if mover.as_ref().is_some_and(|mover| !mover.is_over()) {
            return Ok(());
        }
        let now = self.0.levels.load_full();
        if now.settling.is_some() {
            *mover = Some(Mover::start(&self.0.levels)?);
            return Ok(());
        }
        // One to which nothing was written says nothing, not even its number.
        if now.hot.get(META)?.is_none() {
            return Ok(());
        }
        now.hot.flush()?;
        let (number, base) = (now.hot.number + 1, self.checkpoint()?.seq.0);
        let hot = Hot::open(&open::generation(root, number), number, base);
        let hot = Arc::new(hot.map_err(|failure| match failure {
            OpenFailure::InUse => StoreError::Unreadable("a generation is in use".to_owned()),
            OpenFailure::Disk(error) => StoreError::System(error),
            OpenFailure::Damaged(why) => StoreError::Unreadable(why),
        })?);
        let cold = match &now.cold {
            Some(cold) => cold.clone(),
            None => Cold::open(&open::cold(root))?,
        };
        let settling = Some(Arc::clone(&now.hot));
        self.0.levels.store(Arc::new(Levels { hot, settling, cold: Some(cold) }));
        // The one before is over: it left nothing that settles.
        *mover = Some(Mover::start(&self.0.levels)?);
        Ok(())
    }

    /// Moves all rows to the cold ones now, and waits for it; of a store that has a folder. While nobody writes.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.finish_move();
        self.begin_generation()?;
        self.finish_move();
        Ok(())
    }

    fn finish_move(&self) {
        let mover = self.mover().take();
        if let Some(mover) = mover {
            mover.finish();
        }
    }

    fn mover(&self) -> std::sync::MutexGuard<'_, Option<Mover>> {
        self.0.mover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the rows to the operating system. They may be lost with the power, and are then rebuilt.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.levels.load().hot.flush()
    }

    /// The row under `key`.
    pub fn get<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        Ok(self.get_sized(key)?.map(|(row, _)| row))
    }

    /// The same, with how many bytes it is stored as.
    pub fn get_sized<R: DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<(R, usize)>, StoreError> {
        let bytes = self.0.levels.load().get(key)?;
        bytes.map(|bytes| Ok((unpack(&bytes)?, bytes.len()))).transpose()
    }

    /// Every row whose key begins with `prefix`, in the order of the keys; the key comes along.
    pub fn scan<R: DeserializeOwned>(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(RowKey, R), StoreError>> + use<R> {
        self.scan_between(prefix, key::after(prefix).as_deref())
    }

    /// Every row whose key is `from` or above and below `to`, in their order.
    pub fn scan_between<R: DeserializeOwned>(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(RowKey, R), StoreError>> + use<R> {
        self.between(from, to).map(|found| {
            let (key, bytes) = found?;
            Ok((key, unpack(&bytes)?))
        })
    }

    /// Every key that begins with `prefix`, in their order.
    pub fn keys(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<RowKey, StoreError>> + use<> {
        self.keys_between(prefix, key::after(prefix).as_deref())
    }

    /// Every key from `from` on that is below `to`, in their order.
    pub fn keys_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<RowKey, StoreError>> + use<> {
        self.between(from, to).map(|found| Ok(found?.0))
    }

    fn between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(RowKey, Bytes), StoreError>> + use<> {
        // A range that ends before it begins is empty, and no store is asked for it.
        let to = match to {
            Some(to) if to < from => Bound::Excluded(from),
            Some(to) => Bound::Excluded(to),
            None => Bound::Unbounded,
        };
        let found = self.0.levels.load().range((Bound::Included(from), to));
        found.filter_map(|pair| match pair {
            Ok(pair) => pair.value.map(|value| Ok((pair.key, value))),
            Err(error) => Some(Err(error)),
        })
    }

    /// A hash over all rows, and how far they are: two stores with the same one hold the same.
    pub fn fingerprint(&self) -> Result<String, StoreError> {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        };
        let Checkpoint { seq, position } = self.checkpoint()?;
        add(&pack(&(seq.0, position)));
        for found in self.between(&[], None) {
            let (key, bytes) = found?;
            if key[..] != *META {
                add(&key);
                add(&bytes);
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

/// Opens a store, and waits a while for whoever has it: a closed one is let go of a little late, and so it is by a
/// process that is ending.
fn try_open(dir: &Path, version: u32) -> Result<Store, Failure> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    loop {
        let opened = open::open(dir, version).and_then(|(claim, levels)| {
            let disk = |error| {
                let (path, source) = (dir.to_owned(), io::Error::other(error));
                Failure::Fatal(OpenError::Disk { path, source })
            };
            Store::new(levels, version, Some(claim)).map_err(disk)
        });
        match opened {
            Err(Failure::Fatal(OpenError::InUse(_))) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests;
