//! Rows about what runs share.
use dagbok_events::{
    Actor, Digest, ExecutorId, ExecutorName, LeftWhy, Micros, QueueName, Resources, Timestamp,
};
use serde::{Deserialize, Serialize};

/// An executor, as the log knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorRow {
    /// Which.
    pub executor: ExecutorId,
    /// Its machine.
    pub hostname: String,
    /// How many tries it can hold.
    pub slots: u32,
    /// Which queues it pulls from.
    pub queues: Vec<QueueName>,
    /// Its build.
    pub version: String,
    /// Its Python.
    pub python: String,
    /// What its tries can use together.
    #[serde(default)]
    pub resources: Resources,
    /// How it holds tries to their limits.
    #[serde(default)]
    pub isolation: String,
    /// What it is called over its lives.
    pub name: ExecutorName,
    /// Which version of the protocol it speaks.
    pub protocol: u32,
    /// When it came.
    pub joined_at: Timestamp,
    /// When it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// How it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftWhy>,
}

/// That an executor takes nothing new, in this life and in those to come; its name is in the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CordonRow {
    /// What it is called over its lives.
    pub name: ExecutorName,
    /// Whether those that lived then were to leave.
    pub drain: bool,
    /// How long their tries could go on; as each was set where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Micros>,
    /// Who said so.
    pub by: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An executor in the order of coming, those that are there apart from those that have left; all is in the
/// key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutorOrderRow {}

/// What an executor has in hand, whether or not it has joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// Tries that it runs.
    pub running: u32,
}

/// A pool's slots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolRow {
    /// How many there are; `None` where nobody set them, or the pool was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default)]
    pub include_deferred: bool,
    /// Of tries that wait for a trigger: held where the pool counts those.
    #[serde(default)]
    pub deferred: u64,
    /// Held by tries that are queued.
    pub queued: u64,
    /// Held by tries that run.
    pub running: u64,
}

/// The namespace's limits, where somebody set them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitsRow {
    /// Tries in flight at once.
    pub parallelism: u32,
    /// Losses after which a task fails.
    pub max_losses: u16,
    /// Failed runs after which a DAG is paused that does not say; 0 for never.
    pub max_consecutive_failed_dag_runs: u32,
}

/// The code that new runs of a DAG folder get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleRow {
    /// Its digest.
    pub bundle: Digest,
    /// When it was published.
    pub at: Timestamp,
}
