//! Blobs near alone, in a process that knows no object store: where its installation has one, what is not near is there,
//! and not nowhere.
use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs, Moved, PortError, PortResult, StayNear};

use crate::owner::Claims;

/// Blobs near alone.
#[derive(Clone, Debug)]
pub struct Placeless {
    near: Arc<dyn Blobs>,
    claims: Arc<dyn Claims>,
}

impl Placeless {
    /// Over the near ones.
    pub fn new(near: Arc<dyn Blobs>, claims: Arc<dyn Claims>) -> Self {
        Self { near, claims }
    }

    /// What is not near is nowhere, if the installation has no other place.
    async fn is_known(&self) -> PortResult<()> {
        let Some(claim) = self.claims.read().await?.filter(|claim| claim.is_made) else {
            return Ok(());
        };
        let why = format!(
            "some of this installation's lie at {}, which this service is not told of: name it in `blobs.url` for every \
             service (DBK0039)",
            claim.place
        );
        Err(PortError::unavailable("blobs", why))
    }
}

#[async_trait]
impl Blobs for Placeless {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.near.put(bytes).await
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        let found = self.near.get(digest).await?;
        if found.is_none() {
            self.is_known().await?;
        }
        Ok(found)
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        let found = self.near.has(digest).await?;
        if !found {
            self.is_known().await?;
        }
        Ok(found)
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.near.list(after, most).await
    }

    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        self.near.delete(digest, put_since).await
    }

    async fn settle(&self, now: SystemTime, stay: StayNear<'_>) -> PortResult<Moved> {
        self.near.settle(now, stay).await
    }
}
