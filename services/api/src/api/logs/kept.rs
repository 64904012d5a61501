//! Logs of tries that are over, as they were got last: whoever pages through one, and everybody who reads
//! the same one, shares its bytes. What is held is bounded, and given up soon after nobody reads it.
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use dagbok_events::Digest;
use dagbok_protocol::limits::TRY_LOG_BYTES;
use dagbok_runlog::{Blobs, PortResult};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

/// Bytes that are held at most: two logs of the greatest length.
const MOST: usize = 2 * TRY_LOG_BYTES;
/// How long a log is held after it was last read.
const HELD: Duration = Duration::from_secs(20);
/// Logs that are got at once. Some may be waiting for a store that does not answer.
const AT_ONCE: usize = 8;

/// The logs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KeptLogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The last read is the last.
    held: Mutex<Vec<Held>>,
    /// Those that are got now: many readers of one get it once.
    getting: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    /// Many readers of many get not all at once.
    room: Semaphore,
}

impl Default for Inner {
    fn default() -> Self {
        let (held, getting) = (Mutex::default(), Mutex::default());
        Self { held, getting, room: Semaphore::new(AT_ONCE) }
    }
}

#[derive(Debug)]
struct Held {
    digest: Digest,
    bytes: Bytes,
    read: Instant,
}

impl KeptLogs {
    /// The log with this digest. Whoever keeps a part of it for long copies that.
    pub(super) async fn get(
        &self,
        blobs: &dyn Blobs,
        digest: &Digest,
    ) -> PortResult<Option<Bytes>> {
        if let Some(bytes) = self.held(digest) {
            return Ok(Some(bytes));
        }
        let turn = self.turn(digest);
        let _one = turn.lock().await;
        if let Some(bytes) = self.held(digest) {
            return Ok(Some(bytes));
        }
        let _room = self.0.room.acquire().await;
        let Some(bytes) = blobs.get(digest.as_str()).await? else { return Ok(None) };
        self.hold(digest.clone(), bytes.clone());
        Ok(Some(bytes))
    }

    /// What readers of one log take turns by.
    fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut getting = self.0.getting.lock();
        if let Some(turn) = getting.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        getting.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        getting.insert(digest.clone(), Arc::downgrade(&turn));
        turn
    }

    fn held(&self, digest: &Digest) -> Option<Bytes> {
        let mut held = self.0.held.lock();
        let at = held.iter().position(|one| one.digest == *digest)?;
        let mut found = held.remove(at);
        found.read = Instant::now();
        let bytes = found.bytes.clone();
        held.push(found);
        Some(bytes)
    }

    fn hold(&self, digest: Digest, bytes: Bytes) {
        let mut held = self.0.held.lock();
        let all = |held: &[Held]| held.iter().map(|one| one.bytes.len()).sum::<usize>();
        while !held.is_empty() && all(&held) + bytes.len() > MOST {
            held.remove(0);
        }
        let alone = held.is_empty();
        held.push(Held { digest, bytes, read: Instant::now() });
        if alone {
            tokio::spawn(give_up(Arc::downgrade(&self.0)));
        }
    }
}

/// Lets go of what nobody reads, until nothing is held.
async fn give_up(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(HELD).await;
        let Some(inner) = inner.upgrade() else { return };
        let mut held = inner.held.lock();
        held.retain(|one| one.read.elapsed() < HELD);
        if held.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use async_trait::async_trait;
    use dagbok_runlog::{BlobInfo, digest_of, memory::MemoryBlobs};

    use super::*;

    /// A store that never answers of one blob.
    #[derive(Debug)]
    struct Hangs(MemoryBlobs, String);

    #[async_trait]
    impl Blobs for Hangs {
        async fn put(&self, bytes: Bytes) -> PortResult<String> {
            self.0.put(bytes).await
        }
        async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
            if digest == self.1 {
                return std::future::pending().await;
            }
            self.0.get(digest).await
        }
        async fn has(&self, digest: &str) -> PortResult<bool> {
            self.0.has(digest).await
        }
        async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
            self.0.list(after, most).await
        }
        async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
            self.0.delete(digest, put_since).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_come_holds_up_no_other() {
        let blobs = Arc::new(Hangs(MemoryBlobs::default(), digest_of(b"away")));
        let there = Digest::new(blobs.put("there".into()).await.unwrap()).unwrap();
        let away = Digest::new(digest_of(b"away")).unwrap();
        let logs = KeptLogs::default();
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let (logs, blobs, away) = (logs.clone(), Arc::clone(&blobs), away.clone());
            waiting.push(tokio::spawn(async move { logs.get(&*blobs, &away).await }));
        }
        tokio::task::yield_now().await;
        let got = tokio::time::timeout(HELD, logs.get(&*blobs, &there)).await;
        assert_eq!(got.expect("it waits for no other").unwrap(), Some("there".into()));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
