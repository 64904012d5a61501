//! Snapshots in memory.
use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{PortResult, Snapshots};

/// Snapshots that are gone when their last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots(Arc<RwLock<HashMap<String, Bytes>>>);

#[async_trait]
impl Snapshots for MemorySnapshots {
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()> {
        self.0.write().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> PortResult<Option<Bytes>> {
        Ok(self.0.read().get(name).cloned())
    }
}
