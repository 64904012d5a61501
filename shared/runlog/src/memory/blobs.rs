//! Blobs in memory.
use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{Blobs, PortResult, digest_of};

/// Blobs that are gone when their last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlobs {
    blobs: Arc<RwLock<HashMap<String, Bytes>>>,
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        let digest = digest_of(&bytes);
        self.blobs.write().entry(digest.clone()).or_insert(bytes);
        Ok(digest)
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        Ok(self.blobs.read().get(digest).cloned())
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        Ok(self.blobs.read().contains_key(digest))
    }
}
