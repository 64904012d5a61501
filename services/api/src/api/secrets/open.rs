//! Opening what is sealed, and sealing what is set.
use std::collections::BTreeMap;

use dagbok_events::{ConnId, ConnectionSet, VariableKey, VariableSet};
use dagbok_protocol::{CommandBody, SecretChange, SecretIs, limits::SECRET_BYTES};
use dagbok_secrets::{ConnectionFields, Entry, KeyFile, KeyFileError, MasterKey, OpenError, Ring};
use serde::Serialize;
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

/// How often a key that has been exchanged meanwhile is looked for.
const LOOKS: u32 = 5;

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

/// What is encrypted by master keys.
pub(super) trait Masters {
    /// Their ids.
    fn masters(&self) -> Vec<&str>;
}

impl Masters for BTreeMap<String, usize> {
    fn masters(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

impl Masters for VariableRow {
    fn masters(&self) -> Vec<&str> {
        vec![&self.sealed.master]
    }
}

impl Masters for ConnectionRow {
    fn masters(&self) -> Vec<&str> {
        vec![&self.sealed.master]
    }
}

impl<T: Masters> Masters for Option<T> {
    fn masters(&self) -> Vec<&str> {
        self.iter().flat_map(Masters::masters).collect()
    }
}

impl<A: Masters, B: Masters> Masters for (A, B) {
    fn masters(&self) -> Vec<&str> {
        [self.0.masters(), self.1.masters()].concat()
    }
}

impl<T: Masters> Masters for Vec<T> {
    fn masters(&self) -> Vec<&str> {
        self.iter().flat_map(Masters::masters).collect()
    }
}

/// Reads rows, and the keys to open them by. Where a key is missing both are looked at again, with rows as new as the log:
/// it may have been exchanged a moment ago.
pub(super) async fn read_with_ring<T: Masters + Send + 'static>(
    state: &ApiState,
    read: impl Fn(&Store) -> Result<T, ApiError> + Clone + Send + 'static,
) -> Result<(Result<Ring, KeyFileError>, T), ApiError> {
    let file = key_file(state)?;
    let mut looks = LOOKS;
    loop {
        let rows = state.read(read.clone()).await?;
        let ring = file.load();
        let lacks = |ring: &Ring| rows.masters().into_iter().any(|id| ring.find(id).is_none());
        let is_behind = ring.as_ref().is_ok_and(lacks);
        looks -= 1;
        if !is_behind || looks == 0 {
            return Ok((ring, rows));
        }
        if let Ok(last) = state.ports.log.last().await {
            state.model.progress().wait_for(last, state.patience.model).await;
        }
    }
}

/// The master keys, to write by. The first is made where nothing is encrypted yet; none is where that would part what
/// is there from its key.
pub(super) async fn ring_to_write(state: &ApiState) -> Result<Ring, ApiError> {
    let file = key_file(state)?;
    let (ring, used) = read_with_ring(state, masters).await?;
    let ring = match ring {
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
    let read = move |store: &Store| Ok(store.variable(&key)?);
    let (ring, row) = read_with_ring(state, read).await?;
    let Some(row) = row else { return Ok(None) };
    let value = ring?.open(Entry::Variable(&row.key), &row.sealed).map(Zeroizing::new)?;
    Ok(Some((row, value)))
}

/// A connection's row and its fields.
pub(super) async fn connection(
    state: &ApiState,
    conn_id: ConnId,
) -> Result<Option<(ConnectionRow, ConnectionFields)>, ApiError> {
    let read = move |store: &Store| Ok(store.connection(&conn_id)?);
    let (ring, row) = read_with_ring(state, read).await?;
    let Some(row) = row else { return Ok(None) };
    let fields = ring?.open(Entry::Connection(&row.conn_id), &row.sealed)?;
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
    /// What was asked for, as it was: the same again under one key is the same request.
    pub(super) sent: Zeroizing<Vec<u8>>,
}

/// Sets a variable.
pub(super) async fn set_variable(
    state: &ApiState,
    caller: Caller,
    new: NewVariable<'_>,
) -> Result<(), ApiError> {
    let NewVariable { key, value, description, only, sent } = new;
    fits(&value)?;
    let _sealing = state.sealing.read().await;
    let description = if let Some(description) = description {
        description.filter(|text| !text.is_empty())
    } else {
        let name = key.clone();
        let before = state.read(move |store| Ok(store.variable(&name)?)).await?;
        before.and_then(|row| row.description)
    };
    sealed(state, caller, &sent, |master| {
        let sealed = master.seal(Entry::Variable(&key), &value);
        let set = VariableSet { key: key.clone(), description: description.clone(), sealed };
        SecretChange::SetVariable { set, only: only.clone() }
    })
    .await
}

/// A connection as it is to be.
pub(super) struct NewConnection {
    pub(super) conn_id: ConnId,
    pub(super) conn_type: String,
    pub(super) description: Option<String>,
    pub(super) fields: ConnectionFields,
    pub(super) only: Option<SecretIs>,
    /// What was asked for, as it was.
    pub(super) sent: Zeroizing<Vec<u8>>,
}

/// Sets a connection.
pub(super) async fn set_connection(
    state: &ApiState,
    caller: Caller,
    new: NewConnection,
) -> Result<(), ApiError> {
    let NewConnection { conn_id, conn_type, description, fields, only, sent } = new;
    fits(&fields)?;
    let _sealing = state.sealing.read().await;
    let description = description.filter(|text| !text.is_empty());
    sealed(state, caller, &sent, |master| {
        let sealed = master.seal(Entry::Connection(&conn_id), &fields);
        let (conn_id, conn_type) = (conn_id.clone(), conn_type.clone());
        let set = ConnectionSet { conn_id, conn_type, description: description.clone(), sealed };
        SecretChange::SetConnection { set, only: only.clone() }
    })
    .await
}

/// Holds what is to be sealed against its limit, as JSON: that is what is kept.
fn fits(value: &impl Serialize) -> Result<(), ApiError> {
    let bytes = as_json(value).len();
    if bytes <= SECRET_BYTES {
        return Ok(());
    }
    Err(ApiError::TooLarge(format!(
        "{bytes} bytes as JSON are too many: a variable or a connection may hold {SECRET_BYTES}"
    )))
}

/// As JSON, wiped when it goes.
pub(super) fn as_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(value).expect("texts and numbers have a form"))
}

/// Seals and sends; again, where the key has been exchanged meanwhile. `sent` is all that is asked for: the same key of a
/// request with something else in it is another request.
async fn sealed(
    state: &ApiState,
    caller: Caller,
    sent: &[u8],
    make: impl Fn(&MasterKey) -> SecretChange,
) -> Result<(), ApiError> {
    let mut looks = LOOKS;
    loop {
        let ring = ring_to_write(state).await?;
        let master = ring.current();
        let mut caller = caller.clone();
        if let Some(key) = &mut caller.key {
            let told = master.fingerprint(b"request", sent);
            *key = format!("{told} {key}");
        }
        match change(state, caller, make(master)).await {
            Err(ApiError::KeyRetired(_)) if looks > 1 => looks -= 1,
            done => return done,
        }
    }
}

/// Has the scheduler decide.
pub(super) async fn change(
    state: &ApiState,
    caller: Caller,
    change: SecretChange,
) -> Result<(), ApiError> {
    tell(state, caller, None, CommandBody::ChangeSecret(Box::new(change))).await.map(drop)
}
