//! Two places for blobs: near, in the log's own store, and far, on the object store. What is put goes far at once where
//! it is large, and otherwise once it is no longer new; so that a task's end waits for no request over the internet, and
//! what is read soon is near. Where the object store does not take something, it stays near: nothing waits for that.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs, Moved, PortError, PortResult, RunLog};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Objects;

/// How long what is large goes near after the object store did not take something.
const SPARED: Duration = Duration::from_secs(30);
/// Blobs that move at once.
const MOVING: usize = 4;
/// Blobs that are looked at in one piece.
const PAGE: usize = 1_000;

/// Which blobs are where.
#[derive(Clone, Copy, Debug)]
pub struct TierSettings {
    /// Blobs of so many bytes and more go far at once.
    pub direct_from: u64,
    /// All others once they have been near for so long; never where `None`.
    pub move_after: Option<Duration>,
}

/// Blobs near and far, as one.
#[derive(Clone, Debug)]
pub struct Tiers {
    near: Arc<dyn Blobs>,
    far: Objects,
    settings: TierSettings,
    /// The log that the blobs are of; `None` where this process may not read it, and another sees to that.
    log: Option<Arc<dyn RunLog>>,
    /// Whether the place is known to be this log's.
    is_ours: Arc<AtomicBool>,
    spared_until: Arc<Mutex<Option<Instant>>>,
}

impl Tiers {
    /// The two together. Who has no `log` leaves it to others to see that the place is that log's.
    pub fn new(
        near: Arc<dyn Blobs>,
        far: Objects,
        settings: TierSettings,
        log: Option<Arc<dyn RunLog>>,
    ) -> Self {
        let is_ours = Arc::new(AtomicBool::new(log.is_none()));
        Self { near, far, settings, log, is_ours, spared_until: Arc::default() }
    }

    /// Whether the place far off is this log's, which it is made where it is nobody's. False for a log without an entry,
    /// which has no name yet; refused where it is another's.
    pub async fn claimed(&self) -> PortResult<bool> {
        if self.is_ours.load(Ordering::Acquire) {
            return Ok(true);
        }
        let Some(log) = &self.log else { return Ok(true) };
        let Some(mark) = log.mark().await? else { return Ok(false) };
        self.far.claim(&mark.0.to_string()).await?;
        self.is_ours.store(true, Ordering::Release);
        Ok(true)
    }

    /// Puts far what is large; `None` where it is to go near.
    async fn put_far(&self, bytes: &Bytes) -> Option<String> {
        if (bytes.len() as u64) < self.settings.direct_from {
            return None;
        }
        if self.spared_until.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let put = async {
            if !self.claimed().await? {
                return Ok(None);
            }
            self.far.put(bytes.clone()).await.map(Some)
        };
        match put.await {
            Ok(put) => put,
            Err(error) => {
                let until = Instant::now() + SPARED;
                let before = self.spared_until.lock().replace(until);
                if before.is_none() {
                    tracing::warn!(%error, "the object store does not take what is large: it is kept near, and moves once it does");
                }
                None
            }
        }
    }

    /// Moves one blob; its bytes, or `None` where it was gone or stays.
    async fn move_one(&self, blob: &BlobInfo, put_before: SystemTime) -> PortResult<Option<u64>> {
        let Some(bytes) = self.near.get(&blob.digest).await? else { return Ok(None) };
        let length = bytes.len() as u64;
        self.far.put(bytes).await?;
        // The copy that is about to go is the only other one.
        let there = self.far.head(&blob.digest).await?.map(|meta| meta.size);
        if there != Some(length) {
            let why = format!(
                "{} took {length} bytes of the blob {} and has {}",
                self.far.place(),
                blob.digest,
                there.map_or_else(|| "none".to_owned(), |there| there.to_string())
            );
            return Err(PortError::unavailable("blobs", why));
        }
        Ok(self.near.delete(&blob.digest, put_before).await?.then_some(length))
    }
}

#[async_trait]
impl Blobs for Tiers {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        match self.put_far(&bytes).await {
            Some(digest) => {
                *self.spared_until.lock() = None;
                Ok(digest)
            }
            None => self.near.put(bytes).await,
        }
    }

    /// Near first: what moves is far before it is gone from there.
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        match self.near.get(digest).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => self.far.get(digest).await,
            // A copy far off may be whole where the near one is not.
            Err(error) => match self.far.get(digest).await {
                Ok(Some(bytes)) => Ok(Some(bytes)),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        Ok(self.near.has(digest).await? || self.far.has(digest).await?)
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let most = most.max(1);
        let near = self.near.list(after, most).await?;
        // What lies in another's place is not ours to sweep.
        let far =
            if self.claimed().await? { self.far.list(after, most).await? } else { Vec::new() };
        let mut page = merged(near, far);
        page.truncate(most);
        Ok(page)
    }

    /// From both: a copy that was put since stays, and so it is there.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let near = self.near.delete(digest, put_since).await?;
        let far = self.claimed().await? && self.far.delete(digest, put_since).await?;
        Ok((near || far) && !self.has(digest).await?)
    }

    async fn settle(&self, now: SystemTime) -> PortResult<Moved> {
        let mut moved = Moved::default();
        let Some(put_before) = self.settings.move_after.and_then(|after| now.checked_sub(after))
        else {
            return Ok(moved);
        };
        if !self.claimed().await? {
            return Ok(moved);
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.near.list(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(moved) };
            after = Some(last.digest.clone());
            let mut old = page;
            old.retain(|blob| blob.modified < put_before);
            let mut moving = stream::iter(old)
                .map(|blob| async move { self.move_one(&blob, put_before).await })
                .buffer_unordered(MOVING);
            while let Some(one) = moving.next().await {
                // One that is damaged is told of by who reads it, and keeps no other from moving.
                match one {
                    Ok(None) | Err(PortError::Damaged { .. }) => {}
                    Ok(Some(bytes)) => {
                        moved.blobs += 1;
                        moved.bytes += bytes;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Two lists in the order of digests as one; of what is in both, the younger.
fn merged(near: Vec<BlobInfo>, far: Vec<BlobInfo>) -> Vec<BlobInfo> {
    let mut all: Vec<BlobInfo> = near.into_iter().chain(far).collect();
    all.sort_by(|a, b| a.digest.cmp(&b.digest));
    all.dedup_by(|later, first| {
        let same = later.digest == first.digest;
        if same {
            first.modified = first.modified.max(later.modified);
        }
        same
    });
    all
}
