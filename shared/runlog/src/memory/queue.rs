//! Work queues in memory. Leases end by looking: whoever pulls finds what is due, and a waiting
//! pull sleeps until the next lease or delay ends.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Duration, Instant, timeout_at},
};

use super::after;
use crate::{
    Delivery, DeliveryHandle, PortError, PortResult, Published, Queue, QueueSettings, Queues,
    limits::check_payload,
};

/// All queues of a namespace in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueues {
    queues: Arc<Mutex<BTreeMap<String, Arc<MemoryQueue>>>>,
}

#[async_trait]
impl Queues for MemoryQueues {
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>> {
        let mut queues = self.queues.lock();
        let queue = queues.entry(name.to_owned()).or_default();
        queue.items.lock().lease = settings.lease;
        Ok(Arc::new(Handle(Arc::clone(queue))))
    }
}

#[derive(Debug, Default)]
struct MemoryQueue {
    items: Mutex<Items>,
    /// Told whenever an item may have become ready, or due earlier than sleepers believe.
    stirred: Notify,
}

/// An opened queue.
#[derive(Debug)]
struct Handle(Arc<MemoryQueue>);

#[derive(Debug, Default)]
struct Items {
    lease: Duration,
    next_id: u64,
    by_id: BTreeMap<u64, Item>,
    by_key: HashMap<String, u64>,
    ready: BTreeSet<u64>,
    /// Leases and delays, by when they end.
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Item {
    key: String,
    payload: Bytes,
    stored: Instant,
    delivered: u32,
    /// When its lease or delay ends; `None` while it is ready.
    until: Option<Instant>,
    /// Whether `until` is the end of a lease, which only its holder may move.
    leased: bool,
}

impl Items {
    /// Makes ready whatever is due by `now`.
    fn release(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.due.first() {
            if until > now {
                break;
            }
            self.reset(id, None, false);
        }
    }

    /// Moves an item to ready, or to wait for `until`.
    fn reset(&mut self, id: u64, until: Option<Instant>, leased: bool) {
        let Some(item) = self.by_id.get_mut(&id) else { return };
        match item.until {
            Some(before) => self.due.remove(&(before, id)),
            None => self.ready.remove(&id),
        };
        item.until = until;
        item.leased = leased;
        match until {
            Some(until) => self.due.insert((until, id)),
            None => self.ready.insert(id),
        };
    }

    /// The oldest ready item, leased from `now` on.
    fn take(&mut self) -> Option<(u64, Delivered)> {
        let id = *self.ready.first()?;
        self.reset(id, Some(after(self.lease)), true);
        let item = self.by_id.get_mut(&id)?;
        item.delivered = item.delivered.saturating_add(1);
        let (key, payload) = (item.key.clone(), item.payload.clone());
        let waited = item.stored.elapsed();
        Some((id, Delivered { key, payload, times: item.delivered, waited }))
    }

    /// Whether the delivery numbered `times` still holds its lease.
    fn holds(&self, id: u64, times: u32) -> bool {
        self.by_id.get(&id).is_some_and(|item| item.leased && item.delivered == times)
    }
}

struct Delivered {
    key: String,
    payload: Bytes,
    times: u32,
    waited: Duration,
}

impl MemoryQueue {
    fn take(self: &Arc<Self>, max: usize) -> Vec<Delivery> {
        let mut items = self.items.lock();
        items.release(Instant::now());
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((id, it)) = items.take() else { break };
            let handle = ItemLease { queue: Arc::clone(self), id, times: it.times };
            let Delivered { key, payload, times: delivered, waited } = it;
            taken.push(Delivery { key, payload, delivered, waited, handle: Box::new(handle) });
        }
        taken
    }

    fn next_due(&self) -> Option<Instant> {
        self.items.lock().due.first().map(|(until, _)| *until)
    }
}

#[async_trait]
impl Queue for Handle {
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published> {
        check_payload("queue", key, payload.len())?;
        {
            let mut items = self.0.items.lock();
            if items.by_key.contains_key(key) {
                return Ok(Published::AlreadyThere);
            }
            let id = items.next_id;
            items.next_id += 1;
            let key = key.to_owned();
            items.by_key.insert(key.clone(), id);
            let stored = Instant::now();
            let item = Item { key, payload, stored, delivered: 0, until: None, leased: false };
            items.by_id.insert(id, item);
            items.ready.insert(id);
        }
        self.0.stirred.notify_waiters();
        Ok(Published::New)
    }

    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = after(wait);
        loop {
            let stirred = self.0.stirred.notified();
            tokio::pin!(stirred);
            // Listening before looking: a publish in between is not missed.
            stirred.as_mut().enable();
            let taken = self.0.take(max);
            if !taken.is_empty() || Instant::now() >= deadline {
                return Ok(taken);
            }
            let wake = self.0.next_due().map_or(deadline, |due| due.min(deadline));
            // Told, or something is due, or time is up: each is found by looking again.
            let _ = timeout_at(wake, stirred).await;
        }
    }

    async fn take_up(&self, address: &str) -> PortResult<Option<Delivery>> {
        let odd = || {
            let why = format!("`{address}` is no address of a delivery");
            PortError::Refused { what: "queue", why }
        };
        let (id, times) = address.split_once('.').ok_or_else(odd)?;
        let (id, times) = (id.parse().map_err(|_| odd())?, times.parse().map_err(|_| odd())?);
        let items = self.0.items.lock();
        let handle = Box::new(ItemLease { queue: Arc::clone(&self.0), id, times });
        Ok(items.by_id.get(&id).map(|item| Delivery {
            key: item.key.clone(),
            payload: item.payload.clone(),
            delivered: times,
            waited: Duration::MAX,
            handle,
        }))
    }

    async fn depth(&self) -> PortResult<u64> {
        Ok(self.0.items.lock().by_id.len() as u64)
    }
}

/// One delivery's word on its item.
#[derive(Debug)]
struct ItemLease {
    queue: Arc<MemoryQueue>,
    id: u64,
    times: u32,
}

impl ItemLease {
    /// Moves the end of the lease, or makes it a delay; a lease that has ended moves nothing.
    fn settle(&self, span: impl FnOnce(&Items) -> Duration, leased: bool) {
        {
            let mut items = self.queue.items.lock();
            items.release(Instant::now());
            if !items.holds(self.id, self.times) {
                return;
            }
            let until = after(span(&items));
            items.reset(self.id, Some(until), leased);
        }
        self.queue.stirred.notify_waiters();
    }
}

#[async_trait]
impl DeliveryHandle for ItemLease {
    async fn ack(&self) -> PortResult<()> {
        let mut items = self.queue.items.lock();
        items.reset(self.id, None, false);
        items.ready.remove(&self.id);
        if let Some(item) = items.by_id.remove(&self.id) {
            items.by_key.remove(&item.key);
        }
        Ok(())
    }

    async fn progress(&self) -> PortResult<()> {
        self.settle(|items| items.lease, true);
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> PortResult<()> {
        self.settle(|_| delay, false);
        Ok(())
    }

    fn address(&self) -> Option<String> {
        Some(format!("{}.{}", self.id, self.times))
    }
}
