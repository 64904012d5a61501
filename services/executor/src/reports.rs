//! The way to the scheduler: reports that must arrive, and the answers to those that ask for one.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_events::{Actor, CommandId, ExecutorId, TryKey, decode_packed};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, CommandBody, Presence, Refusal, Report, ReportBody, names};
use dagbok_runlog::{PortError, Ports, Signals};
use dagbok_runtime::{Backoff, Clock, fresh_command_id};
use futures::StreamExt as _;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

/// An unanswered question is asked again after this, and then ever more rarely.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait between two such.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Sends reports. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    inbox: Inbox,
    executor: ExecutorId,
    clock: Clock,
    asked: Arc<Mutex<BTreeMap<CommandId, oneshot::Sender<Answer>>>>,
}

/// The inbox will never take this report: it breaks a limit.
#[derive(Debug, thiserror::Error)]
#[error("the inbox refuses the report: {0}")]
pub(crate) struct Unreportable(String);

impl Reporter {
    /// Opens the inbox, however long that takes.
    pub(crate) async fn open(ports: &Ports, executor: ExecutorId, clock: Clock) -> Self {
        let mut backoff = Backoff::default();
        let inbox = loop {
            match Inbox::open(ports, clock.clone()).await {
                Ok(inbox) => break inbox,
                Err(error) => tell(&backoff, &error, "the inbox can't be opened"),
            }
            backoff.pause().await;
        };
        Self { inbox, executor, clock, asked: Arc::default() }
    }

    /// Hears answers for ever; run it beside.
    pub(crate) async fn hear(self, signals: Arc<dyn Signals>) {
        let subject = names::report_answers(&self.executor);
        let mut backoff = Backoff::default();
        loop {
            match signals.subscribe(&subject).await {
                Ok(mut answers) => {
                    while let Some(signal) = answers.next().await {
                        self.heard(&signal.subject, &signal.payload);
                    }
                }
                Err(error) => tell(&backoff, &error, "answers can't be listened for"),
            }
            backoff.pause().await;
        }
    }

    fn heard(&self, subject: &str, payload: &[u8]) {
        let id = subject.rsplit('.').next().and_then(dagbok_events::unescape_token);
        let Some(id) = id.and_then(|id| CommandId::new(id).ok()) else { return };
        match decode_packed::<Answer>(payload) {
            Ok(answer) => {
                if let Some(waiting) = self.asked.lock().remove(&id) {
                    drop(waiting.send(answer));
                }
            }
            Err(error) => tracing::warn!(%id, %error, "an answer can't be read"),
        }
    }

    /// A report under a fresh id; nothing is sent yet.
    pub(crate) fn report(&self, key: &TryKey, body: ReportBody) -> Pending<'_> {
        self.report_of(self.executor.clone(), key, body)
    }

    /// Likewise, in the name of an executor that is dead.
    pub(crate) fn report_of(
        &self,
        executor: ExecutorId,
        key: &TryKey,
        body: ReportBody,
    ) -> Pending<'_> {
        let at = self.clock.now();
        let report = Report { key: key.clone(), executor, at, body };
        Pending {
            reporter: self,
            id: fresh_command_id(),
            body: CommandBody::Report(Box::new(report)),
        }
    }

    /// This executor comes.
    pub(crate) fn joined(&self, presence: Presence) -> Pending<'_> {
        let (executor, presence) = (self.executor.clone(), Box::new(presence));
        Pending {
            reporter: self,
            id: fresh_command_id(),
            body: CommandBody::ExecutorJoined { executor, presence },
        }
    }

    /// This executor goes.
    pub(crate) fn left(&self) -> Pending<'_> {
        let executor = self.executor.clone();
        Pending {
            reporter: self,
            id: fresh_command_id(),
            body: CommandBody::ExecutorLeft { executor },
        }
    }
}

/// A command with its id: sending it again does it once.
#[derive(Clone, Debug)]
pub(crate) struct Pending<'a> {
    reporter: &'a Reporter,
    id: CommandId,
    body: CommandBody,
}

impl Pending<'_> {
    /// Sends, again and again until the inbox has it.
    pub(crate) async fn send(&self) -> Result<(), Unreportable> {
        self.send_as(None).await
    }

    async fn send_as(&self, reply_to: Option<String>) -> Result<(), Unreportable> {
        let mut backoff = Backoff::default();
        loop {
            let ask = Ask::new(Actor::Executor(self.reporter.executor.clone()), self.body.clone());
            match self.reporter.inbox.send(self.id.clone(), reply_to.clone(), ask).await {
                Ok(()) => return Ok(()),
                Err(PortError::Refused { why, .. }) => return Err(Unreportable(why)),
                Err(error) => tell(&backoff, &error, "a report is not in the inbox yet"),
            }
            backoff.pause().await;
        }
    }

    /// Waits for the scheduler's word on what was sent with [`Pending::send_asking`], asking again now and
    /// then: the answer may have been lost, or no scheduler been there.
    pub(crate) async fn answer(&self, mut waiting: Waiting) -> Result<(), Refusal> {
        let mut wait = FIRST_WAIT;
        loop {
            if let Ok(Ok(answer)) = timeout(wait, &mut waiting.0).await {
                return match answer {
                    Answer::Accepted { .. }
                    | Answer::Unchanged
                    | Answer::WouldClear { .. }
                    | Answer::WouldMark { .. }
                    | Answer::Waits(_)
                    | Answer::WouldMake(_)
                    | Answer::LastScheduled(_)
                    | Answer::WouldBackfill(_) => Ok(()),
                    Answer::Refused(refusal) => Err(refusal),
                };
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            if let Ok(again) = self.send_asking().await {
                waiting = again;
            }
        }
    }

    /// Sends, and has the answer routed back.
    pub(crate) async fn send_asking(&self) -> Result<Waiting, Unreportable> {
        let (answered, waiting) = oneshot::channel();
        self.reporter.asked.lock().insert(self.id.clone(), answered);
        let subject = names::report_answer_subject(&self.reporter.executor, &self.id);
        self.send_as(Some(subject)).await?;
        Ok(Waiting(waiting))
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn forget(&self) {
        self.reporter.asked.lock().remove(&self.id);
    }
}

/// An answer to come.
#[derive(Debug)]
pub(crate) struct Waiting(oneshot::Receiver<Answer>);

impl Waiting {
    /// The answer, where one comes; it is not asked for again.
    pub(crate) async fn heard(self) -> Option<Answer> {
        self.0.await.ok()
    }
}

fn tell(backoff: &Backoff, error: &PortError, what: &str) {
    if backoff.is_worth_telling() {
        tracing::warn!(%error, "{what}; trying again");
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Leg, MapIndex, RunId, TaskId, TryNumber};
    use dagbok_protocol::limits::COMMAND_PLAIN_BYTES;
    use dagbok_runlog::QueueSettings;

    use super::*;

    /// What lies in the inbox of a report with so long a name.
    async fn sent(ports: &Ports, name_bytes: usize) -> bytes::Bytes {
        let executor = ExecutorId::new("e").unwrap();
        let reporter = Reporter::open(ports, executor, Clock::system()).await;
        let key = TryKey {
            dag_id: "d".parse().unwrap(),
            run_id: RunId::new("r").unwrap(),
            task_id: TaskId::new("t").unwrap(),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: Leg::FIRST,
        };
        let body = ReportBody::Named { rendered_map_index: "x".repeat(name_bytes) };
        reporter.report(&key, body).send().await.unwrap();
        let settings = QueueSettings { lease: Duration::from_hours(1) };
        let inbox = ports.queues.open(names::INBOX, settings).await.unwrap();
        let delivery = inbox.pull(1, Duration::from_secs(1)).await.unwrap().remove(0);
        delivery.handle.ack().await.unwrap();
        delivery.payload
    }

    #[tokio::test]
    async fn a_command_is_sent_plain_up_to_so_many_bytes_and_packed_from_there() {
        let ports = dagbok_runlog::memory::ports();
        let around = sent(&ports, COMMAND_PLAIN_BYTES / 2).await.len() - COMMAND_PLAIN_BYTES / 2;
        let most = COMMAND_PLAIN_BYTES - around;
        assert_eq!(sent(&ports, most).await.len(), COMMAND_PLAIN_BYTES);
        let packed = sent(&ports, most + 1).await;
        assert!(packed.len() < COMMAND_PLAIN_BYTES / 10, "{} bytes", packed.len());
    }
}
