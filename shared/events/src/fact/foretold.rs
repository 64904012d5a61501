//! What timetables written in Python answer, kept as facts: whoever replays the log need not run them.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dag::{is_none, is_one, one};
use crate::{Interval, Micros, Timestamp};

/// See [`crate::Fact::ScheduleForetold`]. Scope: the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleForetold {
    /// The data interval of the last scheduled run, after which the timetable was asked; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Interval>,
    /// The runs that follow, in the order of their logical dates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<ForetoldRuns>,
    /// Whether the timetable never looked at whether to catch up: what is past is made then, one run after another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heedless: bool,
    /// The data intervals of runs that somebody triggers; they are empty where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ForetoldManual>,
}

/// Runs at even distances. The logical date of each is where its data interval starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForetoldRuns {
    /// The first one's data interval.
    pub first: Interval,
    /// When the first one is due; where its data interval ends, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_after: Option<Timestamp>,
    /// From one to the next, in microseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub step: Micros,
    /// How many they are.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
}

/// The data interval of a run that somebody triggers, by its date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForetoldManual {
    /// At the same distances from every date.
    Around {
        /// From the date to the interval's start, in microseconds; mostly below zero.
        start: Micros,
        /// From the date to the interval's end, in microseconds.
        end: Micros,
    },
    /// The same one for a while.
    Steps(Vec<ManualStep>),
}

/// A data interval that runs stand for which are triggered from a date on, until the next of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManualStep {
    /// From which date on.
    pub from: Timestamp,
    /// The data interval.
    pub interval: Interval,
}
