//! What was near for long moves far, a while at a time; what must stay near comes back.
use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use dagbok_runlog::{BlobInfo, Blobs as _, Moved, PortError, PortResult, StayNear};
use futures::{StreamExt as _, stream};
use tokio::{sync::Semaphore, time::Instant};

use crate::{Tiers, store::LONGEST};

/// Blobs that move at once, and what they take together: one of more moves by itself.
const MOVING: usize = 16;
const KIB_AT_ONCE: u32 = 64 << 10;
/// Blobs that are looked at in one piece. A broker goes through all it has for each.
const PAGE: usize = 50_000;
/// After so many that could not be moved it is the store, and not they.
const FAILURES: u32 = 8;
/// How long one turn goes on; the next goes on from there.
const TURN: Duration = Duration::from_mins(1);
/// Blobs that come back in one turn.
const BACK: usize = 64;

/// What a turn came to.
#[derive(Default)]
struct Turn {
    moved: Moved,
    failures: u32,
    last: Option<PortError>,
}

impl Turn {
    fn note(&mut self, one: PortResult<Option<u64>>) {
        match one {
            // One that is damaged is told of by who reads it.
            Ok(None) | Err(PortError::Damaged { .. }) => {}
            Ok(Some(bytes)) => {
                self.moved.blobs += 1;
                self.moved.bytes += bytes;
            }
            Err(error) => {
                self.failures += 1;
                self.last = Some(error);
            }
        }
    }

    fn outcome(self) -> PortResult<Moved> {
        let Some(error) = self.last else { return Ok(self.moved) };
        if self.moved.blobs > 0 {
            tracing::info!(
                blobs = self.moved.blobs,
                failed = self.failures,
                "some blobs moved to the object store"
            );
        }
        Err(error)
    }
}

impl Tiers {
    /// Moves what was put before `move_after`, but what `stay` names. One that can't be moved keeps no other from it.
    pub(crate) async fn move_old(&self, now: SystemTime, stay: StayNear<'_>) -> PortResult<Moved> {
        let before = self.settings.move_after.and_then(|after| now.checked_sub(after));
        let Some(put_before) = before else { return Ok(Moved::default()) };
        if !self.is_ours_now().await? {
            return Ok(Moved::default());
        }
        let (mut turn, ends) = (Turn::default(), Instant::now() + TURN);
        let mut after = self.settled_to.lock().take();
        let mut seen = after.is_none().then(HashSet::new);
        loop {
            let page = self.near.list(after.as_deref(), PAGE).await?;
            if page.is_empty() {
                break;
            }
            if let Some(seen) = &mut seen {
                let here = page.iter().filter(|blob| stay.contains(&blob.digest));
                seen.extend(here.map(|blob| blob.digest.clone()));
            }
            let short = page.len() < PAGE;
            let (looked_at, is_over) =
                self.move_page(page, (put_before, ends), stay, &mut turn).await;
            after = looked_at.or(after);
            if is_over {
                self.settled_to.lock().clone_from(&after);
                return turn.outcome();
            }
            if short {
                break;
            }
        }
        if let Some(seen) = seen {
            let missing: Vec<&String> = stay.iter().filter(|it| !seen.contains(*it)).collect();
            self.bring_back(&missing, &mut turn).await;
        }
        turn.outcome()
    }

    /// Moves what is old of a page; returns up to where that was looked at, and whether the turn is over.
    async fn move_page(
        &self,
        page: Vec<BlobInfo>,
        (put_before, ends): (SystemTime, Instant),
        stay: StayNear<'_>,
        turn: &mut Turn,
    ) -> (Option<String>, bool) {
        let room = Semaphore::new(KIB_AT_ONCE as usize);
        let last = page.last().map(|blob| blob.digest.clone());
        let is_due = |blob: &BlobInfo| {
            blob.modified < put_before && blob.bytes <= LONGEST && !stay.contains(&blob.digest)
        };
        let old = page.into_iter().filter(is_due);
        let room = &room;
        let mut moving = stream::iter(old)
            .map(|blob| async move {
                let kib = u32::try_from(blob.bytes >> 10).unwrap_or(u32::MAX).clamp(1, KIB_AT_ONCE);
                let _taken = room.acquire_many(kib).await;
                let moved = self.move_one(&blob, put_before).await;
                (blob.digest, moved)
            })
            .buffered(MOVING);
        while let Some((digest, moved)) = moving.next().await {
            turn.note(moved);
            if turn.failures >= FAILURES || Instant::now() >= ends {
                return (Some(digest), true);
            }
        }
        (last, false)
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

    /// Puts near what must be there and went far: it was large and new, or lay there before it had to stay.
    async fn bring_back(&self, missing: &[&String], turn: &mut Turn) {
        for digest in missing.iter().take(BACK) {
            if turn.failures >= FAILURES {
                return;
            }
            let back = async {
                if let Some(bytes) = self.far.get(digest).await? {
                    self.near.put(bytes).await?;
                }
                Ok(None)
            };
            turn.note(back.await);
        }
    }
}
