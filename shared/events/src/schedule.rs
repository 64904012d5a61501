//! When a DAG's runs are due, as its file says it.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AssetPartitionRule, Interval, Micros, PartitionRule, spec::is_default};

/// When runs are made, and what people wrote to say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// As written in the file: `@daily`, `0 2 * * *`, `1 day, 0:00:00`; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When runs are made.
    pub timetable: Timetable,
    /// IANA name, or a fixed offset such as `+02:00`.
    pub timezone: String,
}

/// Airflow's timetables. The data-interval ones are those of Airflow 2, where a run is made when its
/// interval is over; the trigger ones those of Airflow 3, where the interval is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Timetable {
    /// No schedule: only by trigger.
    Manual,
    /// One run, as soon as the start date is reached.
    Once,
    /// A new run as soon as the last is over.
    Continuous,
    /// Cron expression, five or six fields in croniter's dialect, presets resolved.
    CronDataInterval {
        /// Cron expression, as in `0 5 * * 1-5`.
        expression: String,
    },
    /// Cron expression with empty intervals.
    CronTrigger {
        /// Cron expression, as in `0 5 * * 1-5`.
        expression: String,
    },
    /// Every so often, counted from the last run or the start date.
    DeltaDataInterval {
        /// What passes between two runs, in microseconds, besides months.
        every: Micros,
        /// Calendar months, where the delta is a `relativedelta`.
        #[serde(default, skip_serializing_if = "is_default")]
        months: i32,
    },
    /// Every so often, with empty intervals.
    DeltaTrigger {
        /// What passes between two runs, in microseconds, besides months.
        every: Micros,
        /// Calendar months, where the delta is a `relativedelta`.
        #[serde(default, skip_serializing_if = "is_default")]
        months: i32,
    },
    /// Each of these, in order.
    Events {
        /// The instants, as intervals.
        dates: Vec<Interval>,
        /// Whether a run that somebody triggers stands for the last of them that is past.
        #[serde(default, skip_serializing_if = "is_default")]
        restricted: bool,
    },
    /// A run at every tick of any of several cron expressions, over the time before it.
    CronTriggers {
        /// Cron expressions; at least one.
        expressions: Vec<String>,
        /// How long the data interval is that ends at the tick.
        #[serde(default, skip_serializing_if = "is_default")]
        interval: Span,
        /// Which tick is the first of a DAG without a start date.
        #[serde(default, skip_serializing_if = "is_default")]
        run_immediately: RunImmediately,
    },
    /// Every so often, each run over the time before it.
    DeltaTriggers {
        /// What passes between two runs.
        every: Span,
        /// How long the data interval is that ends with it.
        interval: Span,
    },
    /// A timetable written in Python. Its runs are those of the newest [`crate::ScheduleForetold`].
    Python {
        /// Module and name of its class.
        class: String,
        /// What it says of itself by `serialize`, as JSON in text; empty where it says nothing.
        #[serde(default, skip_serializing_if = "is_default")]
        arguments: String,
        /// Its `description`, for people.
        #[serde(default, skip_serializing_if = "is_default")]
        description: String,
    },
    /// A run at every tick of a cron expression, which stands for a partition and has no logical date.
    CronPartition {
        /// Cron expression, as in `0 5 * * 1-5`.
        expression: String,
        /// How many ticks later than its run a partition begins; below 0 earlier.
        #[serde(default, skip_serializing_if = "is_default")]
        run_offset: i32,
        /// How the partition's key is written, in directives of `strftime`.
        key_format: String,
        /// Which tick is the first of a DAG without a start date.
        #[serde(default, skip_serializing_if = "is_default")]
        run_immediately: RunImmediately,
    },
    /// By assets, a run for each partition that has come of those that the DAG waits for.
    PartitionedAsset {
        /// How the DAG's partitions follow from those of an asset that `rules` does not name.
        #[serde(default, skip_serializing_if = "is_default")]
        default: PartitionRule,
        /// How they follow from those of others.
        #[serde(default, skip_serializing_if = "is_default")]
        rules: Vec<AssetPartitionRule>,
    },
    /// Only by trigger; its tasks say which partitions they brought up to date.
    PartitionedAtRuntime,
}

impl Timetable {
    /// Whether runs are only triggered, or made by assets.
    pub const fn has_no_ticks(&self) -> bool {
        matches!(self, Self::Manual | Self::PartitionedAsset { .. } | Self::PartitionedAtRuntime)
    }

    /// Whether its runs may stand for a partition.
    pub const fn takes_partitions(&self) -> bool {
        matches!(
            self,
            Self::CronPartition { .. } | Self::PartitionedAsset { .. } | Self::PartitionedAtRuntime
        )
    }
}

/// A length of time: calendar months, counted in UTC, and a fixed part.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Span {
    /// The fixed part, in microseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub micros: Micros,
    /// Calendar months.
    #[serde(default, skip_serializing_if = "is_default")]
    pub months: i32,
}

/// Which tick is the first of a DAG that has no start date and no run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunImmediately {
    /// The last one, where it is just past: by a tenth of the way to the next, or five minutes.
    #[default]
    IfNear,
    /// The last one.
    Always,
    /// The last one, where it is past by no more than this.
    Within(Micros),
}
