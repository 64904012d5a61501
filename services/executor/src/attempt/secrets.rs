//! What a task asks about variables and connections, in the words of Airflow's task runner. The question leaves this
//! process sealed for whoever holds the master key, and so does its answer: no broker sees a value.
use dagbok_protocol::{Asked, SecretAsk};
use dagbok_secrets::wire::{self, PublicKey};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::ask::{ApiClient, Unanswered};

/// An answer: a body, or an error with its code.
type Reply = Result<Value, (&'static str, String)>;

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

/// Answers a request of this kind; `None` where it is none about variables and connections.
pub(super) async fn answer(
    api: &mut ApiClient,
    kind: &str,
    body: &Map<String, Value>,
) -> Option<Reply> {
    Some(match kind {
        "GetVariable" => match fields::<OfVariable>(body) {
            Ok(asked) => variable(api, asked.key).await,
            Err(error) => Err(error),
        },
        "GetConnection" => match fields::<OfConnection>(body) {
            Ok(asked) => connection(api, asked.conn_id).await,
            Err(error) => Err(error),
        },
        "PutVariable" => match fields::<PutVariable>(body) {
            Ok(asked) => put(api, asked).await,
            Err(error) => Err(error),
        },
        "DeleteVariable" => match fields::<OfVariable>(body) {
            Ok(asked) => delete(api, asked.key).await,
            Err(error) => Err(error),
        },
        _ => return None,
    })
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

async fn variable(api: &mut ApiClient, key: String) -> Reply {
    let missing = || ("VARIABLE_NOT_FOUND", format!("there is no variable `{key}`"));
    let found = ask(api, SecretAsk::GetVariable { key: key.clone() }, false).await.map_err(told)?;
    match found.map(|mut found| found["value"].take()) {
        Some(Value::String(value)) => {
            Ok(json!({"type": "VariableResult", "key": key, "value": value}))
        }
        _ => Err(missing()),
    }
}

async fn connection(api: &mut ApiClient, conn_id: String) -> Reply {
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

async fn put(api: &mut ApiClient, asked: PutVariable) -> Reply {
    let PutVariable { key, value, description } = asked;
    let value = match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let asked = SecretAsk::SetVariable { key, value, description };
    ask(api, asked, true).await.map_err(told)?;
    Ok(json!({"type": "OKResponse", "ok": true}))
}

async fn delete(api: &mut ApiClient, key: String) -> Reply {
    let found = ask(api, SecretAsk::DeleteVariable { key }, false).await.map_err(told)?;
    let deleted = found.map_or(Value::from(0), |mut found| found["deleted"].take());
    Ok(json!({"type": "OKResponse", "ok": true, "deleted": deleted}))
}

/// Asks, sealed; nothing where there is no master key yet and none is to be made: then there is nothing to find.
async fn ask(
    api: &mut ApiClient,
    asked: SecretAsk,
    make: bool,
) -> Result<Option<Value>, Unanswered> {
    const GONE: u16 = 410;
    let mut again = true;
    loop {
        let key = match api.secrets_key.clone() {
            Some(key) => key,
            None => match api.find_secret(Asked::SecretsKey { make }).await? {
                None => return Ok(None),
                Some(key) => api.secrets_key.insert(public(key)?).clone(),
            },
        };
        let (question, answering) = wire::ask(&key, &asked)
            .ok_or_else(|| (500, "the API named no key to seal a question for".to_owned()))?;
        match api.secret(Asked::Secret(question)).await {
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
                api.secrets_key = None;
                again = false;
            }
            Err(error) => return Err(error),
        }
    }
}

fn public(key: Value) -> Result<PublicKey, Unanswered> {
    serde_json::from_value(key).map_err(|error| (500, format!("the API's key is none: {error}")))
}
