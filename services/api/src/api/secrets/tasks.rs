//! What tasks ask about variables and connections, over signals: sealed both ways (`dagbok_secrets::wire`).
use axum::http::StatusCode;
use dagbok_events::{Actor, ConnId, VariableKey};
use dagbok_protocol::{SealedQuestion, SecretAsk, SecretChange};
use dagbok_runlog::digest_of;
use dagbok_secrets::{ConnectionFields, KeyFileError, Ring};
use serde_json::{Value, json};

use super::open::{
    NewVariable, change, connection, key_file, masters, no_key, ring_to_write, set_variable,
    variable,
};
use crate::api::{errors::ApiError, extract::Caller, state::ApiState};

/// An answer: its HTTP status, and a body.
type Reply = (u16, Value);

fn told(error: ApiError) -> Reply {
    let (status, detail) = error.parts();
    (status.as_u16(), json!({ "detail": detail }))
}

/// The public half of the key that questions are sealed for; 404 where there is none yet, and so nothing to ask for.
pub(crate) async fn public_key(state: &ApiState, make: bool) -> Reply {
    match ring_for(state, make).await {
        Ok(Some(ring)) => (200, json!(ring.current().public())),
        Ok(None) => (404, json!({ "detail": "there are no variables and connections yet" })),
        Err(error) => told(error),
    }
}

async fn ring_for(state: &ApiState, make: bool) -> Result<Option<Ring>, ApiError> {
    if make {
        return ring_to_write(state).await.map(Some);
    }
    match key_file(state)?.load() {
        Err(KeyFileError::Missing(_) | KeyFileError::NamedMissing(_))
            if state.read(masters).await?.is_empty() =>
        {
            Ok(None)
        }
        loaded => Ok(loaded.map(Some)?),
    }
}

/// Answers a question, sealed for whoever asked it.
pub(crate) async fn answer(state: &ApiState, by: String, question: &SealedQuestion) -> Reply {
    let ring = match key_file(state).and_then(|file| Ok(file.load()?)) {
        Ok(ring) => ring,
        Err(error) => return told(error),
    };
    let Some((asked, answering)) = ring.find(&question.master).and_then(|key| key.asked(question))
    else {
        let why = "the question is sealed for another master key; ask for the one in use";
        return (StatusCode::GONE.as_u16(), json!({ "detail": why }));
    };
    // The same question again is the same command.
    let key = Some(digest_of(question.sealed.as_bytes()));
    let caller = Caller { by: Actor::Token(by), trace: None, key };
    match answered(state, caller, asked).await {
        Ok(body) => (200, json!({ "sealed": answering.seal(body.to_string().as_bytes()) })),
        Err(error) => told(error),
    }
}

async fn answered(state: &ApiState, caller: Caller, asked: SecretAsk) -> Result<Value, ApiError> {
    match asked {
        SecretAsk::GetVariable { key } => {
            let found = match VariableKey::new(key) {
                Ok(key) => variable(state, key).await?,
                Err(_) => None,
            };
            Ok(json!({ "value": found.map(|(_, value)| value.to_string()) }))
        }
        SecretAsk::GetConnection { conn_id } => {
            let found = match ConnId::new(conn_id) {
                Ok(conn_id) => connection(state, conn_id).await?,
                Err(_) => None,
            };
            let Some((row, fields)) = found else { return Ok(json!({ "found": false })) };
            let ConnectionFields { host, login, password, schema, port, extra } = fields;
            Ok(json!({
                "found": true, "conn_type": row.conn_type, "description": row.description,
                "host": host, "login": login, "password": password, "schema": schema,
                "port": port, "extra": extra,
            }))
        }
        SecretAsk::SetVariable { key, value, description } => {
            let key = VariableKey::new(key).map_err(|error| no_key(&error))?;
            let description = description.map(Some);
            let new = NewVariable {
                key,
                value: &value,
                description,
                only: None,
                sent: zeroize::Zeroizing::default(),
            };
            match set_variable(state, caller, new).await {
                // Decided, and not to be read yet: a task has no more to do than where it can be.
                Ok(()) | Err(ApiError::Accepted(_)) => Ok(json!({})),
                Err(error) => Err(error),
            }
        }
        SecretAsk::DeleteVariable { key } => {
            let Ok(key) = VariableKey::new(key) else { return Ok(json!({ "deleted": 0 })) };
            match change(state, caller, SecretChange::DeleteVariable { key }).await {
                Ok(()) | Err(ApiError::Accepted(_)) => Ok(json!({ "deleted": 1 })),
                Err(ApiError::NotFound(_)) => Ok(json!({ "deleted": 0 })),
                Err(error) => Err(error),
            }
        }
    }
}
