//! Partitions: the parts of an asset's data that runs stand for by a key, and how keys of one DAG become those of
//! another.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AssetRef, DagId, Timestamp, spec::is_default};

/// The part of the data that a run or an asset's event stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Partition {
    /// Its key, 1 to 250 characters of any kind.
    pub key: String,
    /// When the partition begins, where its key tells of a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
}

/// What an asset's event means for a DAG that is scheduled on partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionedFor {
    /// The DAG that waits for partitions of the asset.
    pub dag_id: DagId,
    /// The keys of its own partitions that the event counts for, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// When these begin, where the event tells so and the keys don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// Why it counts for none, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How a DAG's partitions follow from those of one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionRule {
    /// What becomes of a key.
    pub mapper: PartitionMapper,
    /// An event that makes more keys than this counts for none; the namespace's own limit where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_downstream_keys: Option<u32>,
}

/// The rule for what an asset's partitions mean, where it is not the DAG's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetPartitionRule {
    /// Which asset: by name, by uri, or both.
    pub asset: AssetRef,
    /// The rule for it.
    pub rule: PartitionRule,
}

/// Airflow's partition mappers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartitionMapper {
    /// The key stays.
    #[default]
    Identity,
    /// The key is a time, and becomes the beginning of a period that it lies in.
    StartOf {
        /// The span of time that a key stands for.
        period: Period,
        /// IANA name, or a fixed offset such as `+02:00`.
        timezone: String,
        /// How the key is read, in directives of `strptime`.
        input_format: String,
        /// How it is written, in directives of `strftime`, and `{quarter}`.
        output_format: String,
    },
    /// The key has parts, each with a mapper of its own.
    Product {
        /// One for each part, in order.
        mappers: Vec<PartitionMapper>,
        /// What stands between two parts.
        delimiter: String,
    },
    /// One mapper after the other.
    Chain {
        /// In order.
        mappers: Vec<PartitionMapper>,
    },
    /// The key stays, where it is one of these.
    AllowedKey {
        /// The keys that are taken.
        allowed_keys: Vec<String>,
    },
    /// Every key becomes this one.
    FixedKey {
        /// The partition that every event counts for.
        downstream_key: String,
    },
    /// Many keys become one, and its run waits for them.
    Rollup {
        /// What becomes of each.
        upstream: Box<PartitionMapper>,
        /// Which keys one of the DAG's needs.
        window: PartitionWindow,
        /// When so many of them are enough.
        wait: WaitPolicy,
    },
    /// One key becomes many.
    FanOut {
        /// What becomes of the key first.
        upstream: Box<PartitionMapper>,
        /// Which items that stands for.
        window: PartitionWindow,
        /// How each of these is written.
        downstream: Box<PartitionMapper>,
    },
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// A quarter of a year.
    Quarter,
    /// A year.
    Year,
}

/// What a partition is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartitionWindow {
    /// The parts of a period: minutes of an hour, hours of a day, days of a week or month, months of a quarter or year.
    Of {
        /// The span of time that the window covers.
        period: Period,
        /// Whether it is the time that ends with the partition's beginning, and not the one that begins there.
        #[serde(default, skip_serializing_if = "is_default")]
        backward: bool,
    },
    /// These keys.
    Segments {
        /// Sorted, each once.
        segments: Vec<String>,
    },
}

/// When a partition that is made of others has enough of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaitPolicy {
    /// Once all are there.
    #[default]
    All,
    /// Once so many are there; below 0: once no more than so many are missing.
    MinimumCount {
        /// How many; never 0.
        n: i32,
    },
}
