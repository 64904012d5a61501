//! Facts about what runs share: pools, limits, executors.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, ExecutorName, Micros, PoolName, QueueName, Resources, Timestamp};

/// See [`crate::Fact::PoolSet`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolSet {
    /// Name of the pool.
    pub pool: PoolName,
    /// How many slots it has; tries wait while all are taken. 4,294,967,295 is no limit, which is -1 in Airflow.
    pub slots: u32,
    /// What it is for, in somebody's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_deferred: bool,
}

impl PoolSet {
    /// The number of slots that stands for no limit.
    pub const UNLIMITED: u32 = u32::MAX;
}

/// See [`crate::Fact::PoolDeleted`]. Scope: the namespace. Tries that hold slots of it go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolDeleted {
    /// Name of the pool.
    pub pool: PoolName,
}

/// See [`crate::Fact::LimitsSet`]. Scope: the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsSet {
    /// Tries in flight at once, over all DAGs.
    pub parallelism: u32,
    /// Losses of one task in one run that are made up for; the next one fails it. With 0 the first does.
    pub max_losses: u16,
    /// A DAG that does not say is paused once so many of its newest runs have failed, all of them; 0 never.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_consecutive_failed_dag_runs: u32,
    /// How long a try may be queued while somebody could begin it; 0 for ever.
    #[serde(
        default = "LimitsSet::queued_timeout",
        skip_serializing_if = "LimitsSet::is_queued_timeout"
    )]
    pub task_queued_timeout: Micros,
}

impl LimitsSet {
    /// What holds until somebody says otherwise.
    pub const TASK_QUEUED_TIMEOUT: Micros = Micros::from_secs(600);

    const fn queued_timeout() -> Micros {
        Self::TASK_QUEUED_TIMEOUT
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if passes a reference"
    )]
    fn is_queued_timeout(timeout: &Micros) -> bool {
        *timeout == Self::TASK_QUEUED_TIMEOUT
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_default(n: &u32) -> bool {
    *n == 0
}

/// See [`crate::Fact::ForeignEntrySkipped`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForeignEntrySkipped {
    /// Where in the log it is.
    pub seq: u64,
    /// On which subject it was put.
    pub subject: String,
    /// The digest of its bytes: no other entry is meant.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// See [`crate::Fact::HistoryForgotten`]. Scope: the namespace. The log keeps its records of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryForgotten {
    /// Executors that left before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors_left_before: Option<Timestamp>,
    /// Reports that were refused before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports_refused_before: Option<Timestamp>,
    /// Backfills that were over before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfills_over_before: Option<Timestamp>,
    /// What the tries of runs wrote that were over before this, and have not gone on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_of_runs_over_before: Option<Timestamp>,
    /// What the tasks of runs handed on that were over before this, and have not gone on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xcoms_of_runs_over_before: Option<Timestamp>,
}

/// See [`crate::Fact::ExecutorJoined`]. Scope: the executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorJoined {
    /// Name of the machine that the try ran on.
    pub hostname: String,
    /// How many tries it can hold.
    pub slots: u32,
    /// Which queues it pulls from.
    pub queues: Vec<QueueName>,
    /// Version of the program that it runs.
    pub version: String,
    /// Version of the Python that it runs tries with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub python: String,
    /// What its tries can use together; what is not said is not counted.
    #[serde(default, skip_serializing_if = "crate::spec::is_default")]
    pub resources: Resources,
    /// How it holds tries to their limits, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub isolation: String,
    /// What it is called over its lives; its machine's name where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ExecutorName>,
    /// Which version of the protocol it speaks; the first where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// The executor that it is a place of, by its name: what it holds takes up slots of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<ExecutorName>,
}

impl ExecutorJoined {
    /// What it is called over its lives.
    pub fn called(&self) -> ExecutorName {
        ExecutorName::or_of_machine(self.name.as_ref(), &self.hostname)
    }
}

impl ExecutorName {
    /// The name that an executor gives itself, or else one made of its machine's: what a name can't have is `-` there.
    pub fn or_of_machine(name: Option<&Self>, hostname: &str) -> Self {
        if let Some(name) = name {
            return name.clone();
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let made: String =
            hostname.chars().map(|c| if fits(c) { c } else { '-' }).take(128).collect();
        Self::new(made)
            .unwrap_or_else(|_| Self::new("unnamed").expect("a constant within the rules"))
    }
}

/// See [`crate::Fact::ExecutorCordoned`]. Scope: the namespace, since it holds for each life of who is called so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorCordoned {
    /// Which executor, in this life and in those to come.
    pub name: ExecutorName,
    /// Whether those that live now end what they run, and leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// How long their tries may go on; as each is set where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Micros>,
}

/// See [`crate::Fact::ExecutorUncordoned`]. Scope: the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorUncordoned {
    /// What the executor is called over its lives, as its configuration has it.
    pub name: ExecutorName,
}

/// See [`crate::Fact::ExecutorFull`]. Scope: the executor. Said by one whose tries have places before they begin, as who makes
/// pods: what waits for such a place takes up a slot, and no other fact tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorFull {
    /// Whether it is.
    pub full: bool,
}

/// How an executor went.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LeftWhy {
    /// It said goodbye.
    Drained,
    /// Its presence was not renewed for a lease.
    Gone,
}

/// See [`crate::Fact::ExecutorLeft`]. Scope: the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorLeft {
    /// Whether it said goodbye or was found to be gone.
    pub why: LeftWhy,
}

/// See [`crate::Fact::ClockWentBack`]. Scope: the namespace.
///
/// Runs and retries that began later than `to` by the clock as it was began at `to` from now on, and wait as
/// long from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockWentBack {
    /// The latest time that it showed.
    pub from: Timestamp,
    /// What it shows now.
    pub to: Timestamp,
}
