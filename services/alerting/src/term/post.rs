//! Sends messages, each apart, and tells what came of it.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_alerts::Answered;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};

use super::desk::Sending;
use crate::{config::Receiver, receivers::Senders};

/// Messages under way to one receiver at once: one that hangs keeps only its own waiting.
const AT_ONCE: usize = 8;
/// A provider that has not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) id: u64,
    pub(crate) message: String,
    pub(crate) attempt: u32,
    pub(crate) took_ms: u64,
    pub(crate) answered: Answered,
}

#[derive(Debug)]
pub(crate) struct Post {
    senders: Arc<Senders>,
    receivers: Arc<BTreeMap<String, Receiver>>,
    rooms: BTreeMap<String, Arc<Semaphore>>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Post {
    pub(crate) fn new(senders: Arc<Senders>) -> (Self, mpsc::Receiver<Outcome>) {
        let (outcomes, inbox) = mpsc::channel(1_024);
        (Self { senders, receivers: Arc::default(), rooms: BTreeMap::new(), outcomes }, inbox)
    }

    /// From now on these are the receivers.
    pub(crate) fn take(&mut self, receivers: BTreeMap<String, Receiver>) {
        self.rooms.retain(|name, _| receivers.contains_key(name));
        self.receivers = Arc::new(receivers);
    }

    pub(crate) fn send(&mut self, sending: Sending) {
        let (senders, receivers) = (Arc::clone(&self.senders), Arc::clone(&self.receivers));
        let room = self.rooms.entry(sending.receiver.clone());
        let room = Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))));
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let _room = room.acquire_owned().await;
            let begun = Instant::now();
            let answered = match receivers.get(&sending.receiver) {
                Some(receiver) => {
                    let sent = senders.send(receiver, &sending.name, &sending.message);
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
            let _ = outcomes
                .send(Outcome { id: message.id, message: name, attempt, took_ms, answered })
                .await;
        });
    }
}
