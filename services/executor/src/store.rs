//! Blobs that must not get lost: put again and again until the store took them.
use std::sync::Arc;

use bytes::Bytes;
use dagbok_runlog::{Blobs, PortError};
use dagbok_runtime::Backoff;

use crate::elements::{Elements, Lists};

/// The blob store, for a try; and what of it all tries of the executor look at.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    blobs: Arc<dyn Blobs>,
    lists: Arc<Lists>,
}

impl Store {
    /// Over these blobs.
    pub(crate) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, lists: Arc::default() }
    }

    /// The elements of the list, tuple or dict with this digest.
    pub(crate) async fn elements(&self, digest: &str) -> Result<Arc<Elements>, String> {
        self.lists.get(self, digest).await
    }

    /// Stores `bytes` and returns their digest, however long the store is away; an error where it won't
    /// ever take them.
    pub(crate) async fn put(&self, bytes: Bytes) -> Result<String, String> {
        let mut backoff = Backoff::default();
        loop {
            match self.blobs.put(bytes.clone()).await {
                Ok(digest) => return Ok(digest),
                Err(error @ PortError::Unavailable { .. }) => {
                    if backoff.is_worth_telling() {
                        tracing::warn!(%error, bytes = bytes.len(), "a blob could not be put; trying again");
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
            backoff.pause().await;
        }
    }

    /// The bytes with this digest, however long the store is away; an error where they are not there or
    /// damaged, which waiting won't heal.
    pub(crate) async fn get(&self, digest: &str) -> Result<Bytes, String> {
        let mut backoff = Backoff::default();
        loop {
            match self.blobs.get(digest).await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => return Err(format!("the blob {digest} is not in the store")),
                Err(error @ PortError::Unavailable { .. }) => {
                    if backoff.is_worth_telling() {
                        tracing::warn!(%error, digest, "a blob could not be read; trying again");
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
            backoff.pause().await;
        }
    }
}
