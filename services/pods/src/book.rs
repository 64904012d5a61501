//! The pods that are there: what is known of each, and whose slot it has.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_events::{ExecutorId, QueueName, TryKey};
use dagbok_protocol::HeldTry;
use dagbok_runlog::DeliveryHandle;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

/// So many tries are told in the presence at most: names may be long, and it must fit into one message.
const HELD: usize = 500;
/// So much is told of why each of them waits.
const WAITS_BYTES: usize = 400;

/// One pod, from the delivery of its item to its end.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that was seen of it, in no order"
)]
pub(crate) struct Entry {
    /// Whose.
    pub(crate) key: TryKey,
    /// Who speaks in it.
    pub(crate) executor: ExecutorId,
    /// The newest delivery of its item; none where that is gone.
    pub(crate) handle: Option<Arc<dyn DeliveryHandle>>,
    /// Which queue its item is of, and at which address: as it was delivered first.
    pub(crate) item: Option<(QueueName, String)>,
    /// Free once the pod is over.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
    /// Since when it is waited for: to run, and then to speak.
    pub(crate) since: Instant,
    /// Whether the API server was seen to have it.
    pub(crate) there: bool,
    /// Whether its container was seen to run.
    pub(crate) runs: bool,
    /// Whether the executor in it was seen to be there.
    pub(crate) spoke: bool,
    /// Why it does not.
    pub(crate) why: Option<String>,
    /// The scheduler wants it no more.
    pub(crate) unwanted: bool,
    /// It was waited for for too long, and is being looked after.
    pub(crate) late: bool,
    /// Since when the executor in it is not there, where it was.
    pub(crate) silent: Option<Instant>,
    /// It is being ended, and was told so.
    pub(crate) parted: bool,
    /// Its end is being told.
    pub(crate) ends: bool,
    /// Which of its name it is.
    pub(crate) uid: Option<String>,
}

impl Entry {
    /// One that is about to be made.
    pub(crate) fn new(key: TryKey, executor: ExecutorId) -> Self {
        Self {
            key,
            executor,
            handle: None,
            item: None,
            slot: None,
            since: Instant::now(),
            there: false,
            runs: false,
            spoke: false,
            why: None,
            unwanted: false,
            late: false,
            silent: None,
            parted: false,
            ends: false,
            uid: None,
        }
    }
}

/// A pod that was waited for for too long.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) name: String,
    pub(crate) executor: ExecutorId,
    /// Whether its container was seen to run, and nobody spoke in it.
    pub(crate) runs: bool,
    pub(crate) why: Option<String>,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pods: Mutex<BTreeMap<String, Entry>>,
    changed: Notify,
}

impl Book {
    /// Looks at a pod, or changes it; `None` where it is not there.
    pub(crate) fn with<T>(&self, name: &str, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let found = self.pods.lock().get_mut(name).map(look);
        if found.is_some() {
            self.changed.notify_one();
        }
        found
    }

    /// Takes a pod in; gives the entry back where one of its name is there.
    pub(crate) fn insert(&self, name: &str, entry: Entry) -> Result<(), Box<Entry>> {
        let mut pods = self.pods.lock();
        if pods.contains_key(name) {
            return Err(Box::new(entry));
        }
        pods.insert(name.to_owned(), entry);
        self.changed.notify_one();
        Ok(())
    }

    /// Lets a pod go.
    pub(crate) fn remove(&self, name: &str) -> Option<Entry> {
        let entry = self.pods.lock().remove(name);
        self.changed.notify_one();
        entry
    }

    /// Begins to tell a pod's end: whoever comes second does not.
    pub(crate) fn ends(&self, name: &str) -> bool {
        self.with(name, |entry| !std::mem::replace(&mut entry.ends, true)).unwrap_or(false)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pods.lock().len()
    }

    /// The deliveries to renew.
    pub(crate) fn handles(&self) -> Vec<Arc<dyn DeliveryHandle>> {
        self.pods.lock().values().filter_map(|entry| entry.handle.clone()).collect()
    }

    /// The pods that the API server had, whose names are not among these.
    pub(crate) fn gone_but(&self, names: &std::collections::BTreeSet<String>) -> Vec<String> {
        let pods = self.pods.lock();
        let gone = pods.iter().filter(|(name, entry)| entry.there && !names.contains(*name));
        gone.map(|(name, _)| name.clone()).collect()
    }

    /// The pods that have waited for so long, to run or for the executor in them to speak: each is told of once.
    pub(crate) fn overdue(&self, limit: Duration) -> Vec<Late> {
        let mut pods = self.pods.lock();
        let is_late = |it: &Entry| !it.spoke && !it.late && !it.ends && it.since.elapsed() >= limit;
        let late = pods.iter_mut().filter(|(_, it)| is_late(it));
        late.map(|(name, entry)| {
            entry.late = true;
            Late {
                name: name.clone(),
                executor: entry.executor.clone(),
                runs: entry.runs,
                why: entry.why.clone(),
            }
        })
        .collect()
    }

    /// The pods in which somebody spoke, and who.
    pub(crate) fn speaking(&self) -> Vec<(String, ExecutorId)> {
        let pods = self.pods.lock();
        let speaking = pods.iter().filter(|(_, it)| it.spoke && !it.ends);
        speaking.map(|(name, it)| (name.clone(), it.executor.clone())).collect()
    }

    /// The name of a try's pod.
    pub(crate) fn name_of(&self, key: &TryKey) -> Option<String> {
        self.pods.lock().iter().find(|(_, entry)| entry.key == *key).map(|(name, _)| name.clone())
    }

    /// The tries whose pods do not run yet, as many as are told: those that do are held by the executor in them.
    pub(crate) fn held(&self) -> Vec<HeldTry> {
        let pods = self.pods.lock();
        let waiting = pods.values().filter(|entry| !entry.runs && !entry.ends);
        let told = waiting.take(HELD).map(|entry| HeldTry {
            key: entry.key.clone(),
            pid: None,
            waits: entry.why.as_deref().map(in_short),
        });
        told.collect()
    }

    /// Completes with the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// As much of it as is told of each.
fn in_short(why: &str) -> String {
    let fits = |(at, char): &(usize, char)| at + char.len_utf8() <= WAITS_BYTES;
    why.char_indices().take_while(fits).map(|(_, char)| char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_tries_are_told_than_fit_into_a_message() {
        let book = Book::default();
        for n in 0..2 * HELD {
            let key: TryKey = serde_json::from_value(serde_json::json!({
                "dag_id": "d".repeat(250), "run_id": "r".repeat(250), "task_id": format!("t{n}"), "try_number": 1,
            }))
            .unwrap();
            let executor = ExecutorId::new(format!("pod-{n}")).unwrap();
            let why = Some("é".repeat(WAITS_BYTES));
            let entry = Entry { why, ..Entry::new(key, executor) };
            book.insert(&format!("{n}"), entry).unwrap();
        }
        let held = book.held();
        assert_eq!(held.len(), HELD);
        assert_eq!(
            held[0].waits.as_ref().unwrap().len(),
            WAITS_BYTES,
            "as much as is told of each"
        );
        let bytes = dagbok_events::encode_any(&held).len();
        assert!(bytes < dagbok_runlog::limits::MAX_PAYLOAD, "{bytes}");
    }
}
