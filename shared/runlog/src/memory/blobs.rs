//! Blobs in memory.
use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{BlobInfo, Blobs, PortResult, digest_of};

/// Blobs that are gone when their last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlobs {
    blobs: Arc<RwLock<BTreeMap<String, (Bytes, SystemTime)>>>,
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        let digest = digest_of(&bytes);
        self.blobs.write().insert(digest.clone(), (bytes, SystemTime::now()));
        Ok(digest)
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        Ok(self.blobs.read().get(digest).map(|(bytes, _)| bytes.clone()))
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        Ok(self.blobs.read().contains_key(digest))
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let blobs = self.blobs.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = blobs.range::<str, _>((from, Bound::Unbounded)).take(most.max(1));
        let info = |(digest, (bytes, modified)): (&String, &(Bytes, SystemTime))| BlobInfo {
            digest: digest.clone(),
            bytes: bytes.len() as u64,
            modified: *modified,
        };
        Ok(page.map(info).collect())
    }

    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let mut blobs = self.blobs.write();
        let goes = blobs.get(digest).is_some_and(|(_, modified)| *modified < put_since);
        Ok(goes && blobs.remove(digest).is_some())
    }
}
