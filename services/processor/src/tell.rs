//! Tells the scheduler, and keeps at it until there is an answer.
use std::time::Duration;

use dagbok_events::Actor;
use dagbok_inbox::{Ask, AskError, Inbox};
use dagbok_protocol::{Answer, CommandBody};
use dagbok_runlog::PortError;
use dagbok_runtime::{Backoff, Shutdown, fresh_command_id};

/// The first and the longest pause after a fault.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What became of a word to the scheduler.
#[derive(Debug)]
pub(crate) enum Told {
    /// It was decided upon.
    Answered(Answer),
    /// It breaks a limit and can't be sent at all.
    TooLarge(String),
    /// The end was asked for first.
    Stopped,
}

/// The way to the scheduler.
#[derive(Debug)]
pub(crate) struct Teller {
    inbox: Inbox,
    shutdown: Shutdown,
    within: Duration,
}

impl Teller {
    pub(crate) fn new(inbox: Inbox, shutdown: Shutdown, within: Duration) -> Self {
        Self { inbox, shutdown, within }
    }

    /// Sends until answered, each time under the same id, so that it is done once.
    pub(crate) async fn tell(&self, what: &str, body: CommandBody) -> Told {
        tokio::select! {
            told = self.keep_at_it(what, body) => told,
            () = self.shutdown.started() => Told::Stopped,
        }
    }

    async fn keep_at_it(&self, what: &str, body: CommandBody) -> Told {
        let id = fresh_command_id();
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let ask = Ask::new(Actor::Processor, body.clone());
            match self.inbox.ask_as(id.clone(), ask, self.within).await {
                Ok(answer) => return Told::Answered(answer),
                Err(AskError::NotSent(PortError::Refused { why, .. })) => {
                    return Told::TooLarge(why);
                }
                Err(AskError::Silent { .. }) => {
                    tracing::warn!(what, "no scheduler answers; asking again");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(what, %error, cause, "the scheduler can't be told; trying again");
                    backoff.pause().await;
                }
            }
        }
    }
}
