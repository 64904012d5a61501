//! Signs of life: those that are sent, and those that are waited for.
use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

/// Something outside that says regularly that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it said so last.
    pub at: Timestamp,
    /// After what time it says so again.
    pub period: Micros,
    /// How much later it may.
    pub grace: Micros,
    /// Who is told where it does not.
    pub owner: Option<String>,
    /// Somebody said that its absence is over.
    pub(crate) is_closed: bool,
}

impl Heartbeat {
    /// From when its absence is an alert.
    pub fn missing_at(&self) -> Timestamp {
        self.at.plus(self.period).plus(self.grace)
    }
}

/// What signs of life that nobody takes count as: a receiver of this name.
pub(crate) const SIGNS: &str = "dead man's switch";

/// Signs of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// The last one's.
    pub number: u64,
    /// When it was sent.
    pub at: Option<Timestamp>,
    /// How many failed in a row.
    pub lost: u32,
}
