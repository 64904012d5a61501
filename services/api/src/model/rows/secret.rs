//! Rows of variables and connections. What they hold is sealed, as the log has it.
use dagbok_events::{Actor, ConnId, Sealed, Timestamp, VariableKey};
use serde::{Deserialize, Serialize};

/// A variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VariableRow {
    /// Which.
    pub key: VariableKey,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value.
    pub sealed: Sealed,
    /// When it was set last.
    pub set_at: Timestamp,
    /// By whom.
    pub set_by: Actor,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Which.
    pub conn_id: ConnId,
    /// Its type.
    pub conn_type: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All else.
    pub sealed: Sealed,
    /// When it was set last.
    pub set_at: Timestamp,
    /// By whom.
    pub set_by: Actor,
}
