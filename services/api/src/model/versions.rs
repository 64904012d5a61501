//! The rows as handlers ask them, with the meanings of DAGs kept decoded: they are large, never change, and
//! every answer about a run needs one.
use std::{collections::HashMap, ops::Deref, sync::Arc};

use dagbok_events::{DagId, DagVersion};
use dagbok_rows::{Key, StoreError};
use parking_lot::Mutex;

use super::{
    keys,
    rows::{RunRow, VersionRow},
};

/// Meanings that are kept decoded.
const KEPT: usize = 256;
/// Columns of grids that are kept, in bytes.
const CELLS: usize = 32 << 20;

/// Columns of grids by the run's first record: the run's last one, the meaning that they are rows of, and the cells.
#[derive(Debug, Default)]
struct Columns {
    by_run: HashMap<u64, (u64, DagVersion, Arc<str>)>,
    bytes: usize,
}

/// The rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    rows: dagbok_rows::Store,
    versions: Arc<Mutex<HashMap<Key, Arc<VersionRow>>>>,
    columns: Arc<Mutex<Columns>>,
}

impl From<dagbok_rows::Store> for Store {
    fn from(rows: dagbok_rows::Store) -> Self {
        Self { rows, versions: Arc::default(), columns: Arc::default() }
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
        if let Some(row) = self.versions.lock().get(&key) {
            return Ok(Some(Arc::clone(row)));
        }
        let Some(row) = self.get::<VersionRow>(&key)?.map(Arc::new) else { return Ok(None) };
        let mut kept = self.versions.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&row));
        Ok(Some(row))
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
