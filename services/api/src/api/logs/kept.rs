//! Logs of tries that are over, as they were got last: whoever pages through one, and everybody who reads
//! the same one, shares its bytes. What is held is bounded, and given up soon after nobody reads it.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_events::Digest;
use dagbok_protocol::limits::TRY_LOG_BYTES;
use dagbok_runlog::{Blobs, PortResult};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Bytes that are held at most: two logs of the greatest length.
const MOST: usize = 2 * TRY_LOG_BYTES;
/// How long a log is held after it was last read.
const HELD: Duration = Duration::from_secs(20);

/// The logs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KeptLogs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The last read is the last.
    held: Mutex<Vec<Held>>,
    /// One is got at a time, so that many readers of one get it once, and many of many not at once.
    getting: tokio::sync::Mutex<()>,
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
        let _one = self.0.getting.lock().await;
        if let Some(bytes) = self.held(digest) {
            return Ok(Some(bytes));
        }
        let Some(bytes) = blobs.get(digest.as_str()).await? else { return Ok(None) };
        self.hold(digest.clone(), bytes.clone());
        Ok(Some(bytes))
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
async fn give_up(inner: std::sync::Weak<Inner>) {
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
