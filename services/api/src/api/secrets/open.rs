//! Opening what is sealed, and sealing what is set.
use std::collections::BTreeMap;

use dagbok_events::{ConnId, ConnectionSet, VariableKey, VariableSet};
use dagbok_protocol::{CommandBody, SecretChange, SecretIs, limits::SECRET_BYTES};
use dagbok_secrets::{ConnectionFields, Entry, KeyFile, KeyFileError, OpenError, Ring};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    api::{errors::ApiError, extract::Caller, state::ApiState, tell::tell},
    model::{
        Store,
        rows::{ConnectionRow, VariableRow},
    },
};

/// What to do about a lost key.
const LOST: &str = "put the key file back that has it (`secrets.key_file`); where it is destroyed, \
                    `dagbok secrets rotate --forget-lost` lets go of what nobody can read any more";

/// What can't be read, or not be written, for want of the right key: no matter of asking again.
pub(super) fn no_key(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::Conflict(Value::String(why.to_string()))
}

impl From<OpenError> for ApiError {
    fn from(error: OpenError) -> Self {
        no_key(&error)
    }
}

impl From<KeyFileError> for ApiError {
    fn from(error: KeyFileError) -> Self {
        no_key(&error)
    }
}

/// Where the master key lies.
pub(super) fn key_file(state: &ApiState) -> Result<&KeyFile, ApiError> {
    let none = || no_key(&"this service has no master key of variables and connections");
    state.secrets.get().ok_or_else(none)
}

/// The master keys, to read by.
pub(super) fn ring(state: &ApiState) -> Result<Ring, ApiError> {
    Ok(key_file(state)?.load()?)
}

/// How many values are encrypted by each master key.
pub(super) fn masters(store: &Store) -> Result<BTreeMap<String, usize>, ApiError> {
    let mut all = BTreeMap::new();
    let variables = store.variables()?.into_iter().map(|row| row.sealed.master);
    let connections = store.connections()?.into_iter().map(|row| row.sealed.master);
    for master in variables.chain(connections) {
        *all.entry(master).or_insert(0) += 1;
    }
    Ok(all)
}

/// The master keys, to write by. The first is made where nothing is encrypted yet; none is where that would part what
/// is there from its key.
pub(super) async fn ring_to_write(state: &ApiState) -> Result<Ring, ApiError> {
    let file = key_file(state)?;
    let used = state.read(masters).await?;
    let ring = match file.load() {
        Err(KeyFileError::Missing(_)) if used.is_empty() => file.make()?,
        Err(error @ (KeyFileError::Missing(_) | KeyFileError::NamedMissing(_)))
            if !used.is_empty() =>
        {
            let (master, count) = used.first_key_value().expect("it is not empty");
            return Err(no_key(&format!(
                "{error}. {count} variables and connections are encrypted by the key {master}: {LOST}"
            )));
        }
        loaded => loaded?,
    };
    match used.iter().find(|(master, _)| ring.find(master).is_none()) {
        None => Ok(ring),
        Some((master, count)) => Err(no_key(&format!(
            "the key file `{}` has the key {}, and {count} variables and connections are encrypted by {master}: {LOST}",
            file.path().display(),
            ring.current().id()
        ))),
    }
}

/// A variable's row and its value.
pub(super) async fn variable(
    state: &ApiState,
    key: VariableKey,
) -> Result<Option<(VariableRow, Zeroizing<String>)>, ApiError> {
    let found = state.read(move |store| Ok(store.variable(&key)?)).await?;
    let Some(row) = found else { return Ok(None) };
    let value = ring(state)?.open(Entry::Variable(&row.key), &row.sealed).map(Zeroizing::new)?;
    Ok(Some((row, value)))
}

/// A connection's row and its fields.
pub(super) async fn connection(
    state: &ApiState,
    conn_id: ConnId,
) -> Result<Option<(ConnectionRow, ConnectionFields)>, ApiError> {
    let found = state.read(move |store| Ok(store.connection(&conn_id)?)).await?;
    let Some(row) = found else { return Ok(None) };
    let fields = ring(state)?.open(Entry::Connection(&row.conn_id), &row.sealed)?;
    Ok(Some((row, fields)))
}

/// A variable as it is to be.
pub(super) struct NewVariable<'a> {
    pub(super) key: VariableKey,
    pub(super) value: &'a str,
    /// As it was where not said.
    #[expect(clippy::option_option, reason = "not said, or said to be none")]
    pub(super) description: Option<Option<String>>,
    pub(super) only: Option<SecretIs>,
}

/// Sets a variable.
pub(super) async fn set_variable(
    state: &ApiState,
    caller: Caller,
    new: NewVariable<'_>,
) -> Result<(), ApiError> {
    let NewVariable { key, value, description, only } = new;
    fits(value.len())?;
    let _sealing = state.sealing.read().await;
    let ring = ring_to_write(state).await?;
    let description = if let Some(description) = description {
        description.filter(|text| !text.is_empty())
    } else {
        let name = key.clone();
        let before = state.read(move |store| Ok(store.variable(&name)?)).await?;
        before.and_then(|row| row.description)
    };
    let sealed = ring.current().seal(Entry::Variable(&key), &value);
    let set = VariableSet { key, description, sealed };
    change(state, caller, SecretChange::SetVariable { set, only }).await
}

/// A connection as it is to be.
pub(super) struct NewConnection {
    pub(super) conn_id: ConnId,
    pub(super) conn_type: String,
    pub(super) description: Option<String>,
    pub(super) fields: ConnectionFields,
    pub(super) only: Option<SecretIs>,
}

/// Sets a connection.
pub(super) async fn set_connection(
    state: &ApiState,
    caller: Caller,
    new: NewConnection,
) -> Result<(), ApiError> {
    let NewConnection { conn_id, conn_type, description, fields, only } = new;
    let ConnectionFields { host, login, password, schema, port: _, extra } = &fields;
    let texts = [host, login, password, schema, extra].into_iter().flatten();
    fits(texts.map(String::len).sum())?;
    let _sealing = state.sealing.read().await;
    let ring = ring_to_write(state).await?;
    let sealed = ring.current().seal(Entry::Connection(&conn_id), &fields);
    let description = description.filter(|text| !text.is_empty());
    let set = ConnectionSet { conn_id, conn_type, description, sealed };
    change(state, caller, SecretChange::SetConnection { set, only }).await
}

fn fits(bytes: usize) -> Result<(), ApiError> {
    if bytes <= SECRET_BYTES {
        return Ok(());
    }
    Err(ApiError::TooLarge(format!(
        "{bytes} bytes are too many: a variable or a connection may hold {SECRET_BYTES}"
    )))
}

/// Has the scheduler decide.
pub(super) async fn change(
    state: &ApiState,
    caller: Caller,
    change: SecretChange,
) -> Result<(), ApiError> {
    tell(state, caller, None, CommandBody::ChangeSecret(Box::new(change))).await.map(drop)
}
