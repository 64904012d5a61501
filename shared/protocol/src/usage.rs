//! What a try used of its machine over its time: asked of its executor while it runs, a blob beside its log then.
use dagbok_events::{Timestamp, TryKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks the executor that holds a try what it used so far, on [`crate::names::usage_subject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryUsageQuery {
    /// The try: its DAG, run, task, copy, number and leg.
    pub key: TryKey,
}

/// The answer to a [`TryUsageQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryUsageAnswer {
    /// So far; `None` where the try is not in hand, or was not looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<UsageSeries>,
}

/// How a try's memory was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Its processes' resident pages, of which those that several share count once.
    #[default]
    Processes,
    /// By its own cgroup, which counts cached files too.
    Cgroup,
}

/// What a try and all that it started used, in columns of the same length: a point is what the columns have at its
/// place. A point stands for the time from the one before to it; old ones stand for longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSeries {
    /// When its process was there, by the executor's clock.
    pub began_at: Timestamp,
    /// How its memory was measured.
    #[serde(default)]
    pub measured: Measured,
    /// The most memory that it had, in bytes: the highest that was seen, or what the kernel knows.
    pub peak_bytes: u64,
    /// Whether the kernel says so: otherwise more may have been in use between two looks.
    #[serde(default)]
    pub peak_is_exact: bool,
    /// The memory that it may use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// The CPUs that it may use, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_milli: Option<u32>,
    /// The end of each point, in milliseconds since the beginning.
    pub at_ms: Vec<u64>,
    /// The most memory within it, in bytes.
    pub memory: Vec<u64>,
    /// CPU time since the beginning, in microseconds.
    pub cpu_us: Vec<u64>,
    /// Bytes read from disks since the beginning.
    pub read_bytes: Vec<u64>,
    /// Bytes written to disks since the beginning.
    pub written_bytes: Vec<u64>,
    /// The most processes within it.
    pub processes: Vec<u32>,
    /// The most threads within it.
    pub threads: Vec<u32>,
    /// The most memory of GPUs within it, in bytes; empty where no GPU can be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_bytes: Vec<u64>,
}
