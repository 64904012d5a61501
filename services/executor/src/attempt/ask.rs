//! Asks whoever serves the API, for a task.
use std::{sync::Arc, time::Duration};

use dagbok_events::{Payload, TryKey, decode_any, encode_any};
use dagbok_protocol::{ApiQuestion, ApiReply, Asked, names};
use dagbok_runlog::{RequestError, Signals};
use dagbok_runtime::Backoff;
use serde_json::Value;

use crate::store::Store;

/// How long one question may take to be answered: what the API gives itself, and the way there and back.
const WITHIN: Duration = Duration::from_secs(35);
/// How long is asked again where nobody answers: an API that is started anew is back by then.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// An answer that is none: its HTTP status, and why.
pub(super) type Unanswered = (u16, String);

/// The way to the API, for one try.
#[derive(Debug)]
pub(crate) struct ApiClient {
    signals: Arc<dyn Signals>,
    store: Store,
    seen: u64,
    key: TryKey,
    /// Requests that did something, so that each has a key of its own.
    posted: u32,
}

impl ApiClient {
    /// For a try that the record `seen` queued.
    pub(crate) fn new(signals: Arc<dyn Signals>, store: Store, seen: u64, key: TryKey) -> Self {
        Self { signals, store, seen, key, posted: 0 }
    }

    /// The JSON at a path of the API.
    pub(super) async fn get(&self, target: String) -> Result<Value, Unanswered> {
        self.ask(Asked::Rest { target, body: None, key: None }).await
    }

    /// Asks for something to be done. The same request of the same leg of the try is done once.
    pub(super) async fn post(&mut self, target: String, body: &Value) -> Result<Value, Unanswered> {
        self.posted += 1;
        // Ids may have any letters, and a header has few.
        let key = names::work_key(&self.key);
        let key = format!("{}.{}", dagbok_runlog::digest_of(key.as_bytes()), self.posted);
        let body = Some(body.to_string());
        self.ask(Asked::Rest { target, body, key: Some(key) }).await
    }

    /// As [`ApiClient::get`], with nothing where there is no such thing.
    pub(super) async fn find(&self, target: String) -> Result<Option<Value>, Unanswered> {
        none_of(self.get(target).await)
    }

    /// A value that a task handed on, as JSON; nothing where there is none.
    pub(super) async fn xcom(&self, asked: Asked) -> Result<Option<Value>, Unanswered> {
        none_of(self.ask(asked).await)
    }

    async fn ask(&self, asked: Asked) -> Result<Value, Unanswered> {
        let by = format!("task {}.{}", self.key.dag_id, self.key.task_id);
        let question = ApiQuestion { seen: self.seen, by, asked };
        let payload = bytes::Bytes::from(encode_any(&question));
        let mut backoff = Backoff::default();
        let until = tokio::time::Instant::now() + PATIENCE;
        let why = loop {
            let asked = self.signals.request(names::QUESTIONS, payload.clone(), WITHIN).await;
            let why = match asked {
                Ok(answer) => match decode_any::<ApiReply>(&answer) {
                    // It is behind, or being started.
                    Ok(reply) if reply.status == 503 => detail_of(&self.read(reply.body).await?),
                    Ok(reply) => return self.taken(reply).await,
                    Err(error) => {
                        return Err((500, format!("the API's answer can't be read: {error}")));
                    }
                },
                Err(RequestError::NoResponder { .. }) => {
                    "nobody serves the API (`dagbok standalone`, `dagbok ui`)".to_owned()
                }
                Err(error) => error.to_string(),
            };
            if tokio::time::Instant::now() >= until {
                break why;
            }
            if backoff.is_worth_telling() {
                tracing::warn!(key = %self.key, why, "a task's question has no answer; asking again");
            }
            backoff.pause().await;
        };
        Err((503, format!("what the task asks is answered by the API, and {why}")))
    }

    async fn taken(&self, reply: ApiReply) -> Result<Value, Unanswered> {
        let body = self.read(reply.body).await?;
        if (200..300).contains(&reply.status) {
            return Ok(body);
        }
        Err((reply.status, detail_of(&body)))
    }

    async fn read(&self, body: Payload) -> Result<Value, Unanswered> {
        let text = match body {
            Payload::Inline(text) => text.into(),
            Payload::Blob { digest, .. } => {
                self.store.get(digest.as_str()).await.map_err(|why| (500, why))?
            }
        };
        serde_json::from_slice(&text)
            .map_err(|error| (500, format!("the API's answer is no JSON: {error}")))
    }
}

fn none_of(found: Result<Value, Unanswered>) -> Result<Option<Value>, Unanswered> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err((404, _)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn detail_of(body: &Value) -> String {
    match body.get("detail") {
        Some(Value::String(text)) => text.clone(),
        Some(detail) => detail.to_string(),
        None => body.to_string(),
    }
}
