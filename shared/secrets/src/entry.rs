//! What is sealed: a variable's text, or a connection's fields.
use std::fmt;

use dagbok_events::{ConnId, VariableKey};
use serde::{Deserialize, Serialize};

/// What a value belongs to. A sealed value opens for nothing else, so that none can be passed off as another's.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A variable.
    Variable(&'a VariableKey),
    /// A connection.
    Connection(&'a ConnId),
}

impl Entry<'_> {
    /// What its values are bound to.
    pub(crate) fn about(self, id: &str) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Variable(key) => ("variable", key.as_str()),
            Self::Connection(conn_id) => ("connection", conn_id.as_str()),
        };
        // Names have no zero byte.
        [kind, name, id].join("\0").into_bytes()
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(key) => write!(f, "variable `{key}`"),
            Self::Connection(conn_id) => write!(f, "connection `{conn_id}`"),
        }
    }
}

/// All of a connection but its id, type and description.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFields {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// By which password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The database, or what stands in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Whatever else its hook needs: a JSON object, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
}

impl fmt::Debug for ConnectionFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionFields(***)")
    }
}
