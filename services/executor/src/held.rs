//! The tries in this executor's hands: what is renewed, what presence names, what an order can reach.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{OutOfMemory, TryKey};
use dagbok_protocol::HeldTry;
use dagbok_runlog::DeliveryHandle;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

/// Why a try's processes are ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The scheduler says so: the try is over already, and what it leaves is reported all the same.
    Order(String),
    /// The scheduler does not accept that it was started here: likewise, where its code has run.
    Refused(String),
    /// The lease could not be renewed.
    Fenced,
    /// The executor ends.
    Drained,
    /// It used more memory than it may.
    OutOfMemory(Box<OutOfMemory>),
    /// What its process says can't be understood any more, so that its end could not be told.
    Garbled(String),
}

/// A word to whoever runs a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// End it.
    Kill(Kill),
    /// Stop its processes where they are.
    Freeze,
    /// Let them go on.
    Thaw,
}

/// One try in hand.
#[derive(Debug)]
pub(crate) struct Held {
    /// Which.
    pub(crate) key: TryKey,
    handle: Mutex<Arc<dyn DeliveryHandle>>,
    pid: Mutex<Option<u32>>,
    control: mpsc::UnboundedSender<Control>,
}

impl Held {
    /// The newest delivery's handle.
    pub(crate) fn handle(&self) -> Arc<dyn DeliveryHandle> {
        Arc::clone(&self.handle.lock())
    }

    /// Whether a process runs or ran for it.
    pub(crate) fn was_forked(&self) -> bool {
        self.pid.lock().is_some()
    }

    /// Tells whoever runs it.
    pub(crate) fn tell(&self, word: Control) {
        // Nobody listens any more where it is over already.
        drop(self.control.send(word));
    }
}

/// All tries in hand.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    tries: Mutex<BTreeMap<TryKey, Arc<Held>>>,
    changed: Notify,
}

impl Holds {
    /// Takes a try up. `None` where it is in hand already: that copy goes on, with the new delivery.
    pub(crate) fn take(
        &self,
        key: &TryKey,
        handle: Box<dyn DeliveryHandle>,
    ) -> Option<(Arc<Held>, mpsc::UnboundedReceiver<Control>)> {
        let handle: Arc<dyn DeliveryHandle> = Arc::from(handle);
        let mut tries = self.tries.lock();
        if let Some(held) = tries.get(key) {
            *held.handle.lock() = handle;
            return None;
        }
        let (control, words) = mpsc::unbounded_channel();
        let held =
            Held { key: key.clone(), handle: Mutex::new(handle), pid: Mutex::default(), control };
        let held = Arc::new(held);
        tries.insert(key.clone(), Arc::clone(&held));
        drop(tries);
        self.changed.notify_one();
        Some((held, words))
    }

    /// Its process is there.
    pub(crate) fn forked(&self, held: &Held, pid: u32) {
        *held.pid.lock() = Some(pid);
        self.changed.notify_one();
    }

    /// Lets a try go.
    pub(crate) fn release(&self, key: &TryKey) {
        let mut tries = self.tries.lock();
        tries.remove(key);
        drop(tries);
        self.changed.notify_one();
    }

    /// This try, where it is in hand.
    pub(crate) fn get(&self, key: &TryKey) -> Option<Arc<Held>> {
        self.tries.lock().get(key).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        self.tries.lock().values().cloned().collect()
    }

    /// Tells all who run one.
    pub(crate) fn tell_all(&self, word: &Control) {
        for held in self.all() {
            held.tell(word.clone());
        }
    }

    /// Something else that presence says has changed.
    pub(crate) fn tell_changed(&self) {
        self.changed.notify_one();
    }

    /// What presence says of them.
    pub(crate) fn names(&self) -> Vec<HeldTry> {
        let tries = self.tries.lock();
        tries
            .values()
            .map(|held| HeldTry { key: held.key.clone(), pid: *held.pid.lock(), waits: None })
            .collect()
    }

    /// Waits until something changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
