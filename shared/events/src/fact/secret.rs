//! Facts about variables and connections. What they hold is sealed: no fact has a value, or anything drawn from one
//! but its length, to the next 64 bytes.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConnId, VariableKey};

/// What a variable or a connection holds, encrypted by a key of its own, which a master key wraps. Without that master
/// key, which is in no log, nobody can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// A name drawn by lot for this one value: a change names which value it replaces.
    pub id: String,
    /// The id of the master key that wraps the key. It tells nothing of the key itself.
    pub master: String,
    /// The value's own key, encrypted by the master key: nonce and ciphertext in Base64.
    pub key: String,
    /// The value, encrypted by its own key: nonce and ciphertext in Base64.
    pub value: String,
}

/// See [`crate::Fact::VariableSet`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariableSet {
    /// Key of the variable, unique in the namespace.
    pub key: VariableKey,
    /// What it is for, in somebody's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value: the text, as JSON.
    pub sealed: Sealed,
}

/// See [`crate::Fact::VariableDeleted`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariableDeleted {
    /// Key of the variable, unique in the namespace.
    pub key: VariableKey,
}

/// See [`crate::Fact::ConnectionSet`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionSet {
    /// Id of the connection, unique in the namespace.
    pub conn_id: ConnId,
    /// Its type, by which a hook is found: `postgres`, `http`.
    pub conn_type: String,
    /// What it is for, in somebody's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All else: a JSON object of `host`, `login`, `password`, `schema`, `port` and `extra`.
    pub sealed: Sealed,
}

/// See [`crate::Fact::ConnectionDeleted`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionDeleted {
    /// Id of the connection, unique in the namespace.
    pub conn_id: ConnId,
}

/// See [`crate::Fact::SecretsRewrapped`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretsRewrapped {
    /// The id of the master key that wraps the keys from now on.
    pub master: String,
    /// Keys of values that hold still; those of all others stay as they were.
    pub keys: Vec<Rewrapped>,
    /// Ids of master keys by which nothing is set any more: what comes later and is encrypted by one is refused, so that
    /// they can be destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retires: Vec<String>,
}

/// The key of one value, wrapped anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rewrapped {
    /// Which value: [`Sealed::id`].
    pub id: String,
    /// Its key, encrypted by the master key: nonce and ciphertext in Base64.
    pub key: String,
}
