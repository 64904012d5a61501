//! Sends messages, each apart, and tells what came of it.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_alerts::{Answered, BlobsObserved, StoreObserved};
use dagbok_events::Timestamp;
use dagbok_runtime::Shutdown;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};

use super::{
    blobs,
    calendars::{Asking, Fetched},
    desk::Sending,
};
use crate::{
    BigThings, Stores,
    config::{Looked, Reloader, Ways},
    receivers::Senders,
};

/// Messages under way to one receiver at once: one that hangs keeps only its own waiting.
const AT_ONCE: usize = 8;
/// A provider that has not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked how full the broker is.
const STORES_EVERY: Duration = Duration::from_secs(30);

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) id: u64,
    pub(crate) message: String,
    pub(crate) attempt: u32,
    pub(crate) took_ms: u64,
    pub(crate) answered: Answered,
}

/// What came of whatever was sent.
#[derive(Debug)]
pub(crate) enum Came {
    /// Of a message about an alert.
    Message(Outcome),
    /// Of a sign of life.
    Sign {
        /// Which one.
        number: u64,
        /// What was answered.
        answered: Answered,
    },
    /// Of asking for a calendar.
    Calendar(Fetched),
    /// Of a look at the configuration.
    Configuration(Box<(Reloader, Looked)>),
    /// Of a look at what the broker may hold.
    Stores(Vec<StoreObserved>),
    /// Of looks at where big things lie.
    Blobs(BlobsObserved),
}

/// Looks at the configuration on a thread for such work, and hands back who looked.
pub(crate) async fn look(mut reloader: Reloader, now: Timestamp) -> (Reloader, Looked) {
    let spare = reloader.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let looked = reloader.look(now);
        (reloader, looked)
    });
    looked.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the alerting configuration can't be looked at");
        (spare, Looked::Same)
    })
}

#[derive(Debug)]
pub(crate) struct Post {
    senders: Arc<Senders>,
    ways: Arc<Ways>,
    rooms: BTreeMap<String, Arc<Semaphore>>,
    outcomes: mpsc::Sender<Came>,
}

impl Post {
    pub(crate) fn new(senders: Arc<Senders>) -> (Self, mpsc::Receiver<Came>) {
        let (outcomes, inbox) = mpsc::channel(1_024);
        (Self { senders, ways: Arc::default(), rooms: BTreeMap::new(), outcomes }, inbox)
    }

    /// From now on everybody is told so.
    pub(crate) fn take(&mut self, ways: Ways) {
        self.senders.allow(ways.guard.clone());
        self.rooms.retain(|name, _| ways.receivers.contains_key(name));
        self.ways = Arc::new(ways);
    }

    /// How everybody is told.
    pub(crate) fn ways(&self) -> &Ways {
        &self.ways
    }

    /// Sends a sign of life.
    pub(crate) fn sign(&self, number: u64, trouble: Option<String>) {
        let (senders, ways) = (Arc::clone(&self.senders), Arc::clone(&self.ways));
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let Some(url) = &ways.switch else { return };
            let answered = senders.sign(url, trouble.as_deref()).await;
            let _ = outcomes.send(Came::Sign { number, answered }).await;
        });
    }

    /// Looks at the configuration: whoever pages does not wait for what somebody wrote into a calendar's file.
    pub(crate) fn look(&self, reloader: Reloader, now: Timestamp) {
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let looked = look(reloader, now).await;
            let _ = outcomes.send(Came::Configuration(Box::new(looked))).await;
        });
    }

    /// Has what the broker may hold looked at, apart: a monitoring page that hangs keeps no page to a person waiting.
    pub(crate) fn watch(&self, stores: Arc<dyn Stores>, end: &Shutdown) {
        let (outcomes, end) = (self.outcomes.clone(), end.clone());
        end.clone().spawn(async move {
            loop {
                let seen = tokio::select! {
                    () = end.started() => return,
                    seen = timeout(PATIENCE, stores.look()) => seen.unwrap_or_else(|_| {
                        tracing::warn!(within = ?PATIENCE, "the broker does not tell how full it is");
                        Vec::new()
                    }),
                };
                if outcomes.send(Came::Stores(seen)).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = end.started() => return,
                    () = tokio::time::sleep(STORES_EVERY) => {}
                }
            }
        });
    }

    /// Has where big things lie looked at, likewise.
    pub(crate) fn watch_blobs(&self, blobs: Arc<dyn BigThings>, end: &Shutdown) {
        let (outcomes, end) = (self.outcomes.clone(), end.clone());
        end.clone().spawn(async move {
            tokio::select! {
                () = end.started() => {}
                () = blobs::watch(&*blobs, &outcomes) => {}
            }
        });
    }

    /// Asks for a calendar.
    pub(crate) fn fetch(&self, asking: Asking, now: Timestamp) {
        let (senders, outcomes) = (Arc::clone(&self.senders), self.outcomes.clone());
        tokio::spawn(async move {
            let came = match timeout(PATIENCE, senders.fetch(&asking)).await {
                Ok(came) => came,
                Err(_) => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
            };
            let fetched = Fetched::of(asking, came, now).await;
            let _ = outcomes.send(Came::Calendar(fetched)).await;
        });
    }

    pub(crate) fn send(&mut self, sending: Sending) {
        let (senders, ways) = (Arc::clone(&self.senders), Arc::clone(&self.ways));
        let room = self.rooms.entry(sending.receiver.clone());
        let room = Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))));
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let _room = room.acquire_owned().await;
            let begun = Instant::now();
            let answered = match ways.receivers.get(&sending.receiver) {
                Some(receiver) => {
                    let sent = senders.send(
                        receiver,
                        &sending.name,
                        sending.thread.as_deref(),
                        &sending.message,
                    );
                    timeout(PATIENCE, sent).await.unwrap_or_else(|_| Answered::Failed {
                        status: None,
                        why: format!("no answer within {} seconds", PATIENCE.as_secs()),
                        retry_after: None,
                    })
                }
                None => Answered::Rejected {
                    status: None,
                    why: "the receiver is not in the configuration any more".to_owned(),
                },
            };
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Sending { name, attempt, message, .. } = sending;
            // A term that ended asks again by itself.
            let came = Outcome { id: message.id, message: name, attempt, took_ms, answered };
            let _ = outcomes.send(Came::Message(came)).await;
        });
    }
}
