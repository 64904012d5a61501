//! Variables and connections.
use dagbok_events::Sealed;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{DateTime, OnExistence, OnNonExistence};

/// A variable.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableResponse {
    /// Key of the variable, unique in the namespace.
    pub key: String,
    /// Its value, with `***` for what a telling name says is a secret; null where the master key is not at hand.
    pub value: Option<String>,
    /// What it is for, where somebody said so.
    pub description: Option<String>,
    /// Always true.
    pub is_encrypted: bool,
    /// Always null.
    pub team_name: Option<String>,
    /// What Airflow has no word for.
    pub dagbok: SecretExtra,
}

/// What Airflow has no word for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretExtra {
    /// When it was set last.
    pub set_at: Option<DateTime>,
    /// By whom.
    pub set_by: String,
    /// Whether some of it is not shown.
    pub masked: bool,
    /// Why it can't be read, and what to do; null where it can.
    pub problem: Option<String>,
}

/// A page of variables.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableCollection {
    /// The entries of this page.
    pub variables: Vec<VariableResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// Asks for a variable.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableBody {
    /// Its key: 1 to 250 bytes without control characters.
    pub key: String,
    /// Its value. What is no text is kept as JSON.
    #[serde(default)]
    pub value: Value,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// Asks for a change of a variable. What is left out stays as it is.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariablePatch {
    /// Its key, which can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its value. What is no text is kept as JSON.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub value: Option<Value>,
    /// What it is for; null for nothing.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// A connection. Its password and what its extra has are never shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ConnectionResponse {
    /// Id of the connection, unique in the namespace.
    pub connection_id: String,
    /// Its type, by which a hook is found.
    pub conn_type: String,
    /// What it is for, where somebody said so.
    pub description: Option<String>,
    /// Name or address of the machine to connect to.
    pub host: Option<String>,
    /// Who logs in.
    pub login: Option<String>,
    /// The database, or what stands in its place.
    pub schema: Option<String>,
    /// Port of that machine.
    pub port: Option<i64>,
    /// `***` where there is one.
    pub password: Option<String>,
    /// A JSON object with `***` for each of its values, as text.
    pub extra: Option<String>,
    /// Always null.
    pub team_name: Option<String>,
    /// What Airflow has no word for.
    pub dagbok: SecretExtra,
}

/// A page of connections.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ConnectionCollection {
    /// The entries of this page.
    pub connections: Vec<ConnectionResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// Asks for a connection.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionBody {
    /// Its id: 1 to 200 letters, digits, `_`, `.` and `-`.
    pub connection_id: String,
    /// Its type, by which a hook is found.
    pub conn_type: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name or address of the machine to connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The database, or what stands in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its port, from 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// The password in clear; written only, no answer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whatever else its hook needs: a JSON object, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// Asks for a change of a connection. What is left out stays as it is, and so does what is sent back as `***`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPatch {
    /// Its id, which can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// Its type, by which a hook is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn_type: Option<String>,
    /// What it is for; null for nothing.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// The host; null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub host: Option<Option<String>>,
    /// Who logs in; null for nobody.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub login: Option<Option<String>>,
    /// The database, or what stands in its place; null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub schema: Option<Option<String>>,
    /// The port; null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub port: Option<Option<i64>>,
    /// The password; null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Option<String>>,
    /// Whatever else its hook needs: a JSON object, as text; null for nothing.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub extra: Option<Option<String>>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// Null is something that is said.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Asks for several variables to be made, changed and deleted, in this order.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableBulk {
    /// What to do.
    pub actions: Vec<VariableAction>,
}

/// Asks for several connections to be made, changed and deleted, in this order.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionBulk {
    /// What to do.
    pub actions: Vec<ConnectionAction>,
}

/// One thing to do with several variables.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum VariableAction {
    /// Make them.
    Create {
        /// The variables as they are to be.
        entities: Vec<VariableBody>,
        /// What to do where one is there already.
        #[serde(default)]
        action_on_existence: OnExistence,
    },
    /// Change them.
    Update {
        /// What they are to be.
        entities: Vec<VariableBody>,
        /// Change these fields only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update_mask: Option<Vec<String>>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
    /// Delete them.
    Delete {
        /// Their keys.
        entities: Vec<String>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
}

/// One thing to do with several connections.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConnectionAction {
    /// Make them.
    Create {
        /// The connections as they are to be.
        entities: Vec<ConnectionBody>,
        /// What to do where one is there already.
        #[serde(default)]
        action_on_existence: OnExistence,
    },
    /// Change them.
    Update {
        /// What they are to be.
        entities: Vec<ConnectionBody>,
        /// Change these fields only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update_mask: Option<Vec<String>>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
    /// Delete them.
    Delete {
        /// Their ids.
        entities: Vec<String>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
}

/// A variable or a connection as the log has it, for whoever has the master key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SealedEntry {
    /// A variable's key, or a connection's id.
    pub name: String,
    /// A connection's type; null for a variable.
    pub conn_type: Option<String>,
    /// What it is for, where somebody said so.
    pub description: Option<String>,
    /// What it holds, encrypted: `id`, `master`, `key`, `value`.
    #[schema(value_type = Object)]
    pub sealed: Sealed,
}

/// Variables and connections as the log has them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SealedEntries {
    /// Variables, by key.
    pub variables: Vec<SealedEntry>,
    /// Connections, by id.
    pub connections: Vec<SealedEntry>,
}

/// Asks for another master key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecrets {
    /// Whether what can't be read any more, since its master key is gone, is deleted.
    #[serde(default)]
    pub forget_lost: bool,
}

/// Another master key is in use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RotatedSecrets {
    /// The id of the key in use.
    pub master: String,
    /// Values whose keys are wrapped by it now.
    pub rewrapped: usize,
    /// What was deleted, since nobody can read it.
    pub forgotten: Vec<String>,
    /// Whether the keys before are gone from the key file; where it is not ours to write, they stand in it still.
    pub old_keys_destroyed: bool,
}
