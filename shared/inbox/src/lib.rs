//! The way in: sends commands to the scheduler's inbox and waits for their answers.
//!
//! A command carries an id, so that sending it again after silence does it once. Silence means
//! *maybe*: [`Inbox::ask`] says so and names the id.
mod lookup;
pub mod passed;
mod secrets;
pub mod standing;
pub mod whole;

use std::{sync::Arc, time::Duration};

use dagbok_events::{Actor, CommandId, DecodeError, TraceContext, decode_packed, encode_packed};
use dagbok_protocol::{
    Answer, Command, CommandBody,
    limits::{COMMAND_PLAIN_BYTES, RECORD_BYTES},
    names,
};
use dagbok_runlog::{PortError, Ports, Queue, QueueSettings, Signals};
use dagbok_runtime::{Clock, fresh_command_id};
use futures::StreamExt as _;
pub use lookup::{LOOKUP_VARIABLE, Lookup};
pub use secrets::{SecretReply, SecretsClient};
use thiserror::Error;

const _: () = assert!(
    RECORD_BYTES == dagbok_runlog::limits::MAX_PAYLOAD,
    "what the protocol calls a record fits the log and the queues"
);

/// How long an inbox item may be in the scheduler's hands before another scheduler gets it.
pub const INBOX_LEASE: Duration = Duration::from_secs(3);

/// Sends commands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: Arc<dyn Queue>,
    signals: Arc<dyn Signals>,
    clock: Clock,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The inbox did not take the command: nothing will be done.
    #[error("the inbox did not take the command")]
    NotSent(#[source] PortError),
    /// It is in the inbox, and nobody answered: it may yet be done. Asking again with this id is safe.
    #[error(
        "no scheduler answered command {id} within {within:?}; it is kept and will be decided when one runs"
    )]
    Silent {
        /// The command's id.
        id: CommandId,
        /// How long was waited.
        within: Duration,
    },
    /// The answer could not be read.
    #[error("the scheduler's answer could not be read")]
    Garbled(#[source] DecodeError),
}

/// A command in the making.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub by: Actor,
    /// Why.
    pub reason: Option<String>,
    /// Trace context.
    pub trace: Option<TraceContext>,
    /// What.
    pub body: CommandBody,
}

impl Ask {
    /// One without reason or trace.
    pub fn new(by: Actor, body: CommandBody) -> Self {
        Self { by, reason: None, trace: None, body }
    }
}

impl Inbox {
    /// Opens the namespace's inbox.
    pub async fn open(ports: &Ports, clock: Clock) -> Result<Self, PortError> {
        let queue = ports.queues.open(names::INBOX, QueueSettings { lease: INBOX_LEASE }).await?;
        Ok(Self { queue, signals: Arc::clone(&ports.signals), clock })
    }

    /// Sends without waiting for an answer; returns once the inbox has it.
    pub async fn tell(&self, ask: Ask) -> Result<CommandId, PortError> {
        let id = fresh_command_id();
        self.send(id.clone(), None, ask).await?;
        Ok(id)
    }

    /// Sends and waits up to `within` for what became of it.
    pub async fn ask(&self, ask: Ask, within: Duration) -> Result<Answer, AskError> {
        self.ask_as(fresh_command_id(), ask, within).await
    }

    /// As [`Inbox::ask`], with an id of the caller's, so that asking again does it once.
    pub async fn ask_as(
        &self,
        id: CommandId,
        ask: Ask,
        within: Duration,
    ) -> Result<Answer, AskError> {
        let subject = names::answer_subject(id.as_str());
        let mut answers = self.signals.subscribe(&subject).await.map_err(AskError::NotSent)?;
        self.send(id.clone(), Some(subject), ask).await.map_err(AskError::NotSent)?;
        match tokio::time::timeout(within, answers.next()).await {
            Ok(Some(signal)) => decode_packed(&signal.payload).map_err(AskError::Garbled),
            Ok(None) | Err(_) => Err(AskError::Silent { id, within }),
        }
    }

    /// Sends under an id of the caller's, with the signal subject that the answer goes to; returns once the
    /// inbox has it. For callers that listen on one subject for many answers.
    pub async fn send(
        &self,
        id: CommandId,
        reply_to: Option<String>,
        ask: Ask,
    ) -> Result<(), PortError> {
        let Ask { by, reason, trace, body } = ask;
        let sent_at = self.clock.now();
        let command = Command { id, by, sent_at, reply_to, reason, trace, body };
        self.queue
            .publish(command.id.as_str(), encode_packed(&command, COMMAND_PLAIN_BYTES).into())
            .await?;
        Ok(())
    }
}
