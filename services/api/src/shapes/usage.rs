//! What a try used of its machine over its time.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// What a try and all that it started used, in columns of the same length: a point is what the columns have at its
/// place, and stands for the time from the one before to it. Old points stand for longer, so that there are never
/// many. Empty where it was not looked at yet, or was over before that.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TryUsageSeries {
    /// Whether the try is over, so that nothing will follow.
    pub complete: bool,
    /// When its process was there, by the executor's clock.
    pub began_at: Option<DateTime>,
    /// How its memory was measured: `processes`, their resident pages, of which those that several share count
    /// once; or `cgroup`, which counts cached files too.
    pub measured: Option<String>,
    /// The most memory that it had, in bytes.
    pub peak_bytes: u64,
    /// Whether the kernel says so: otherwise more may have been in use between two looks.
    pub peak_is_exact: bool,
    /// The memory that it may use, in bytes; null where there is no limit.
    pub memory_limit: Option<u64>,
    /// The CPUs that it may use; null where there is no limit.
    pub cpu_limit: Option<f64>,
    /// The end of each point, in milliseconds since `began_at`.
    pub at_ms: Vec<u64>,
    /// The most memory within it, in bytes.
    pub memory: Vec<u64>,
    /// CPU time since `began_at`, in microseconds.
    pub cpu_us: Vec<u64>,
    /// Bytes read from disks since `began_at`.
    pub read_bytes: Vec<u64>,
    /// Bytes written to disks since `began_at`.
    pub written_bytes: Vec<u64>,
    /// The most processes within it.
    pub processes: Vec<u32>,
    /// The most threads within it.
    pub threads: Vec<u32>,
    /// The most memory of GPUs within it, in bytes; empty where no GPU can be asked.
    pub gpu_bytes: Vec<u64>,
}
