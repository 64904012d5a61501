//! Signals: words that may be lost, to whoever listens now. Nothing is decided by them alone.
use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::{PortError, PortResult};

/// A word that arrived.
#[derive(Debug)]
pub struct Signal {
    /// Where it was published, in dots and escaped tokens, without the namespace.
    pub subject: String,
    /// What was said.
    pub payload: Bytes,
    /// Where to answer, where an answer is wanted.
    pub responder: Option<Box<dyn Responder>>,
}

/// Answers one request.
#[async_trait]
pub trait Responder: Send + Sync + fmt::Debug {
    /// Answers; the asker may be gone.
    async fn respond(&self, payload: Bytes) -> PortResult<()>;
}

/// Why a request had no answer.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Nobody listens on that subject.
    #[error("nobody listens on `{subject}`")]
    NoResponder {
        /// Which.
        subject: String,
    },
    /// Nobody answered in time.
    #[error("no answer on `{subject}` within {within:?}")]
    TimedOut {
        /// Which.
        subject: String,
        /// How long was waited.
        within: Duration,
    },
    /// The carrier failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A namespace's signals. Subjects are dotted; a subscription may end in `>` (the rest) or have `*`
/// for one token, as in NATS.
#[async_trait]
pub trait Signals: Send + Sync + fmt::Debug {
    /// Says `payload` to whoever listens; nobody listening is no error.
    async fn publish(&self, subject: &str, payload: Bytes) -> PortResult<()>;
    /// Listens; when this returns the subscription is in force. A slow listener loses the oldest.
    async fn subscribe(&self, subject: &str) -> PortResult<BoxStream<'static, Signal>>;
    /// Asks, and waits up to `within` for one answer.
    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, RequestError>;
}

/// Whether `pattern`, with NATS's wildcards, takes in `subject`: `*` is one token, a `>` at the end
/// one or more.
pub fn subject_matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) => {
                if wanted != token {
                    return false;
                }
            }
        }
    }
    tokens.next().is_none()
}
