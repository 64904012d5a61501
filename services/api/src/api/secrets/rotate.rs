//! Another master key: the keys of values that hold are wrapped anew, and the master keys before are destroyed. With
//! them goes all that was deleted or overwritten: the log keeps it, and nobody can read it any more.
use std::collections::BTreeSet;

use axum::{Json, extract::State};
use dagbok_events::{Rewrapped, Sealed, SecretsRewrapped};
use dagbok_protocol::{SecretChange, limits::REWRAPPED_AT_ONCE};
use dagbok_secrets::{Entry, KeyFile, KeyFileError, Ring};

use super::open::{Masters as _, change, key_file, masters, no_key, read_with_ring};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody},
        state::ApiState,
    },
    model::{
        Store,
        rows::{ConnectionRow, VariableRow},
    },
    shapes::{Detail, RotateSecrets, RotatedSecrets},
};

/// How often what was set meanwhile by a key before is wrapped anew.
const ROUNDS: usize = 10;

/// Exchanges the master key of variables and connections. Of a key file that is not ours to write (`secrets.key_file`)
/// the first key is taken: add one before the others, ask for this, and take the others away after it.
#[utoipa::path(post, path = "/api/v2/dagbok/secrets/rotate", tag = "Dagbok", request_body = RotateSecrets, responses(
    (status = 200, body = RotatedSecrets), (status = 202, body = Detail), (status = 409, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<RotateSecrets>,
) -> Result<Json<RotatedSecrets>, ApiError> {
    let caller = Caller { key: None, ..caller };
    let file = key_file(&state)?.clone();
    let _alone = state.sealing.write().await;
    let forgotten = lost(&state, &file, &caller, body.forget_lost).await?;
    let ring = if file.is_named() { file.load()? } else { file.add()? };
    retire(&state, &caller, &ring).await?;
    let mut rewrapped = 0;
    for _ in 0..ROUNDS {
        let keys = state.read({
            let ring = ring.clone();
            move |store| outdated(store, &ring)
        });
        let keys = keys.await?;
        if keys.is_empty() {
            let master = ring.current().id().to_owned();
            let old_keys_destroyed = !file.is_named();
            if old_keys_destroyed {
                file.keep_only(&master)?;
            }
            let done = RotatedSecrets { master, rewrapped, forgotten, old_keys_destroyed };
            return Ok(Json(done));
        }
        rewrapped += keys.len();
        for keys in keys.chunks(REWRAPPED_AT_ONCE) {
            let master = ring.current().id().to_owned();
            let wrap = SecretsRewrapped { master, keys: keys.to_vec(), retires: Vec::new() };
            change(&state, caller.clone(), SecretChange::Rewrap(wrap)).await?;
        }
    }
    let why = "variables or connections are set by an older key again and again: another service that serves the \
               API reads another key file, or an older copy of this one; both keys are kept";
    Err(no_key(&why))
}

/// Has nothing be set by the keys before from here on: what is on its way, or sealed elsewhere, would be lost with them.
async fn retire(state: &ApiState, caller: &Caller, ring: &Ring) -> Result<(), ApiError> {
    let master = ring.current().id().to_owned();
    let used = state.read(masters).await?;
    let all: BTreeSet<String> = ring.ids().map(str::to_owned).chain(used.into_keys()).collect();
    let retires = all.into_iter().filter(|id| *id != master).collect();
    let fence = SecretsRewrapped { master, keys: Vec::new(), retires };
    change(state, caller.clone(), SecretChange::Rewrap(fence)).await
}

/// Lets go of what nobody can read, where that is asked for; else tells of it.
async fn lost(
    state: &ApiState,
    file: &KeyFile,
    caller: &Caller,
    forget: bool,
) -> Result<Vec<String>, ApiError> {
    // What another service has wrapped anew a moment ago is not lost.
    let read = |store: &Store| Ok((store.variables()?, store.connections()?));
    let (ring, rows) = read_with_ring(state, read).await?;
    let ring = match ring {
        Ok(ring) => Some(ring),
        Err(KeyFileError::Missing(_)) if forget || rows.masters().is_empty() => None,
        Err(error) => return Err(error.into()),
    };
    let gone = unreadable(rows, ring.as_ref());
    if let (Some((name, _)), false) = (gone.first(), forget) {
        return Err(no_key(&format!(
            "{} can't be read: its master key is not in the key file `{}`; put that key back, or let go of what \
             nobody can read: `dagbok secrets rotate --forget-lost`",
            name,
            file.path().display()
        )));
    }
    let mut names = Vec::new();
    for (name, delete) in gone {
        change(state, caller.clone(), delete).await?;
        names.push(name);
    }
    Ok(names)
}

/// What no key of the ring opens, and how to let it go.
fn unreadable(
    (variables, connections): (Vec<VariableRow>, Vec<ConnectionRow>),
    ring: Option<&Ring>,
) -> Vec<(String, SecretChange)> {
    let gone = |sealed: &Sealed| ring.is_none_or(|ring| ring.find(&sealed.master).is_none());
    let variables = variables.into_iter().filter(|row| gone(&row.sealed)).map(|row| {
        let name = Entry::Variable(&row.key).to_string();
        (name, SecretChange::DeleteVariable { key: row.key })
    });
    let connections = connections.into_iter().filter(|row| gone(&row.sealed)).map(|row| {
        let name = Entry::Connection(&row.conn_id).to_string();
        (name, SecretChange::DeleteConnection { conn_id: row.conn_id })
    });
    variables.chain(connections).collect()
}

/// The keys that another master key wraps than the one in use, wrapped by that.
fn outdated(store: &Store, ring: &Ring) -> Result<Vec<Rewrapped>, ApiError> {
    let new = ring.current();
    let wrap = |entry: Entry<'_>, sealed: &Sealed| {
        let before = ring.find(&sealed.master).filter(|key| key.id() != new.id())?;
        Some(new.rewrap(before, entry, sealed))
    };
    let (variables, connections) = (store.variables()?, store.connections()?);
    let variables = variables.iter().filter_map(|row| wrap(Entry::Variable(&row.key), &row.sealed));
    let connections =
        connections.iter().filter_map(|row| wrap(Entry::Connection(&row.conn_id), &row.sealed));
    Ok(variables.chain(connections).collect::<Result<_, _>>()?)
}
