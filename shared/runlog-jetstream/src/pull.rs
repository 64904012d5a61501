//! One pull of a queue's consumer, and what it proves of the consumer beside what it brings.
use std::time::Duration;

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    error::AskError,
    limits::LONGEST_SPAN,
    link::{API, Link},
};

/// An item that a pull brought.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The item.
    pub(crate) message: Message,
    /// By the server's clock, in nanoseconds: the consumer that gave it was there at this time already. `None`
    /// where the pull does not prove that.
    pub(crate) served_since: Option<i128>,
}

/// The server sends what there is; where there is nothing it waits, sends what comes first, and ends the
/// request with a word.
///
/// With `proving`, a word goes to the server and back behind the request. A consumer that is deleted ends
/// the requests that wait for it; so the one that answers after that word is back was there before it was,
/// and counts every delivery of what was stored later. Of several servers, the one that has the consumer
/// need not be the one that answers the word: there nothing is proved.
pub(crate) async fn pull(
    link: &Link,
    (stream, consumer): (&str, &str),
    max: usize,
    wait: Duration,
    proving: bool,
) -> Result<Vec<Taken>, AskError> {
    let wait = wait.min(LONGEST_SPAN);
    let subject = format!("{API}CONSUMER.MSG.NEXT.{stream}.{consumer}");
    let mut answers = link.ask_many(subject, request(max, wait)).await?;
    let run = link.lone_server_run().filter(|_| proving);
    let mut word = std::pin::pin!(link.round_trip());
    let (mut on_its_way, mut served_since) = (run.is_some(), None);
    let mut taken = Vec::new();
    while taken.len() < max {
        let answer = tokio::select! {
            biased;
            answer = answers.next(wait + link.timeout) => answer,
            back = &mut word, if on_its_way => {
                on_its_way = false;
                if back.is_ok() {
                    served_since = link.clock.at(Instant::now(), run.as_deref());
                }
                continue;
            }
        };
        match answer.and_then(|answer| sort(answer, consumer)) {
            Ok(Some(message)) => taken.push(Taken { message, served_since }),
            Ok(None) => break,
            // What has come is in our hands whatever became of the rest.
            Err(_) if !taken.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// What JetStream takes for a pull that returns what there is, or else waits for the first.
fn request(max: usize, wait: Duration) -> Bytes {
    let mut request = json!({ "batch": max, "no_wait": true });
    let nanoseconds = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    if nanoseconds > 0 {
        request["expires"] = Value::from(nanoseconds);
    }
    request.to_string().into()
}

/// Tells an item from the word that ends a pull.
fn sort(answer: Message, consumer: &str) -> Result<Option<Message>, AskError> {
    match answer.status {
        None => Ok(Some(answer)),
        Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => Ok(None),
        Some(StatusCode::NO_RESPONDERS) => Err(AskError::NobodyThere(consumer.to_owned())),
        Some(status) => {
            let said = answer.description.unwrap_or_default();
            Err(AskError::Other(format!("the server ends the pull: {status} {said}")))
        }
    }
}
