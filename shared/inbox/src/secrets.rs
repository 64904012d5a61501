//! What tasks, and files that are read, ask about variables and connections, in the words of Airflow's task runner. The
//! question leaves this process sealed for whoever holds the master key, and so does its answer: no broker sees a value.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_events::{Payload, decode_any, encode_any};
use dagbok_protocol::{ApiQuestion, ApiReply, Asked, SecretAsk, names};
use dagbok_runlog::{RequestError, Signals};
use dagbok_runtime::Backoff;
use dagbok_secrets::wire::{self, PublicKey};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// How long one question may take to be answered: what the API gives itself, and the way there and back.
const WITHIN: Duration = Duration::from_secs(35);

/// An answer: a body, or an error with its code.
pub type SecretReply = Result<Value, (&'static str, String)>;

/// An answer that is none: its HTTP status, and why.
type Unanswered = (u16, String);

/// Asks about variables and connections.
#[derive(Debug)]
pub struct SecretsClient {
    signals: Arc<dyn Signals>,
    by: String,
    seen: u64,
    patience: Duration,
    /// What questions are sealed for, once that was asked.
    key: Option<PublicKey>,
}

#[derive(Deserialize)]
struct OfVariable {
    key: String,
}

#[derive(Deserialize)]
struct OfConnection {
    conn_id: String,
}

#[derive(Deserialize)]
struct PutVariable {
    key: String,
    value: Value,
    #[serde(default)]
    description: Option<String>,
}

impl SecretsClient {
    /// In the name of `by`, of rows that hold the record `seen` at least; while nobody answers, it is asked again for as
    /// long as `patience`.
    pub fn new(signals: Arc<dyn Signals>, by: String, seen: u64, patience: Duration) -> Self {
        Self { signals, by, seen, patience, key: None }
    }

    /// Answers a request of this kind; `None` where it is none about variables and connections.
    pub async fn answer(&mut self, kind: &str, body: &Map<String, Value>) -> Option<SecretReply> {
        Some(match kind {
            "GetVariable" => match fields::<OfVariable>(body) {
                Ok(asked) => variable(self, asked.key).await,
                Err(error) => Err(error),
            },
            "GetConnection" => match fields::<OfConnection>(body) {
                Ok(asked) => connection(self, asked.conn_id).await,
                Err(error) => Err(error),
            },
            "PutVariable" => match fields::<PutVariable>(body) {
                Ok(asked) => put(self, asked).await,
                Err(error) => Err(error),
            },
            "DeleteVariable" => match fields::<OfVariable>(body) {
                Ok(asked) => delete(self, asked.key).await,
                Err(error) => Err(error),
            },
            _ => return None,
        })
    }

    async fn ask(&self, asked: Asked) -> Result<Value, Unanswered> {
        let question = ApiQuestion { seen: self.seen, by: self.by.clone(), asked };
        let payload = Bytes::from(encode_any(&question));
        let mut backoff = Backoff::default();
        let until = tokio::time::Instant::now() + self.patience;
        let why = loop {
            let asked = self.signals.request(names::QUESTIONS, payload.clone(), WITHIN).await;
            let why = match asked {
                Ok(answer) => match decode_any::<ApiReply>(&answer).map(taken) {
                    // It is behind, or being started.
                    Ok(Err((503, why))) => why,
                    Ok(answer) => return answer,
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
                tracing::warn!(
                    by = self.by,
                    why,
                    "a question about variables or connections has no answer; asking again"
                );
            }
            backoff.pause().await;
        };
        Err((503, format!("variables and connections of the log are had from the API, and {why}")))
    }
}

fn taken(reply: ApiReply) -> Result<Value, Unanswered> {
    let Payload::Inline(text) = reply.body else {
        return Err((500, "the API's answer is none".to_owned()));
    };
    let body: Value =
        serde_json::from_str(&text).map_err(|_| (500, "the API's answer is no JSON".to_owned()))?;
    if (200..300).contains(&reply.status) {
        return Ok(body);
    }
    let detail = body["detail"].as_str().map_or_else(|| body["detail"].to_string(), str::to_owned);
    Err((reply.status, detail))
}

fn found(answer: Result<Value, Unanswered>) -> Result<Option<Value>, Unanswered> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err((404, _)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Without what was sent: that may be a secret.
fn fields<T: DeserializeOwned>(body: &Map<String, Value>) -> Result<T, (&'static str, String)> {
    serde_json::from_value(Value::Object(body.clone())).map_err(|_| {
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        ("GENERIC_ERROR", format!("the fields of {kind} are not what they must be"))
    })
}

fn told((_, why): Unanswered) -> (&'static str, String) {
    ("GENERIC_ERROR", why)
}

async fn variable(api: &mut SecretsClient, key: String) -> SecretReply {
    let missing = || ("VARIABLE_NOT_FOUND", format!("there is no variable `{key}`"));
    let found = ask(api, SecretAsk::GetVariable { key: key.clone() }, false).await.map_err(told)?;
    match found.map(|mut found| found["value"].take()) {
        Some(Value::String(value)) => {
            Ok(json!({"type": "VariableResult", "key": key, "value": value}))
        }
        _ => Err(missing()),
    }
}

async fn connection(api: &mut SecretsClient, conn_id: String) -> SecretReply {
    let asked = SecretAsk::GetConnection { conn_id: conn_id.clone() };
    match ask(api, asked, false).await.map_err(told)? {
        Some(mut found) if found["found"] == true => {
            found["type"] = "ConnectionResult".into();
            found["conn_id"] = conn_id.into();
            Ok(found)
        }
        _ => Err(("CONNECTION_NOT_FOUND", format!("there is no connection `{conn_id}`"))),
    }
}

async fn put(api: &mut SecretsClient, asked: PutVariable) -> SecretReply {
    let PutVariable { key, value, description } = asked;
    let value = match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let asked = SecretAsk::SetVariable { key, value, description };
    ask(api, asked, true).await.map_err(told)?;
    Ok(json!({"type": "OKResponse", "ok": true}))
}

async fn delete(api: &mut SecretsClient, key: String) -> SecretReply {
    let found = ask(api, SecretAsk::DeleteVariable { key }, false).await.map_err(told)?;
    let deleted = found.map_or(Value::from(0), |mut found| found["deleted"].take());
    Ok(json!({"type": "OKResponse", "ok": true, "deleted": deleted}))
}

/// Asks, sealed; nothing where there is no master key yet and none is to be made: then there is nothing to find.
async fn ask(
    api: &mut SecretsClient,
    asked: SecretAsk,
    make: bool,
) -> Result<Option<Value>, Unanswered> {
    const GONE: u16 = 410;
    let mut again = true;
    loop {
        let key = match api.key.clone() {
            Some(key) => key,
            None => match found(api.ask(Asked::SecretsKey { make }).await)? {
                None => return Ok(None),
                Some(key) => api.key.insert(public(key)?).clone(),
            },
        };
        let (question, answering) = wire::ask(&key, &asked)
            .ok_or_else(|| (500, "the API named no key to seal a question for".to_owned()))?;
        match api.ask(Asked::Secret(question)).await {
            Ok(answer) => {
                let sealed = answer["sealed"].as_str().unwrap_or_default();
                let plain = answering.open(sealed).ok_or_else(|| {
                    (500, "the answer is not by whoever holds the master key".to_owned())
                })?;
                let read = serde_json::from_slice(&plain);
                return read.map(Some).map_err(|_| (500, "the answer is no JSON".to_owned()));
            }
            // The key was exchanged meanwhile.
            Err((GONE, _)) if again => {
                api.key = None;
                again = false;
            }
            Err(error) => return Err(error),
        }
    }
}

fn public(key: Value) -> Result<PublicKey, Unanswered> {
    serde_json::from_value(key).map_err(|error| (500, format!("the API's key is none: {error}")))
}
