//! What a task asks of the machine that it runs on, and what it may use there.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::is_default;

/// What a task asks for, or what an executor has for all its tries together. What is 0 or not there is not asked
/// for; of an executor, not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPUs, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// GPUs, as whole devices.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpus: u32,
    /// What else is counted, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, u64>,
    /// What an executor is or where, by name (`region`: `eu`); a task asks that it is just so. Nothing is used up of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a try and all that it starts may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Memory, in bytes; with more it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPUs, in thousandths; it gets no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// Processes and threads; it can start no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
}

/// A try that was ended since it used more memory than there was for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutOfMemory {
    /// What it could use, in bytes; `None` where nothing but the machine bounds it, or the executor's own group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// The most that it had, in bytes, as far as it is known.
    pub peak_bytes: u64,
    /// Who ended it.
    pub by: OutOfMemoryBy,
    /// The program that was killed, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub process: String,
    /// Its process; 0 where it is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid: u32,
}

/// Who ended a try for its memory.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OutOfMemoryBy {
    /// The kernel, for the limit of the try's own cgroup.
    Limit,
    /// The executor, which saw it above its limit.
    Executor,
    /// The kernel, since the machine or the group of the executor had no more.
    Machine,
}
