//! Pulls work items into free slots.
use std::{sync::Arc, time::Duration};

use dagbok_events::QueueName;
use dagbok_protocol::names;
use dagbok_runlog::{Delivery, Queue, QueueSettings};
use dagbok_runtime::Backoff;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{attempt, shared::Shared};

/// How long one pull waits: what is delivered to a pull that nobody awaits any more would be lost for a
/// lease, so the end of the executor waits for it.
const PULL_WAIT: Duration = Duration::from_millis(250);
/// A queue in this process loses nothing with a pull that is dropped.
const PULL_WAIT_IN_PROCESS: Duration = Duration::from_secs(10);
/// An item for which no slot was left goes to another executor after this.
const NO_SLOT_DELAY: Duration = Duration::from_millis(20);

/// Pulls from one queue until the executor ends. Tries run on `tries`.
pub(crate) async fn pull(shared: Arc<Shared>, queue: QueueName, tries: TaskTracker) {
    let Some(work) = open(&shared, &queue).await else { return };
    let mut backoff = Backoff::default();
    while !shared.shutdown.is_started() {
        if shared.standing.is_cordoned() {
            tokio::select! {
                () = shared.shutdown.started() => return,
                () = uncordoned(&shared) => {}
            }
        }
        // One slot is waited for; it is free again at once, so that no queue holds it while it is empty.
        let free = tokio::select! {
            () = shared.shutdown.started() => return,
            slot = Arc::clone(&shared.slots).acquire_owned() => {
                drop(slot);
                shared.slots.available_permits().max(1)
            }
        };
        let in_process = !shared.settings.fencing;
        let wait = if in_process { PULL_WAIT_IN_PROCESS } else { PULL_WAIT };
        let pulled = tokio::select! {
            pulled = work.pull(free, wait) => pulled,
            () = shared.shutdown.started(), if in_process => return,
            () = shared.standing.changed(), if in_process => continue,
        };
        match pulled {
            Ok(deliveries) => {
                backoff = Backoff::default();
                for delivery in deliveries {
                    start(&shared, &tries, delivery).await;
                }
            }
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%queue, %error, "no work can be pulled; trying again");
                }
                backoff.pause().await;
            }
        }
    }
}

async fn uncordoned(shared: &Shared) {
    while shared.standing.is_cordoned() {
        // A change in between is seen a moment later.
        drop(timeout(PULL_WAIT, shared.standing.changed()).await);
    }
}

/// The queue, however long opening it takes; `None` where the executor ends before.
pub(crate) async fn open(shared: &Shared, queue: &QueueName) -> Option<Arc<dyn Queue>> {
    let (name, settings) =
        (names::work_queue(queue), QueueSettings { lease: shared.settings.lease });
    let mut backoff = Backoff::default();
    while !shared.shutdown.is_started() {
        match shared.ports.queues.open(&name, settings).await {
            Ok(work) => return Some(work),
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%queue, %error, "the queue can't be opened; trying again");
                }
            }
        }
        backoff.pause().await;
    }
    None
}

async fn start(shared: &Arc<Shared>, tries: &TaskTracker, delivery: Delivery) {
    // Queues pulled at the same time may together bring more than there are slots.
    let Ok(slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
        if shared.settings.fencing {
            tries.spawn(attempt::hand_back(Arc::clone(shared), delivery));
        } else if let Err(error) = delivery.handle.nak(NO_SLOT_DELAY).await {
            tracing::warn!(key = delivery.key, %error, "an item without a slot comes back only after its lease");
        }
        return;
    };
    shared.tell_slots();
    tries.spawn(attempt::take(Arc::clone(shared), delivery, slot));
}
