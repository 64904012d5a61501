//! Keyed state in memory. Times to live end by looking: every call first lets go of what has run
//! out, and a watcher sleeps until the next key does.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use super::after;
use crate::{
    Change, KeyedState, PortError, PortResult, StateError, Versioned,
    limits::{WATCH_BACKLOG, check_payload},
};

/// Keyed state that is gone when its last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    pub(super) table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    keys: BTreeMap<String, Slot>,
    ends: BTreeSet<(Instant, String)>,
    /// One counter for all keys, so that a key made anew goes on rising.
    revision: u64,
    pub(super) watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Slot {
    value: Versioned,
    ends: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Watcher {
    prefix: String,
    changes: mpsc::Sender<Change>,
}

impl Table {
    /// Lets go of every key whose time has run out.
    fn sweep(&mut self) {
        let now = Instant::now();
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, key)) = self.ends.pop_first() {
                self.keys.remove(&key);
                self.tell(&Change::Gone { key });
            }
        }
    }

    fn set(&mut self, key: &str, value: Bytes, ttl: Option<Duration>) -> u64 {
        self.revision += 1;
        let value = Versioned { value, revision: self.revision };
        let ends = ttl.map(after);
        if let Some(end) = ends {
            self.ends.insert((end, key.to_owned()));
        }
        let before = self.keys.insert(key.to_owned(), Slot { value: value.clone(), ends });
        if let Some(end) = before.and_then(|slot| slot.ends)
            && ends != Some(end)
        {
            self.ends.remove(&(end, key.to_owned()));
        }
        self.tell(&Change::Put { key: key.to_owned(), value });
        self.revision
    }

    fn remove(&mut self, key: &str) {
        let Some(slot) = self.keys.remove(key) else { return };
        if let Some(end) = slot.ends {
            self.ends.remove(&(end, key.to_owned()));
        }
        self.tell(&Change::Gone { key: key.to_owned() });
    }

    fn tell(&mut self, change: &Change) {
        let (Change::Put { key, .. } | Change::Gone { key }) = change;
        // A watcher that is too far behind, or gone, is dropped: its stream then ends.
        self.watchers.retain(|watcher| {
            !key.starts_with(&watcher.prefix) || watcher.changes.try_send(change.clone()).is_ok()
        });
    }
}

impl MemoryState {
    /// The table as it is now, with nothing in it that has run out.
    fn now<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table.lock();
        table.sweep();
        work(&mut table)
    }
}

#[async_trait]
impl KeyedState for MemoryState {
    async fn get(&self, key: &str) -> PortResult<Option<Versioned>> {
        Ok(self.now(|table| table.keys.get(key).map(|slot| slot.value.clone())))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> PortResult<u64> {
        check_payload("state", key, value.len())?;
        Ok(self.now(|table| table.set(key, value, ttl)))
    }

    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        check_payload("state", key, value.len())?;
        self.now(|table| {
            if table.keys.contains_key(key) {
                return Err(StateError::Conflict { key: key.to_owned() });
            }
            Ok(table.set(key, value, ttl))
        })
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        check_payload("state", key, value.len())?;
        self.now(|table| {
            if table.keys.get(key).is_none_or(|slot| slot.value.revision != revision) {
                return Err(StateError::Conflict { key: key.to_owned() });
            }
            Ok(table.set(key, value, ttl))
        })
    }

    async fn delete(&self, key: &str) -> PortResult<()> {
        self.now(|table| table.remove(key));
        Ok(())
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Versioned)>> {
        Ok(self.now(|table| {
            let from = table.keys.range(prefix.to_owned()..);
            from.take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, slot)| (key.clone(), slot.value.clone()))
                .collect()
        }))
    }

    async fn watch(&self, prefix: &str) -> PortResult<BoxStream<'static, PortResult<Change>>> {
        let (sender, changes) = mpsc::channel(WATCH_BACKLOG);
        let watcher = Watcher { prefix: prefix.to_owned(), changes: sender };
        self.now(|table| {
            // Watchers that nobody reads any more go here too, not only at their next change.
            table.watchers.retain(|watcher| !watcher.changes.is_closed());
            table.watchers.push(watcher);
        });
        let watch = StateWatch { state: self.clone(), changes };
        Ok(stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Some(change) => Some((Ok(change), Some(watch))),
                None => Some((Err(fell_behind()), None)),
            }
        })
        .boxed())
    }
}

/// A watcher's end of its channel.
struct StateWatch {
    state: MemoryState,
    changes: mpsc::Receiver<Change>,
}

impl StateWatch {
    /// The next change; `None` once the watcher has fallen too far behind.
    async fn next(&mut self) -> Option<Change> {
        loop {
            let next_end = self.state.now(|table| table.ends.first().map(|(end, _)| *end));
            let Some(end) = next_end else { return self.changes.recv().await };
            // What runs out is told through the channel by the sweep at the top.
            tokio::select! {
                biased;
                change = self.changes.recv() => return change,
                () = sleep_until(end) => {}
            }
        }
    }
}

fn fell_behind() -> PortError {
    let why = format!("the watcher fell more than {WATCH_BACKLOG} changes behind; watch again");
    PortError::unavailable("state", why)
}
