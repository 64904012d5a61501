//! One generation of rows: what was written since the one before it, in a sled tree.
//!
//! sled has its own ways, so all of them are met here: it is opened on a thread of its own that may panic, its cache
//! is bounded, it is flushed when we say so. It holds the place of each of its pages in memory and never gives disk
//! back, which is why a generation ends when it has grown: its rows move to the cold ones, and its files go.
use std::{
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    merge::{Bytes, Pair},
    store::{KeyChange, META, StoreError},
};

/// Memory that sled may use for pages of a generation, in bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// Why a generation can't be opened.
pub(crate) enum OpenFailure {
    /// Another process, or a store that is being closed, has it.
    InUse,
    /// The disk refused.
    Disk(io::Error),
    /// What is there is no generation.
    Damaged(String),
}

/// What a generation says of a key.
pub(crate) enum Said {
    /// Its row.
    Row(sled::IVec),
    /// That there is none any more, whatever an older place says.
    Gone,
}

impl Said {
    /// The row, where there is one.
    pub(crate) fn row(self) -> Option<sled::IVec> {
        match self {
            Self::Row(row) => Some(row),
            Self::Gone => None,
        }
    }
}

/// A generation.
pub(crate) struct Hot {
    db: Option<sled::Db>,
    /// None of one that is gone when it is closed anyway.
    path: Option<PathBuf>,
    /// Its place among those of the store.
    pub(crate) number: u64,
    /// Where the rows below it ended when it began.
    pub(crate) base: u64,
    /// Whether its files go with it.
    spent: AtomicBool,
}

impl Hot {
    pub(crate) fn temporary() -> Result<Self, StoreError> {
        let db = settings().temporary(true).open()?;
        Ok(Self { db: Some(db), path: None, number: 1, base: 0, spent: AtomicBool::new(false) })
    }

    /// Opens or makes one in the folder `path`, on a thread of its own: a damaged one may panic there.
    pub(crate) fn open(path: &Path, number: u64, base: u64) -> Result<Self, OpenFailure> {
        let dir = path.to_owned();
        let opening = thread::Builder::new()
            .name("open-rows".to_owned())
            .spawn(move || {
                let db = settings().path(dir).open()?;
                // Reading once shows damage that opening alone does not.
                db.get(META)?;
                Ok::<_, sled::Error>(db)
            })
            .map_err(OpenFailure::Disk)?;
        match opening.join() {
            Ok(Ok(db)) => {
                let spent = AtomicBool::new(false);
                Ok(Self { db: Some(db), path: Some(path.to_owned()), number, base, spent })
            }
            Ok(Err(sled::Error::Io(error))) => Err(failure_of(error)),
            Ok(Err(error)) => Err(OpenFailure::Damaged(error.to_string())),
            Err(_) => Err(OpenFailure::Damaged("sled panicked while opening it".to_owned())),
        }
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("only dropping takes it")
    }

    /// What it says of a key; `None` where it says nothing.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Said>, StoreError> {
        Ok(self.db().get(key)?.map(|row| live(row).map_or(Said::Gone, Said::Row)))
    }

    /// What lies in a range of keys, in their order.
    pub(crate) fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.db().range::<&[u8], _>(range).map(|found| {
            let (key, value) = found?;
            Ok(Pair { key: Bytes::Hot(key), value: live(value).map(Bytes::Hot) })
        })
    }

    /// Writes rows and the checkpoint `meta` at once. Where there are older rows, those that are gone are written
    /// down as gone.
    pub(crate) fn write(
        &self,
        changes: &[KeyChange],
        meta: Vec<u8>,
        over_older: bool,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, row) in changes {
            match row {
                Some(bytes) => batch.insert(key.as_slice(), bytes.as_slice()),
                None if over_older => batch.insert(key.as_slice(), GONE),
                None => batch.remove(key.as_slice()),
            }
        }
        batch.insert(META, meta);
        self.db().apply_batch(batch)?;
        collect(changes.len());
        Ok(())
    }

    /// Hands the rows to the operating system. They may be lost with the power, and are then rebuilt.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.db().flush()?;
        Ok(())
    }

    /// What its files take, in bytes.
    pub(crate) fn size(&self) -> Result<u64, StoreError> {
        Ok(self.db().size_on_disk()?)
    }

    /// Its files go when nobody reads it any more.
    pub(crate) fn spend(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        drop(self.db.take());
        if self.spent.load(Ordering::Relaxed)
            && let Some(path) = &self.path
            && let Err(error) = fs::remove_dir_all(path)
        {
            tracing::warn!(path = %path.display(), %error, "rows that have moved are left on the disk");
        }
    }
}

/// The row of a key that is gone, and may still be in an older place. No row is empty.
const GONE: &[u8] = &[];

fn live(value: sled::IVec) -> Option<sled::IVec> {
    (!value.is_empty()).then_some(value)
}

/// Frees what a write of so many rows replaced. sled leaves that to whoever looks at a store next, a few hundred
/// pieces for every hundred looks, so that a store which is only written to keeps all that it ever replaced.
fn collect(rows: usize) {
    // Each time frees up to 512 pieces, and a row leaves two or three; nothing goes before its epoch is two back.
    for _ in 0..rows / 128 + 3 {
        crossbeam_epoch::pin().flush();
    }
}

fn settings() -> sled::Config {
    sled::Config::new()
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput)
}

/// Tells a disk that refuses from a store that is damaged.
fn failure_of(error: io::Error) -> OpenFailure {
    use io::ErrorKind as Kind;
    if error.kind() == Kind::WouldBlock || error.to_string().contains("could not acquire lock") {
        return OpenFailure::InUse;
    }
    match error.kind() {
        Kind::PermissionDenied
        | Kind::StorageFull
        | Kind::ReadOnlyFilesystem
        | Kind::QuotaExceeded => OpenFailure::Disk(error),
        _ => OpenFailure::Damaged(error.to_string()),
    }
}
