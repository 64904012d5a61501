//! The rows as handlers ask them, with the meanings of DAGs kept decoded: they are large, never change, and
//! every answer about a run needs one.
use std::{collections::HashMap, ops::Deref, sync::Arc};

use dagbok_events::{DagId, DagVersion};
use dagbok_rows::{Key, StoreError};
use parking_lot::Mutex;

use super::{keys, rows::VersionRow};

/// Meanings that are kept decoded.
const KEPT: usize = 256;

/// The rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    rows: dagbok_rows::Store,
    versions: Arc<Mutex<HashMap<Key, Arc<VersionRow>>>>,
}

impl From<dagbok_rows::Store> for Store {
    fn from(rows: dagbok_rows::Store) -> Self {
        Self { rows, versions: Arc::default() }
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
}
