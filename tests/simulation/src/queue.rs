//! A queue with leases, as the services know it: at least once, in order as a rule, and again to
//! somebody else once a lease has run out.
use std::collections::BTreeMap;

use crate::prng::Prng;

/// What was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery<T> {
    /// To renew and to acknowledge it by.
    pub(crate) id: u64,
    /// How often it was delivered, this time included.
    pub(crate) count: u32,
    /// The message.
    pub(crate) message: T,
}

#[derive(Clone, Debug)]
struct Item<T> {
    key: String,
    message: T,
    /// Not delivered before this: on its way, or in somebody's hands.
    at: i64,
    count: u32,
}

/// The queue. Times are microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    items: BTreeMap<u64, Item<T>>,
    next: u64,
    lease: i64,
}

impl<T: Clone> Queue<T> {
    /// An empty queue whose messages are somebody's for so long.
    pub(crate) const fn new(lease: i64) -> Self {
        Self { items: BTreeMap::new(), next: 0, lease }
    }

    /// Takes a message that arrives `at`, unless one of that key is still there.
    pub(crate) fn publish(&mut self, key: &str, message: T, at: i64) {
        if !self.items.values().any(|item| item.key == key) {
            self.publish_again(key, message, at);
        }
    }

    /// Takes a message though one of that key may still be there.
    pub(crate) fn publish_again(&mut self, key: &str, message: T, at: i64) {
        self.next += 1;
        let item = Item { key: key.to_owned(), message, at, count: 0 };
        self.items.insert(self.next, item);
    }

    /// Hands out a message: the oldest, or now and then a later one.
    pub(crate) fn pull(&mut self, now: i64, rng: &mut Prng) -> Option<Delivery<T>> {
        let there: Vec<u64> = self
            .items
            .iter()
            .filter(|(_, item)| item.at <= now)
            .map(|(id, _)| *id)
            .take(8)
            .collect();
        let id = if rng.chance(200) { *rng.pick(&there)? } else { *there.first()? };
        let item = self.items.get_mut(&id)?;
        (item.at, item.count) = (now + self.lease, item.count + 1);
        Some(Delivery { id, count: item.count, message: item.message.clone() })
    }

    /// Keeps a message for another lease.
    pub(crate) fn renew(&mut self, id: u64, now: i64) {
        if let Some(item) = self.items.get_mut(&id) {
            item.at = now + self.lease;
        }
    }

    /// Gives a message back: it can be had again at once.
    pub(crate) fn hand_back(&mut self, id: u64, now: i64) {
        if let Some(item) = self.items.get_mut(&id) {
            item.at = now;
        }
    }

    /// Is done with a message, whoever has it now.
    pub(crate) fn ack(&mut self, id: u64) {
        self.items.remove(&id);
    }

    /// How many messages there are, those in hands included.
    pub(crate) fn depth(&self) -> usize {
        self.items.len()
    }

    /// When the next message can be had.
    pub(crate) fn next_at(&self) -> Option<i64> {
        self.items.values().map(|item| item.at).min()
    }
}
