//! Two places for blobs: near, in the log's own store, and far, on the object store. What is put goes far at once where
//! it is large, and otherwise once it is no longer new; so that a task's end waits for no request over the internet, and
//! what is read soon is near. Where the object store does not take something, it stays near: nothing waits for that.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs, Moved, PortError, PortResult, StayNear};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{
    Objects,
    store::{LONGEST, PutFault},
    title::{Standing, Title},
};

/// How long what is large goes near after the object store did not take something.
const SPARED: Duration = Duration::from_secs(30);
/// How often is said that it still takes nothing.
const SAY_AGAIN: Duration = Duration::from_mins(10);
/// Puts in a row that a store only asks to be fewer, after which it means more than one object.
const BUSY_IN_A_ROW: u32 = 4;

/// Which blobs are where.
#[derive(Clone, Copy, Debug)]
pub struct TierSettings {
    /// Blobs of so many bytes and more go far at once.
    pub direct_from: u64,
    /// All others once they have been near for so long; never where `None`.
    pub move_after: Option<Duration>,
    /// How long a put may wait for the object store before it goes near.
    pub timeout: Duration,
}

/// Blobs near and far, as one.
#[derive(Clone, Debug)]
pub struct Tiers {
    pub(crate) near: Arc<dyn Blobs>,
    pub(crate) far: Objects,
    pub(crate) settings: TierSettings,
    title: Arc<Title>,
    sparing: Arc<Mutex<Sparing>>,
    /// The last digest that was looked at for whether it moves, where the time was up after it.
    pub(crate) settled_to: Arc<Mutex<Option<String>>>,
}

/// What is known of a store that takes nothing.
#[derive(Debug, Default)]
struct Sparing {
    until: Option<Instant>,
    said: Option<Instant>,
    busy: u32,
}

impl Tiers {
    /// The two together; `title` says whether what lies far is this installation's.
    pub fn new(
        near: Arc<dyn Blobs>,
        far: Objects,
        settings: TierSettings,
        title: Arc<Title>,
    ) -> Self {
        let (sparing, settled_to) = (Arc::default(), Arc::default());
        Self { near, far, settings, title, sparing, settled_to }
    }

    async fn is_ours(&self) -> PortResult<bool> {
        Ok(self.title.standing().await? == Standing::Ours)
    }

    /// As [`Tiers::is_ours`], looked at now.
    pub(crate) async fn is_ours_now(&self) -> PortResult<bool> {
        Ok(self.title.look().await? == Standing::Ours)
    }

    /// Puts far what is large; `None` where it is to go near.
    async fn put_far(&self, bytes: &Bytes) -> Option<String> {
        if !(self.settings.direct_from..=LONGEST).contains(&(bytes.len() as u64)) {
            return None;
        }
        if self.sparing.lock().until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let put = async {
            let other = |error| PutFault { error, is_busy: false };
            if !self.is_ours().await.map_err(other)? {
                return Ok(None);
            }
            self.far.put_blob(bytes.clone()).await.map(Some)
        };
        let put = timeout(self.settings.timeout, put).await.unwrap_or_else(|_| {
            let why = format!(
                "can't write to {}: {} bytes did not get there in `blobs.timeout`",
                self.far.place(),
                bytes.len()
            );
            Err(PutFault { error: PortError::unavailable("blobs", why), is_busy: false })
        });
        match put {
            Ok(Some(digest)) => {
                *self.sparing.lock() = Sparing::default();
                Some(digest)
            }
            Ok(None) => None,
            Err(fault) => {
                self.spare(&fault);
                None
            }
        }
    }

    /// The store did not take something.
    fn spare(&self, PutFault { error, is_busy }: &PutFault) {
        let mut sparing = self.sparing.lock();
        let now = Instant::now();
        sparing.busy = if *is_busy { sparing.busy + 1 } else { BUSY_IN_A_ROW };
        if sparing.busy >= BUSY_IN_A_ROW {
            sparing.until = Some(now + SPARED);
        }
        if sparing.said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
            sparing.said = Some(now);
            tracing::warn!(%error, "the object store does not take what is large: it is kept near, and moves once it does");
        }
    }

    /// What is not far is nowhere, if the place is the one where it would be. Else nobody knows.
    async fn is_known(&self) -> PortResult<()> {
        match self.title.standing().await {
            Ok(_) => Ok(()),
            Err(PortError::Refused { what, why }) => {
                Err(PortError::unavailable(what, format!("they refuse {why}")))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Blobs for Tiers {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        match self.put_far(&bytes).await {
            Some(digest) => Ok(digest),
            None => self.near.put(bytes).await,
        }
    }

    /// Near first: what moves is far before it is gone from there.
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        match self.near.get(digest).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                let found = self.far.get(digest).await?;
                if found.is_none() {
                    self.is_known().await?;
                }
                Ok(found)
            }
            // A copy far off may be whole where the near one is not; that can't be told of one that is out of reach.
            Err(error) => match self.far.get(digest).await {
                Ok(Some(bytes)) => Ok(Some(bytes)),
                Err(far @ PortError::Unavailable { .. }) => Err(far),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        if self.near.has(digest).await? || self.far.has(digest).await? {
            return Ok(true);
        }
        self.is_known().await?;
        Ok(false)
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let most = most.max(1);
        let near = self.near.list(after, most).await?;
        // What lies in another's place is not ours to sweep.
        let far =
            if self.is_ours().await? { self.far.list(after, most).await? } else { Vec::new() };
        let mut page = merged(near, far);
        page.truncate(most);
        Ok(page)
    }

    /// From both: a copy that was put since stays, and so it is there.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let near = self.near.delete(digest, put_since).await?;
        let far = self.is_ours().await? && self.far.delete(digest, put_since).await?;
        Ok((near || far) && !self.has(digest).await?)
    }

    async fn settle(&self, now: SystemTime, stay: StayNear<'_>) -> PortResult<Moved> {
        self.move_old(now, stay).await
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
