//! Pools.
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolResponse {
    /// Name of the pool.
    pub name: String,
    /// How many slots it has; -1 is no limit.
    pub slots: i64,
    /// What it is for, where somebody said so.
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    pub include_deferred: bool,
    /// Held by tries, queued or running.
    pub occupied_slots: i64,
    /// Held by tries that run.
    pub running_slots: i64,
    /// Held by tries that are queued.
    pub queued_slots: i64,
    /// Always 0.
    pub scheduled_slots: i64,
    /// Free; -1 where there is no limit.
    pub open_slots: i64,
    /// Always 0.
    pub deferred_slots: i64,
    /// Always null.
    pub team_name: Option<String>,
}

/// A page of pools.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolCollection {
    /// The entries of this page.
    pub pools: Vec<PoolResponse>,
    /// How many there are over all pages.
    pub total_entries: usize,
}

/// Asks for a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolBody {
    /// Its name: 1 to 256 bytes without control characters and without `/`.
    pub name: String,
    /// How many slots it is to have; -1 for no limit.
    pub slots: i64,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_deferred: Option<bool>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// Asks for a change of a pool. What is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolPatch {
    /// Its name, which can't be changed; also taken under `name`.
    #[serde(default, alias = "name", skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// How many slots it is to have; -1 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<i64>,
    /// What it is for; null for nothing.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_deferred: Option<bool>,
    /// Must be null: there are no teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_name: Option<String>,
}

/// Null is an empty text, and not nothing said.
fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|text| Some(text.unwrap_or_default()))
}

/// Asks for several pools to be made, changed and deleted, in this order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolBulk {
    /// What to do.
    pub actions: Vec<PoolAction>,
}

/// One thing to do with several pools.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum PoolAction {
    /// Make them.
    Create {
        /// The pools as they are to be.
        entities: Vec<PoolBody>,
        /// What to do where one is there already.
        #[serde(default)]
        action_on_existence: OnExistence,
    },
    /// Change them.
    Update {
        /// What they are to be.
        entities: Vec<PoolBody>,
        /// Change these fields only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update_mask: Option<Vec<String>>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
    /// Delete them.
    Delete {
        /// Their names.
        entities: Vec<String>,
        /// What to do where one is not there.
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
}

/// What to do with what is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExistence {
    /// Make none of them.
    #[default]
    Fail,
    /// Leave it as it is.
    Skip,
    /// Change it.
    Overwrite,
}

/// What to do with what is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNonExistence {
    /// Do it with none of them.
    #[default]
    Fail,
    /// Pass over it.
    Skip,
}

/// What became of several changes, by kind; null of a kind that was not asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BulkResponse {
    /// What was made.
    pub create: Option<BulkDone>,
    /// What was changed.
    pub update: Option<BulkDone>,
    /// What was deleted.
    pub delete: Option<BulkDone>,
}

/// What became of the changes of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BulkDone {
    /// The names of those that were done.
    pub success: Vec<String>,
    /// What went wrong.
    pub errors: Vec<BulkError>,
}

/// Why some were not done.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BulkError {
    /// For people.
    pub error: String,
    /// The status that a request for it alone would get.
    pub status_code: u16,
}
