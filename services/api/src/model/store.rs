//! The rows on disk: one sled tree, which may be lost at any time and is then built again.
//!
//! sled has its own ways, so all of them are met here: it is opened on a thread of its own that may
//! panic, its cache is bounded, it is flushed when we say so, and what can't be opened is moved aside.
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dagbok_events::{DagId, DagVersion};
use dagbok_projection::{Checkpoint, Mark};
use dagbok_runlog::Seq;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{
    keys::{self, Key},
    overlay::{KeyChange, Source},
    rows::{Row as _, VERSION, VersionRow},
};

/// Memory that sled may use for pages, in bytes.
const CACHE_BYTES: u64 = 24 << 20;
/// Rows that are written at once: larger batches of sled's are slow.
const PART: usize = 256;
/// The key of the row that says how far the others are.
const META: &[u8] = b"m";

/// The rows could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store failed.
    #[error("the read model's store failed")]
    Sled(#[from] sled::Error),
    /// A row is not what was written.
    #[error("a row of the read model can't be read: {0}")]
    Unreadable(String),
}

/// The store could not be opened, and building it anew would not help.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the read model at {} is in use by another process; stop that one, or use another home", .0.display())]
    InUse(PathBuf),
    /// The disk refused.
    #[error("the read model at {} can't be opened", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Encodes a row.
pub(crate) fn pack<T: Serialize>(row: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(row).expect("rows have text keys and memory does not fail")
}

/// Decodes a row.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// How far the rows are, and by which rules they were made.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    version: u32,
    seq: u64,
    mark: Option<String>,
    /// Whether all rows up to `seq` are there; false while many are written.
    whole: bool,
}

/// The rows. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    versions: Arc<Versions>,
}

/// Meanings of DAGs, decoded: they are large, rarely change, and every answer about a run needs one.
type Versions = Mutex<HashMap<Key, Arc<VersionRow>>>;

/// Meanings that are kept decoded.
const VERSIONS_KEPT: usize = 256;

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Source for Store {
    fn stored(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        Ok(self.db.get(key)?)
    }

    fn stored_within(&self, prefix: &[u8]) -> Result<Vec<Key>, StoreError> {
        self.db.scan_prefix(prefix).keys().map(|key| Ok(key?.to_vec())).collect()
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
    fn over(db: sled::Db) -> Self {
        Self { db, versions: Arc::default() }
    }

    /// One that is gone when the last clone is dropped.
    pub fn temporary() -> Result<Self, StoreError> {
        Ok(Self::over(settings().temporary(true).open()?))
    }

    /// Opens the store in the folder `dir`. One that is damaged or was made by other rules is moved
    /// aside, and an empty one takes its place.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        let because = match try_open(dir) {
            Ok(store) => match store.meta() {
                Ok(Some(Meta { version, .. })) if version != VERSION => format!(
                    "its rows are of version {version}, and this build makes version {VERSION}"
                ),
                Ok(Some(Meta { whole: false, .. })) => {
                    "it was broken off while many rows were written".to_owned()
                }
                Ok(Some(_) | None) => return Ok(Opened { store, rebuilt_because: None }),
                Err(error) => format!("it is damaged: {error}"),
            },
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Damaged(why)) => format!("it is damaged: {why}"),
        };
        Self::start_over(dir, because)
    }

    /// Moves the folder `dir` aside, keeping one such, and opens an empty store in its place.
    pub fn start_over(dir: &Path, because: String) -> Result<Opened, OpenError> {
        let disk = |source| OpenError::Disk { path: dir.to_owned(), source };
        let aside = dir.with_extension("set-aside");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(disk)?;
        }
        if dir.exists() {
            fs::rename(dir, &aside).map_err(disk)?;
        }
        tracing::warn!(dir = %dir.display(), set_aside = %aside.display(), because, "the read model is built anew");
        match try_open(dir) {
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
            mark: meta.mark.map(Mark),
        }))
    }

    /// Writes rows and checkpoint: at once, or, where there are many, in parts between two marks, so
    /// that rows of which a part is missing are known and built anew.
    pub(crate) fn write(
        &self,
        changes: &[KeyChange],
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        let registered = changes.iter().any(|(key, _)| key.first() == Some(&VersionRow::TABLE));
        let mark = checkpoint.mark.clone().map(|mark| mark.0);
        let whole = Meta { version: VERSION, seq: checkpoint.seq.0, mark, whole: true };
        let mut parts = changes.chunks(PART).peekable();
        if changes.len() > PART {
            let torn = Meta { version: VERSION, seq: 0, mark: None, whole: false };
            self.db.insert(META, pack(&torn))?;
        }
        loop {
            let mut batch = sled::Batch::default();
            for (key, row) in parts.next().unwrap_or_default() {
                match row {
                    Some(bytes) => batch.insert(key.as_slice(), bytes.as_slice()),
                    None => batch.remove(key.as_slice()),
                }
            }
            let last = parts.peek().is_none();
            if last {
                batch.insert(META, pack(&whole));
            }
            self.db.apply_batch(batch)?;
            if last {
                break;
            }
        }
        if registered {
            self.versions.lock().clear();
        }
        Ok(())
    }

    /// One meaning of a DAG, kept decoded.
    pub fn version_shared(
        &self,
        dag_id: &DagId,
        version: DagVersion,
    ) -> Result<Option<Arc<VersionRow>>, StoreError> {
        let key = keys::version(dag_id, version);
        if let Some(row) = self.versions.lock().get(&key) {
            return Ok(Some(Arc::clone(row)));
        }
        let Some(row) = self.get::<VersionRow>(&key)?.map(Arc::new) else { return Ok(None) };
        let mut kept = self.versions.lock();
        if kept.len() >= VERSIONS_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&row));
        Ok(Some(row))
    }

    /// Hands the rows to the operating system. They may be lost with the power, and are then rebuilt.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(())
    }

    /// The row under `key`.
    pub(crate) fn get<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.db.get(key)?.map(|bytes| unpack(&bytes)).transpose()
    }

    /// Every row whose key begins with `prefix`, in the order of the keys; the key comes along.
    pub(crate) fn scan<R: DeserializeOwned>(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(sled::IVec, R), StoreError>> + use<R> {
        self.db.scan_prefix(prefix).map(|found| {
            let (key, bytes) = found?;
            Ok((key, unpack(&bytes)?))
        })
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
fn try_open(dir: &Path) -> Result<Store, Failure> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    loop {
        match try_open_once(dir) {
            Err(Failure::Fatal(OpenError::InUse(_))) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// Opens sled on a thread of its own: a damaged store may panic there.
fn try_open_once(dir: &Path) -> Result<Store, Failure> {
    let path = dir.to_owned();
    let opening = thread::Builder::new()
        .name("open-read-model".to_owned())
        .spawn(move || {
            let db = settings().path(path).open()?;
            // Reading once shows damage that opening alone does not.
            db.get(META)?;
            Ok::<_, sled::Error>(db)
        })
        .map_err(|source| Failure::Fatal(OpenError::Disk { path: dir.to_owned(), source }))?;
    match opening.join() {
        Ok(Ok(db)) => Ok(Store::over(db)),
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

    fn marked(meta: &Meta) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("rows")).unwrap().store;
        store.db.insert(META, pack(meta)).unwrap();
        store.db.insert(b"dx", b"a row").unwrap();
        store.flush().unwrap();
        home
    }

    fn reopened(meta: &Meta) -> Opened {
        Store::open(&marked(meta).path().join("rows")).unwrap()
    }

    #[test]
    fn rows_of_another_version_are_built_anew() {
        let opened = reopened(&Meta { version: VERSION + 1, seq: 9, mark: None, whole: true });
        assert!(opened.rebuilt_because.unwrap().contains("this build makes version"));
        assert_eq!(opened.store.checkpoint().unwrap(), Checkpoint::default());
        assert!(opened.store.db.is_empty());
    }

    #[test]
    fn rows_of_which_a_part_may_be_missing_are_built_anew() {
        let opened = reopened(&Meta { version: VERSION, seq: 9, mark: None, whole: false });
        assert!(opened.rebuilt_because.unwrap().contains("broken off"));
        assert!(opened.store.db.is_empty());
    }

    #[test]
    fn whole_rows_are_kept() {
        let opened = reopened(&Meta { version: VERSION, seq: 9, mark: None, whole: true });
        assert_eq!(opened.rebuilt_because, None);
        assert_eq!(opened.store.checkpoint().unwrap().seq, Seq(9));
        assert_eq!(opened.store.db.len(), 2);
    }

    #[test]
    fn many_rows_come_whole_with_their_checkpoint() {
        let store = Store::temporary().unwrap();
        for count in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7] {
            store.db.clear().unwrap();
            let change = |n: usize| (format!("x{n:05}").into_bytes(), Some(vec![1]));
            let changes: Vec<KeyChange> = (0..count).map(change).collect();
            let checkpoint = Checkpoint { seq: Seq(5), mark: None };
            store.write(&changes, &checkpoint).unwrap();
            assert_eq!(store.db.len(), count + 1);
            assert!(store.meta().unwrap().unwrap().whole);
            assert_eq!(store.checkpoint().unwrap(), checkpoint);
        }
    }
}
