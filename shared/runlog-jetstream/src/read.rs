//! Reads that ask the store directly: one request, many messages, then a word that ends them. No
//! consumer is made for it, so a short read costs one round trip.
use std::time::SystemTime;

use async_nats::{
    HeaderMap, Message, StatusCode,
    header::{NATS_SEQUENCE, NATS_SUBJECT, NATS_TIME_STAMP},
};
use bytes::Bytes;
use dagbok_runlog::Seq;
use serde_json::{Value, json};

use crate::{
    error::AskError,
    link::{API, Link},
};

/// The most messages that one request asks for.
const LARGEST_BATCH: usize = 10_000;
/// The most bytes that one request asks for; the server holds its answer back beyond 64 MiB.
const LARGEST_BYTES: usize = 32 << 20;

/// On the word that ends an answer: how many messages there are beyond it.
const PENDING: &str = "Nats-Num-Pending";
/// The status of the word that ends an answer.
const END_OF_BATCH: u16 = 204;

/// A message as a stream holds it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: Seq,
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    /// By the server's clock.
    pub(crate) kept_at: SystemTime,
    headers: HeaderMap,
}

impl Stored {
    /// A header's last value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_last(name).map(async_nats::HeaderValue::as_str)
    }

    pub(crate) fn of(message: Message) -> Result<Self, AskError> {
        let unreadable = || AskError::Other("a stored message came without its place".to_owned());
        let headers = message.headers.ok_or_else(unreadable)?;
        let text = |name: async_nats::HeaderName| headers.get_last(name).map(ToString::to_string);
        let seq = text(NATS_SEQUENCE).and_then(|seq| seq.parse().ok()).ok_or_else(unreadable)?;
        let subject = text(NATS_SUBJECT).ok_or_else(unreadable)?;
        // Without its time it counts as new for ever, so that nothing goes for being old.
        let kept_at = text(NATS_TIME_STAMP).and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let kept_at = SystemTime::from(kept_at.unwrap_or(jiff::Timestamp::MAX));
        Ok(Self { seq: Seq(seq), subject, payload: message.payload, kept_at, headers })
    }
}

/// What one request brought.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) messages: Vec<Stored>,
    /// How many there were beyond.
    pub(crate) pending: u64,
}

/// Up to `entries` messages or about `bytes` bytes, from `from` on; empty at the end.
pub(crate) async fn batch(
    link: &Link,
    stream: &str,
    from: Seq,
    entries: usize,
    bytes: usize,
) -> Result<Batch, AskError> {
    let question = json!({
        "seq": from.0,
        "batch": entries.clamp(1, LARGEST_BATCH),
        "max_bytes": bytes.clamp(1, LARGEST_BYTES),
    });
    many(link, stream, &question).await
}

/// Up to `entries` messages of subjects that `filter` matches, oldest first.
pub(crate) async fn matching(
    link: &Link,
    stream: &str,
    from: Seq,
    filter: &str,
    entries: usize,
) -> Result<Vec<Stored>, AskError> {
    let question = json!({
        "seq": from.0,
        "next_by_subj": filter,
        "batch": entries.clamp(1, LARGEST_BATCH),
        "max_bytes": LARGEST_BYTES,
    });
    many(link, stream, &question).await.map(|batch| batch.messages)
}

/// The last message of a subject, asked of any replica.
pub(crate) async fn last_of(
    link: &Link,
    stream: &str,
    subject: &str,
) -> Result<Option<Stored>, AskError> {
    let answer =
        link.ask(&format!("{API}DIRECT.GET.{stream}.{subject}"), None, Bytes::new()).await?;
    match answer.status {
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) => Err(odd(status, &answer)),
        None => Stored::of(answer).map(Some),
    }
}

async fn many(link: &Link, stream: &str, question: &Value) -> Result<Batch, AskError> {
    let payload = question.to_string().into();
    let mut answers = link.ask_many(format!("{API}DIRECT.GET.{stream}"), payload).await?;
    let mut messages = Vec::new();
    loop {
        let answer = answers.next(link.timeout).await?;
        match answer.status {
            None => messages.push(Stored::of(answer)?),
            Some(status) if status.as_u16() == END_OF_BATCH => {
                let pending = answer.headers.as_ref().and_then(|headers| headers.get(PENDING));
                // Without a count there may be more, and asking again tells.
                let pending = pending.and_then(|count| count.as_str().parse().ok()).unwrap_or(1);
                return Ok(Batch { messages, pending });
            }
            Some(StatusCode::NOT_FOUND) => return Ok(Batch { messages, pending: 0 }),
            Some(status) => return Err(odd(status, &answer)),
        }
    }
}

fn odd(status: StatusCode, answer: &Message) -> AskError {
    if status == StatusCode::NO_RESPONDERS {
        return AskError::NobodyThere("direct reads of the stream".to_owned());
    }
    let said = answer.description.as_deref().unwrap_or_default();
    AskError::Other(format!("the store answers {status} {said}"))
}
