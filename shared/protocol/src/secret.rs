//! Variables and connections: how they are changed, and what tasks ask about them. No command has a value in clear, and
//! neither has a question: both come sealed.
use dagbok_events::{ConnId, ConnectionSet, SecretsRewrapped, VariableKey, VariableSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks for a variable or a connection to be so from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretChange {
    /// Give a variable a value.
    SetVariable {
        /// What is to be set.
        set: VariableSet,
        /// Refused unless this is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<SecretIs>,
    },
    /// Let a variable be gone.
    DeleteVariable {
        /// Key of the variable, unique in the namespace.
        key: VariableKey,
    },
    /// Make a connection, or another one of it.
    SetConnection {
        /// What is to be set.
        set: ConnectionSet,
        /// Refused unless this is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<SecretIs>,
    },
    /// Let a connection be gone.
    DeleteConnection {
        /// Id of the connection, unique in the namespace.
        conn_id: ConnId,
    },
    /// Wrap keys of values by another master key. Those of values that hold no more are left out.
    Rewrap(SecretsRewrapped),
}

impl SecretChange {
    /// Whether it has a value, which is encrypted anew each time that somebody asks for the same.
    pub const fn is_sealed(&self) -> bool {
        matches!(self, Self::SetVariable { .. } | Self::SetConnection { .. })
    }
}

/// How a variable or a connection stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretIs {
    /// There is none.
    Missing,
    /// There is one.
    There,
    /// It has the value of this id, and no newer one.
    Value(String),
}

/// What a task asks about variables and connections, as the question has it: only who holds the master key can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedQuestion {
    /// The id of the master key that it is sealed for.
    pub master: String,
    /// Half of the key that it is sealed by, made for this one question, in Base64.
    pub half: String,
    /// A [`SecretAsk`], encrypted: in Base64.
    pub sealed: String,
}

/// What a task asks about variables and connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretAsk {
    /// A variable's value.
    GetVariable {
        /// Key of the variable, unique in the namespace.
        key: String,
    },
    /// A connection, whole.
    GetConnection {
        /// Id of the connection, unique in the namespace.
        conn_id: String,
    },
    /// Give a variable a value.
    SetVariable {
        /// Key of the variable, unique in the namespace.
        key: String,
        /// The value.
        value: String,
        /// What it is for, in somebody's words; as it was where not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// Let a variable be gone.
    DeleteVariable {
        /// Key of the variable, unique in the namespace.
        key: String,
    },
}
