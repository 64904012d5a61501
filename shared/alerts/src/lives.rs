//! Facts of what lives outside: signs of life that are sent, heartbeats that come, calendars that are asked for.
use dagbok_events::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::DISK_LOW;

/// See [`crate::AlertFact::SignOfLife`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignOfLife {
    /// Counts them, from one.
    pub number: u64,
    /// What is wrong with telling people, so that failure is signalled; absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// See [`crate::AlertFact::SignOfLifeFailed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignOfLifeFailed {
    /// Number of the sign of life, from 1.
    pub number: u64,
    /// HTTP's status, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    pub why: String,
}

/// See [`crate::AlertFact::SignOfLifeAccepted`]. Recorded only where the one before failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignOfLifeAccepted {
    /// Number of the sign of life, from 1.
    pub number: u64,
}

/// See [`crate::AlertFact::HeartbeatReceived`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReceived {
    /// Whose it is.
    pub name: String,
    /// After what time the next one comes.
    pub period: Micros,
    /// How much later it may come before that is an alert.
    pub grace: Micros,
    /// Who is told where it does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// See [`crate::AlertFact::HeartbeatForgotten`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatForgotten {
    /// Whose it was.
    pub name: String,
}

/// See [`crate::AlertFact::CalendarTaken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarTaken {
    /// The schedule whose calendar it is.
    pub schedule: String,
    /// SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// Shifts that it comes to around that time.
    pub shifts: u32,
}

/// See [`crate::AlertFact::CalendarRefused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarRefused {
    /// The schedule whose calendar it is.
    pub schedule: String,
    /// Why it can't be had or read.
    pub why: String,
}

/// See [`crate::AlertFact::DiskObserved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskObserved {
    /// The machine that it is seen from: another's of the same name is another disk.
    pub host: String,
    /// The folder whose disk it is.
    pub folder: String,
    /// What is free of it for this user, in bytes.
    pub free: u64,
    /// What is taken and what is free of it, in bytes. What is kept for others is neither.
    pub total: u64,
    /// Of how many parts in a hundred less is little, by the configuration; 0 says nothing of this disk.
    #[serde(default = "disk_low")]
    pub low_percent: u8,
}

fn disk_low() -> u8 {
    DISK_LOW
}

/// See [`crate::AlertFact::StoreObserved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreObserved {
    /// Which store of the broker it is: the account's limit, or a server by its name.
    pub store: String,
    /// What is taken of it, in bytes.
    pub used: u64,
    /// What it may hold, in bytes.
    pub most: u64,
}

/// See [`crate::AlertFact::BlobsObserved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlobsObserved {
    /// Where it is, as its URL is written.
    pub place: String,
    /// What it answers, for people; none where it does what it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// See [`crate::AlertFact::ProjectionObserved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectionObserved {
    /// Records of the run log that are not folded; none where it has caught up.
    pub behind: u64,
}
