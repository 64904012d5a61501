//! Ports that fail on command.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_protocol::names;
use dagbok_runlog::{
    BlobInfo, Blobs, Change, Delivery, DeliveryHandle, KeyedState, PortError, PortResult, Ports,
    Published, Queue, QueueSettings, Queues, StateError, Versioned,
};
use futures::stream::BoxStream;

/// Whether the broker is away, and how often it was asked in vain whether the state is whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Away(Arc<AtomicBool>, Arc<AtomicU32>);

impl Away {
    /// Goes or comes back.
    pub(crate) fn set(&self, away: bool) {
        self.0.store(away, Ordering::SeqCst);
    }

    /// Whether it is away.
    pub(crate) fn is_away(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// How often somebody found that the state is not whole.
    pub(crate) fn found_unfilled(&self) -> u32 {
        self.1.load(Ordering::SeqCst)
    }

    fn check(&self, what: &'static str) -> PortResult<()> {
        if self.is_away() {
            Err(PortError::unavailable(what, "the test took the broker away"))
        } else {
            Ok(())
        }
    }
}

/// The same ports, which fail while the broker is away.
pub(crate) fn faulty(ports: &Ports, away: &Away) -> Ports {
    Ports {
        queues: Arc::new(Faulty(Arc::clone(&ports.queues), away.clone())),
        state: Arc::new(Faulty(Arc::clone(&ports.state), away.clone())),
        blobs: Arc::new(Faulty(Arc::clone(&ports.blobs), away.clone())),
        ..ports.clone()
    }
}

#[derive(Debug)]
struct Faulty<T: ?Sized>(Arc<T>, Away);

#[async_trait]
impl Queues for Faulty<dyn Queues> {
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>> {
        self.1.check("queue")?;
        Ok(Arc::new(Faulty(self.0.open(name, settings).await?, self.1.clone())))
    }
}

#[async_trait]
impl Queue for Faulty<dyn Queue> {
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published> {
        self.1.check("queue")?;
        self.0.publish(key, payload).await
    }
    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        self.1.check("queue")?;
        let deliveries = self.0.pull(max, wait).await?;
        let wrap = |delivery: Delivery| Delivery {
            handle: Box::new(Faulty(Arc::from(delivery.handle), self.1.clone())),
            ..delivery
        };
        Ok(deliveries.into_iter().map(wrap).collect())
    }
    async fn depth(&self) -> PortResult<u64> {
        self.1.check("queue")?;
        self.0.depth().await
    }
}

#[async_trait]
impl DeliveryHandle for Faulty<dyn DeliveryHandle> {
    async fn ack(&self) -> PortResult<()> {
        self.1.check("queue")?;
        self.0.ack().await
    }
    async fn progress(&self) -> PortResult<()> {
        self.1.check("queue")?;
        self.0.progress().await
    }
    async fn nak(&self, delay: Duration) -> PortResult<()> {
        self.1.check("queue")?;
        self.0.nak(delay).await
    }
    fn address(&self) -> Option<String> {
        self.0.address()
    }
}

#[async_trait]
impl KeyedState for Faulty<dyn KeyedState> {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        self.1.check("state")?;
        let found = self.0.get(key).await?;
        if found.is_none() && key == names::PROTOCOL {
            self.1.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(found)
    }
    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64, PortError> {
        self.1.check("state")?;
        self.0.put(key, value, ttl).await
    }
    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        self.1.check("state")?;
        self.0.create(key, value, ttl).await
    }
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        self.1.check("state")?;
        self.0.update(key, value, revision, ttl).await
    }
    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.1.check("state")?;
        self.0.delete(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, PortError> {
        self.1.check("state")?;
        self.0.list(prefix).await
    }
    async fn watch(&self, prefix: &str) -> PortResult<BoxStream<'static, PortResult<Change>>> {
        self.1.check("state")?;
        self.0.watch(prefix).await
    }
}

#[async_trait]
impl Blobs for Faulty<dyn Blobs> {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.1.check("blobs")?;
        self.0.put(bytes).await
    }
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        self.1.check("blobs")?;
        self.0.get(digest).await
    }
    async fn has(&self, digest: &str) -> PortResult<bool> {
        self.1.check("blobs")?;
        self.0.has(digest).await
    }
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.1.check("blobs")?;
        self.0.list(after, most).await
    }
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        self.1.check("blobs")?;
        self.0.delete(digest, put_since).await
    }
}
