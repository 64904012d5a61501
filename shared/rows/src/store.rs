//! The rows on disk: one sled tree, which may be lost at any time and is then built again.
//!
//! sled has its own ways, so all of them are met here: it is opened on a thread of its own that may
//! panic, its cache is bounded, it is flushed when we say so, and what can't be opened is moved aside.
use std::{
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use dagbok_projection::Checkpoint;
use dagbok_runlog::{Position, Seq};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::Key;

/// Memory that sled may use for pages, in bytes.
const CACHE_BYTES: u64 = 24 << 20;
/// The key of the row that says how far the others are.
const META: &[u8] = b"m";

/// A key as the store has it.
pub type RowKey = sled::IVec;

/// A change of one key: its new bytes, or `None` where it is gone.
pub type KeyChange = (Key, Option<Vec<u8>>);

/// The rows could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store failed.
    #[error("the rows' store failed")]
    Sled(#[from] sled::Error),
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
struct Meta {
    version: u32,
    seq: u64,
    /// Rows of an earlier build have none.
    #[serde(default)]
    position: Option<Position>,
}

/// The rows. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    /// Of the rules that make the rows.
    version: u32,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("version", &self.version).finish_non_exhaustive()
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
        Ok(Self { db: settings().temporary(true).open()?, version })
    }

    /// Opens the store in the folder `dir`, for rows that are made by rules of `version`. One that is
    /// damaged or was made by other rules is moved aside, and an empty one takes its place.
    pub fn open(dir: &Path, version: u32) -> Result<Opened, OpenError> {
        let because = match try_open(dir, version) {
            Ok(store) => match store.meta() {
                Ok(Some(Meta { version: found, .. })) if found != version => format!(
                    "its rows are of version {found}, and this build makes version {version}"
                ),
                Ok(Some(_) | None) => return Ok(Opened { store, rebuilt_because: None }),
                Err(error) => format!("it is damaged: {error}"),
            },
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Damaged(why)) => format!("it is damaged: {why}"),
        };
        Self::start_over(dir, version, because)
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
            Err(Failure::Damaged(why)) => Err(disk(io::Error::other(why))),
        }
    }

    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.db.get(META)?.map(|bytes| unpack(&bytes)).transpose()
    }

    /// Up to where the rows are.
    pub fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let meta = self.meta()?;
        Ok(meta.map_or_else(Checkpoint::default, |meta| Checkpoint {
            seq: Seq(meta.seq),
            position: meta.position,
        }))
    }

    /// Writes rows and checkpoint at once, however many they are: no reader and no crash sees a part.
    pub fn write(&self, changes: &[KeyChange], checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let Checkpoint { seq, position } = *checkpoint;
        let meta = Meta { version: self.version, seq: seq.0, position };
        let mut batch = sled::Batch::default();
        for (key, row) in changes {
            match row {
                Some(bytes) => batch.insert(key.as_slice(), bytes.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        batch.insert(META, pack(&meta));
        self.db.apply_batch(batch)?;
        collect(changes.len());
        Ok(())
    }

    /// Hands the rows to the operating system. They may be lost with the power, and are then rebuilt.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(())
    }

    /// The row under `key`.
    pub fn get<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.db.get(key)?.map(|bytes| unpack(&bytes)).transpose()
    }

    /// Every row whose key begins with `prefix`, in the order of the keys; the key comes along.
    pub fn scan<R: DeserializeOwned>(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(RowKey, R), StoreError>> + use<R> {
        self.db.scan_prefix(prefix).map(|found| {
            let (key, bytes) = found?;
            Ok((key, unpack(&bytes)?))
        })
    }

    /// Every key that begins with `prefix`, in their order.
    pub fn keys(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<RowKey, StoreError>> + use<> {
        self.db.scan_prefix(prefix).keys().map(|found| Ok(found?))
    }

    /// Every key from `from` on that is below `to`, in their order.
    pub fn keys_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<RowKey, StoreError>> + use<> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.db.range::<&[u8], _>((Bound::Included(from), to));
        range.keys().map(|found| Ok(found?))
    }

    /// A hash over all rows: two stores with the same one hold the same.
    pub fn fingerprint(&self) -> Result<String, StoreError> {
        let mut hash = Sha256::new();
        for found in self.db.iter() {
            let (key, bytes) = found?;
            for part in [&key, &bytes] {
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part);
            }
        }
        Ok(hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }
}

/// Frees what a write of so many rows replaced. sled leaves that to whoever looks at a store next, a few hundred
/// pieces for every hundred looks, so that a store which is only written to keeps all that it ever replaced.
fn collect(rows: usize) {
    // Each time frees up to 512 pieces, and a row leaves two or three; nothing goes before its epoch is two back.
    for _ in 0..rows / 128 + 3 {
        crossbeam_epoch::pin().flush();
    }
}

enum Failure {
    Fatal(OpenError),
    Damaged(String),
}

fn settings() -> sled::Config {
    sled::Config::new()
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput)
}

/// Opens a store, and waits a while for whoever has it: sled lets go of a closed one a little late, and
/// so does a process that is ending.
fn try_open(dir: &Path, version: u32) -> Result<Store, Failure> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    loop {
        match try_open_once(dir, version) {
            Err(Failure::Fatal(OpenError::InUse(_))) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// Opens sled on a thread of its own: a damaged store may panic there.
fn try_open_once(dir: &Path, version: u32) -> Result<Store, Failure> {
    let path = dir.to_owned();
    let opening = thread::Builder::new()
        .name("open-rows".to_owned())
        .spawn(move || {
            let db = settings().path(path).open()?;
            // Reading once shows damage that opening alone does not.
            db.get(META)?;
            Ok::<_, sled::Error>(db)
        })
        .map_err(|source| Failure::Fatal(OpenError::Disk { path: dir.to_owned(), source }))?;
    match opening.join() {
        Ok(Ok(db)) => Ok(Store { db, version }),
        Ok(Err(sled::Error::Io(error))) => Err(failure_of(dir, error)),
        Ok(Err(error)) => Err(Failure::Damaged(error.to_string())),
        Err(_) => Err(Failure::Damaged("sled panicked while opening it".to_owned())),
    }
}

/// Tells a disk that refuses from a store that is damaged.
fn failure_of(dir: &Path, error: io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let path = dir.to_owned();
    if error.kind() == Kind::WouldBlock || error.to_string().contains("could not acquire lock") {
        return Failure::Fatal(OpenError::InUse(path));
    }
    match error.kind() {
        Kind::PermissionDenied
        | Kind::StorageFull
        | Kind::ReadOnlyFilesystem
        | Kind::QuotaExceeded => Failure::Fatal(OpenError::Disk { path, source: error }),
        _ => Failure::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: u32 = 7;

    fn reopened(meta: &Meta) -> Opened {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("rows");
        let store = Store::open(&dir, VERSION).unwrap().store;
        store.db.insert(META, pack(meta)).unwrap();
        store.db.insert(b"dx", b"a row").unwrap();
        store.flush().unwrap();
        drop(store);
        Store::open(&dir, VERSION).unwrap()
    }

    #[test]
    fn rows_of_another_version_are_built_anew() {
        let opened = reopened(&Meta { version: VERSION + 1, seq: 9, position: None });
        assert!(opened.rebuilt_because.unwrap().contains("this build makes version"));
        assert_eq!(opened.store.checkpoint().unwrap(), Checkpoint::default());
        assert!(opened.store.db.is_empty());
    }

    #[test]
    fn rows_of_this_version_are_kept() {
        let opened = reopened(&Meta { version: VERSION, seq: 9, position: None });
        assert_eq!(opened.rebuilt_because, None);
        assert_eq!(opened.store.checkpoint().unwrap().seq, Seq(9));
        assert_eq!(opened.store.db.len(), 2);
    }

    #[test]
    fn however_many_rows_come_whole_with_their_checkpoint() {
        let store = Store::temporary(VERSION).unwrap();
        for count in [0_usize, 1, 300, 60_000] {
            store.db.clear().unwrap();
            let (watching, stop) = (store.clone(), std::sync::atomic::AtomicBool::new(false));
            thread::scope(|scope| {
                let seen = scope.spawn(|| {
                    let last_key = format!("x{:05}", count.saturating_sub(1));
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let first = watching.db.contains_key(b"x00000").unwrap();
                        let last = watching.db.contains_key(&last_key).unwrap();
                        assert!(last || !first, "a reader saw a part of {count}");
                    }
                });
                let change = |n: usize| (format!("x{n:05}").into_bytes(), Some(vec![1; 40]));
                let changes: Vec<KeyChange> = (0..count).map(change).collect();
                let checkpoint = Checkpoint { seq: Seq(5), position: None };
                store.write(&changes, &checkpoint).unwrap();
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(store.db.len(), count + 1);
                assert_eq!(store.checkpoint().unwrap(), checkpoint);
                if count > 0 {
                    seen.join().unwrap();
                }
            });
        }
    }
}
