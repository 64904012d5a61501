//! The rows as handlers ask them, with the meanings of DAGs kept decoded: they are large, never change, and
//! every answer about a run needs one.
use std::{collections::HashMap, ops::Deref, sync::Arc};

use dagbok_events::{DagId, DagVersion, Digest, Timestamp};
use dagbok_rows::{Key, StoreError};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{
    keys,
    rows::{RunRow, VersionRow},
};

/// Meanings that are kept decoded, and the bytes that they may be stored as together: a DAG of ten thousand tasks is
/// megabytes, and some times that decoded.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 24 << 20;
/// Heads of versions that are kept: some hundred bytes each.
const HEADS: usize = 8_192;
/// Columns of grids that are kept, in bytes.
const CELLS: usize = 32 << 20;

/// Columns of grids by the run's first record: the run's last one, the meaning that they are rows of, and the cells.
#[derive(Debug, Default)]
struct Columns {
    by_run: HashMap<u64, (u64, DagVersion, Arc<str>)>,
    bytes: usize,
}

/// What a version is beside its meaning, which is passed over where it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct VersionHead {
    /// The code that it was read from.
    pub bundle: Digest,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Meanings with the bytes of all of them.
#[derive(Debug, Default)]
struct Meanings {
    by_key: HashMap<Key, Arc<VersionRow>>,
    bytes: usize,
}

/// The rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    rows: dagbok_rows::Store,
    versions: Arc<Mutex<Meanings>>,
    heads: Arc<Mutex<HashMap<Key, VersionHead>>>,
    columns: Arc<Mutex<Columns>>,
}

impl From<dagbok_rows::Store> for Store {
    fn from(rows: dagbok_rows::Store) -> Self {
        Self { rows, versions: Arc::default(), heads: Arc::default(), columns: Arc::default() }
    }
}

impl AsRef<dagbok_rows::Store> for Store {
    fn as_ref(&self) -> &dagbok_rows::Store {
        &self.rows
    }
}

impl Deref for Store {
    type Target = dagbok_rows::Store;
    fn deref(&self) -> &dagbok_rows::Store {
        &self.rows
    }
}

impl Store {
    /// One meaning of a DAG, kept decoded. What was registered never changes.
    pub fn version_shared(
        &self,
        dag_id: &DagId,
        version: DagVersion,
    ) -> Result<Option<Arc<VersionRow>>, StoreError> {
        let key = keys::version(dag_id, version);
        if let Some(row) = self.versions.lock().by_key.get(&key) {
            return Ok(Some(Arc::clone(row)));
        }
        let Some((row, bytes)) = self.get_sized::<VersionRow>(&key)? else { return Ok(None) };
        let row = Arc::new(row);
        let mut kept = self.versions.lock();
        if kept.by_key.len() >= KEPT || kept.bytes + bytes > KEPT_BYTES {
            *kept = Meanings::default();
        }
        if kept.by_key.insert(key, Arc::clone(&row)).is_none() {
            kept.bytes += bytes;
        }
        Ok(Some(row))
    }

    /// What a version is beside its meaning: that is neither decoded nor kept.
    pub fn version_head(
        &self,
        dag_id: &DagId,
        version: DagVersion,
    ) -> Result<Option<VersionHead>, StoreError> {
        let key = keys::version(dag_id, version);
        if let Some(head) = self.heads.lock().get(&key) {
            return Ok(Some(head.clone()));
        }
        let Some(head) = self.get::<VersionHead>(&key)? else { return Ok(None) };
        let mut heads = self.heads.lock();
        if heads.len() >= HEADS {
            heads.clear();
        }
        heads.insert(key, head.clone());
        Ok(Some(head))
    }

    /// The column of a run in the grid of a version: as it was made, where nothing was recorded about the run since.
    pub fn column(
        &self,
        run: &RunRow,
        version: DagVersion,
        make: impl FnOnce() -> Result<String, StoreError>,
    ) -> Result<Arc<str>, StoreError> {
        let known = self.columns.lock().by_run.get(&run.created_seq).cloned();
        if let Some((last, of, cells)) = known
            && (last, of) == (run.last_seq, version)
        {
            return Ok(cells);
        }
        let cells: Arc<str> = make()?.into();
        let mut columns = self.columns.lock();
        if columns.bytes + cells.len() > CELLS {
            *columns = Columns::default();
        }
        let entry = (run.last_seq, version, Arc::clone(&cells));
        let before = columns.by_run.insert(run.created_seq, entry);
        columns.bytes += cells.len();
        columns.bytes -= before.map_or(0, |(_, _, cells)| cells.len());
        Ok(cells)
    }
}
