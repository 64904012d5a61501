//! Variables and connections set and deleted, and their keys wrapped anew. The rules see no value: what comes is sealed.
use dagbok_events::{
    ConnId, ConnectionDeleted, ConnectionSet, Fact, Scope, Sealed, SecretsRewrapped, Timestamp,
    VariableDeleted, VariableKey, VariableSet,
};
use dagbok_protocol::{
    Command, RefusalCode, SecretChange, SecretIs,
    limits::{DESCRIPTION_BYTES, SECRET_BYTES},
};

use crate::namespace::{
    Decision, Namespace, accepted, answering, refuse, retired::Retired, unchanged,
};

/// What is sealed may be longer: it is filled up, and in Base64.
const SEALED_BYTES: usize = SECRET_BYTES * 3 / 2;
/// A connection's type.
const TYPE_BYTES: usize = 500;

/// A refusal: what for, and why.
type Refused = (RefusalCode, String);

impl Namespace {
    /// Sets or deletes one.
    pub(super) fn change_secret(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &SecretChange,
    ) -> Decision {
        let fact = match ask {
            SecretChange::SetVariable { set, only } => self.set_variable(set, only.as_ref()),
            SecretChange::DeleteVariable { key } => self.delete_variable(key),
            SecretChange::SetConnection { set, only } => self.set_connection(set, only.as_ref()),
            SecretChange::DeleteConnection { conn_id } => self.delete_connection(conn_id),
            SecretChange::Rewrap(rewrapped) => match self.rewrap(rewrapped) {
                Ok(None) => return unchanged(),
                Ok(Some(fact)) => Ok(fact),
                Err(refused) => Err(refused),
            },
        };
        match fact {
            Ok(fact) => accepted(vec![answering(command, at, Scope::Namespace, vec![fact])]),
            Err((code, why)) => refuse(code, why),
        }
    }

    fn set_variable(&self, set: &VariableSet, only: Option<&SecretIs>) -> Result<Fact, Refused> {
        let standing = self.variables.get(&set.key);
        let what = format!("variable `{}`", set.key);
        check(&what, standing.map(String::as_str), only)?;
        check_sizes(&what, set.description.as_deref(), &set.sealed)?;
        self.check_key(&set.sealed.master)?;
        Ok(Fact::VariableSet(Box::new(set.clone())))
    }

    fn delete_variable(&self, key: &VariableKey) -> Result<Fact, Refused> {
        if self.variables.contains_key(key) {
            return Ok(Fact::VariableDeleted(VariableDeleted { key: key.clone() }));
        }
        Err((RefusalCode::SecretNotFound, format!("there is no variable `{key}`")))
    }

    fn set_connection(
        &self,
        set: &ConnectionSet,
        only: Option<&SecretIs>,
    ) -> Result<Fact, Refused> {
        let standing = self.connections.get(&set.conn_id);
        let what = format!("connection `{}`", set.conn_id);
        check(&what, standing.map(String::as_str), only)?;
        check_sizes(&what, set.description.as_deref(), &set.sealed)?;
        self.check_key(&set.sealed.master)?;
        if set.conn_type.len() > TYPE_BYTES {
            let why = format!("the type of {what} has more than {TYPE_BYTES} bytes");
            return Err((RefusalCode::Invalid, why));
        }
        Ok(Fact::ConnectionSet(Box::new(set.clone())))
    }

    fn delete_connection(&self, conn_id: &ConnId) -> Result<Fact, Refused> {
        if self.connections.contains_key(conn_id) {
            let conn_id = conn_id.clone();
            return Ok(Fact::ConnectionDeleted(ConnectionDeleted { conn_id }));
        }
        Err((RefusalCode::SecretNotFound, format!("there is no connection `{conn_id}`")))
    }

    /// What was on its way when its key was exchanged would be lost with that key.
    fn check_key(&self, master: &str) -> Result<(), Refused> {
        if !self.retired.has(master) {
            return Ok(());
        }
        let why = format!(
            "the value is encrypted by the master key {master}, which has been exchanged; ask again, of a service that \
             has the newer key file"
        );
        Err((RefusalCode::SecretKeyRetired, why))
    }

    /// The keys of values that hold; `None` where nothing would change.
    fn rewrap(&self, asked: &SecretsRewrapped) -> Result<Option<Fact>, Refused> {
        if asked.retires.len() > Retired::AT_ONCE {
            let why =
                format!("more than {} master keys can't be retired at once", Retired::AT_ONCE);
            return Err((RefusalCode::Invalid, why));
        }
        let holds: std::collections::BTreeSet<&String> =
            self.variables.values().chain(self.connections.values()).collect();
        let keys: Vec<_> =
            asked.keys.iter().filter(|key| holds.contains(&key.id)).cloned().collect();
        let master = asked.master.clone();
        // Whoever retires others takes this one into use, again too.
        if asked.retires.is_empty() {
            self.check_key(&master)?;
        }
        let retires = self.retired.anew(asked);
        let is_new = !keys.is_empty() || !retires.is_empty() || self.retired.has(&master);
        Ok(is_new.then_some(Fact::SecretsRewrapped(SecretsRewrapped { master, keys, retires })))
    }
}

/// Holds how one stands against how it must; `standing` is the id of its value.
fn check(what: &str, standing: Option<&str>, only: Option<&SecretIs>) -> Result<(), Refused> {
    match (only, standing) {
        (Some(SecretIs::Missing), Some(_)) => {
            Err((RefusalCode::SecretAlreadyExists, format!("there is a {what} already")))
        }
        (Some(SecretIs::There | SecretIs::Value(_)), None) => {
            Err((RefusalCode::SecretNotFound, format!("there is no {what}")))
        }
        (Some(SecretIs::Value(id)), Some(standing)) if id != standing => {
            let why = format!("the {what} has been changed meanwhile; look at it and ask again");
            Err((RefusalCode::SecretChanged, why))
        }
        _ => Ok(()),
    }
}

fn check_sizes(what: &str, description: Option<&str>, sealed: &Sealed) -> Result<(), Refused> {
    let bytes = sealed.value.len();
    if bytes > SEALED_BYTES {
        let why = format!("what {what} holds is too large: at most {SECRET_BYTES} bytes are kept");
        return Err((RefusalCode::Invalid, why));
    }
    match description.map(str::len) {
        Some(bytes) if bytes > DESCRIPTION_BYTES => {
            let why = format!(
                "the description of {what} has {bytes} bytes, at most {DESCRIPTION_BYTES} are kept"
            );
            Err((RefusalCode::Invalid, why))
        }
        _ => Ok(()),
    }
}
