//! Queues: each item goes to one worker at a time, and comes again if that one goes silent.
use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::PortResult;

/// How a queue treats items. Opening a queue that exists changes its settings, for leases from then
/// on, where the store can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// An item not acknowledged, nor renewed, for this long is delivered again.
    pub lease: Duration,
}

/// What tells an item that is to be begun once from its copies and from others of its key.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// The same for all copies; another for an item that takes up a key again, where a run was deleted and its
    /// name is used anew.
    pub id: u64,
    /// No copy was sent before.
    pub since: Instant,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The item is stored.
    New,
    /// An item with this key is stored or in flight already; nothing was added.
    AlreadyThere,
}

/// All queues of a namespace.
#[async_trait]
pub trait Queues: Send + Sync + fmt::Debug {
    /// The queue `name` (`inbox`, `work.default`), made if it does not exist.
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>>;
}

/// One queue: at least once, roughly in order.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Stores `payload` under `key` unless an unacknowledged item has that key. Any text may be a key.
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published>;

    /// As [`Queue::publish`], for an item that whoever takes it begins at once where it is surely the first
    /// copy: the store remembers it beyond its acknowledgement, so that another copy of it, however it comes
    /// about, is dropped for a while and after that counts as delivered before. Returns
    /// [`Published::AlreadyThere`] where another copy is remembered.
    async fn publish_once(&self, key: &str, payload: Bytes, once: Once) -> PortResult<Published> {
        // In one process there is no way on which a copy could linger.
        let _ = once;
        self.publish(key, payload).await
    }

    /// Takes up to `max` items; waits up to `wait` for the first, then returns what there is.
    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>>;

    /// Takes up a delivery that another process was given, by the address that it passed on
    /// ([`DeliveryHandle::address`]). How long it waited nobody can tell. `None` where its item is gone, or where
    /// deliveries can't be passed on.
    async fn take_up(&self, address: &str) -> PortResult<Option<Delivery>> {
        let _ = address;
        Ok(None)
    }

    /// Items stored, in flight ones too.
    async fn depth(&self) -> PortResult<u64>;
}

/// An item in a worker's hands, until its lease ends.
#[derive(Debug)]
pub struct Delivery {
    /// The key it was published with.
    pub key: String,
    /// What was published.
    pub payload: Bytes,
    /// How often it has been delivered, this time included; more than one where another copy of it may have
    /// been, or where nobody can tell.
    pub delivered: u32,
    /// How long it has been stored, by the store's own clock; more than it can be where nobody can tell.
    pub waited: Duration,
    /// To say what became of it.
    pub handle: Box<dyn DeliveryHandle>,
}

/// Says what became of a delivery. Dropping it without a word lets the lease run out. After the
/// lease has ended an acknowledgement still removes the item, whoever has it now; the other words
/// then promise nothing. None of them is an error for being late.
#[async_trait]
pub trait DeliveryHandle: Send + Sync + fmt::Debug {
    /// The item is done with and is removed; returns once that is stored.
    async fn ack(&self) -> PortResult<()>;
    /// The work goes on: the lease starts anew.
    async fn progress(&self) -> PortResult<()>;
    /// The item is handed back, to be delivered again no sooner than after `delay`.
    async fn nak(&self, delay: Duration) -> PortResult<()>;
    /// By which another process can take this delivery up ([`Queue::take_up`]): both may speak for it then. It is no secret.
    /// `None` where that can't be.
    fn address(&self) -> Option<String> {
        None
    }
}
