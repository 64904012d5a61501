//! Snapshots in memory.
use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{PortResult, Snapshots, limits::check_snapshot_name};

/// Snapshots that are gone when their last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots(Arc<RwLock<HashMap<String, Bytes>>>);

#[async_trait]
impl Snapshots for MemorySnapshots {
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()> {
        check_snapshot_name(name)?;
        self.0.write().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> PortResult<Option<Bytes>> {
        check_snapshot_name(name)?;
        Ok(self.0.read().get(name).cloned())
    }
}
