//! What all parts of the executor of pods share.
use std::sync::Arc;

use dagbok_events::{
    Actor, ExecutorId, Failure, FailureKind, Fault, QueueName, TryKey, Usage, encode_any,
};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{
    CommandBody, Order, Presence, Report, ReportBody, limits::MESSAGE_BYTES, names, text,
};
use dagbok_runlog::{Delivery, PortError, PortResult, Ports, QueueSettings};
use dagbok_runtime::{Backoff, Clock, Shutdown, fresh_command_id};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use crate::{PodsSettings, api::PodApi, book::Book, standing::Standing};

/// Who has renewed nothing for so many leases is gone.
pub(crate) const SILENCE: u32 = 3;

/// Its parts.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: PodsSettings,
    pub(crate) ports: Ports,
    pub(crate) clock: Clock,
    pub(crate) api: PodApi,
    pub(crate) inbox: Inbox,
    pub(crate) book: Book,
    /// Free slots.
    pub(crate) slots: Arc<Semaphore>,
    /// Pods that may be made, deleted or marked at the same time.
    pub(crate) creations: Semaphore,
    /// Items of pods of an earlier life that may be taken up at the same time.
    pub(crate) take_ups: Semaphore,
    /// Whether it takes work.
    pub(crate) standing: Standing,
    /// Since when the keyed state answers each time; `None` while it does not.
    pub(crate) heard: Mutex<Option<Instant>>,
    /// It ends.
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    /// Tells the scheduler, again and again until the inbox has it. False where it never will.
    pub(crate) async fn tell(&self, body: CommandBody) -> bool {
        let (id, by) = (fresh_command_id(), Actor::Executor(self.settings.executor.clone()));
        let mut backoff = Backoff::default();
        loop {
            match self.inbox.send(id.clone(), None, Ask::new(by.clone(), body.clone())).await {
                Ok(()) => return true,
                Err(PortError::Refused { why, .. }) => {
                    tracing::error!(why, "the inbox refuses what is told of a pod");
                    return false;
                }
                Err(error) => {
                    if backoff.is_worth_telling() {
                        tracing::warn!(%error, "what is told of a pod is not in the inbox yet; trying again");
                    }
                }
            }
            backoff.pause().await;
        }
    }

    /// The delivery of a try's item at an address of a queue; `None` where that is gone. A queue that was lost and made again
    /// numbers its items anew: what is at the address then is another's.
    pub(crate) async fn take_up(
        &self,
        key: &TryKey,
        (queue, address): &(QueueName, String),
    ) -> PortResult<Option<Delivery>> {
        let settings = QueueSettings { lease: self.settings.lease };
        let work = self.ports.queues.open(&names::work_queue(queue), settings).await?;
        Ok(work.take_up(address).await?.filter(|it| it.key == names::work_key(key)))
    }

    /// Whether the keyed state has answered for so long that who is not there says nothing, and not that nobody could be heard.
    pub(crate) fn is_heard_well(&self) -> bool {
        self.heard.lock().is_some_and(|since| since.elapsed() > self.settings.lease * SILENCE)
    }

    /// Reports about a try, in the name of whoever ran it.
    pub(crate) async fn report(&self, executor: &ExecutorId, key: &TryKey, body: ReportBody) {
        let report =
            Report { key: key.clone(), executor: executor.clone(), at: self.clock.now(), body };
        self.tell(CommandBody::Report(Box::new(report))).await;
    }

    /// This executor comes.
    pub(crate) async fn join(&self, presence: Presence) {
        let executor = self.settings.executor.clone();
        self.tell(CommandBody::ExecutorJoined { executor, presence: Box::new(presence) }).await;
    }

    /// Tells the executor in a pod why that is about to be ended. Once: it may not hear it.
    pub(crate) async fn part(&self, executor: &ExecutorId, why: String) {
        let (subject, order) = (names::orders_subject(executor), encode_any(&Order::Ends { why }));
        if let Err(error) = self.ports.signals.publish(&subject, order.into()).await {
            tracing::debug!(%executor, %error, "a pod can't be told why it is ended");
        }
    }
}

/// The failure of a try in a pod.
pub(crate) fn failed(kind: FailureKind, fault: Fault, message: &str) -> Failure {
    Failure::new(kind, fault, text::cut(message, MESSAGE_BYTES))
}

/// As a report: what nobody in the pod could say.
pub(crate) fn failure(failure: Failure) -> ReportBody {
    ReportBody::Failed { failure, xcoms: Vec::new(), usage: Usage::default(), log: None }
}
