//! Newtype ids: parsed once at the edge, trusted from then on.
use std::{borrow::Borrow, fmt, num::NonZeroU16, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An id that broke its rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{raw}` is not a valid {kind}: {rule}")]
pub struct BadId {
    /// What it was meant to be, as a person says it.
    pub kind: &'static str,
    /// The text that was refused.
    pub raw: String,
    /// What would be accepted.
    pub rule: &'static str,
}

// No new name is `.`, `..` or `~`: an address takes the first two for folders, and the API's the last for
// every DAG, run or task. What a log has of them is read as it is.
macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $bytes:expr, $ok:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the id's rules and takes it over.
            pub fn new(raw: impl Into<Arc<str>>) -> Result<Self, BadId> {
                let raw = raw.into();
                if matches!(&*raw, "." | ".." | "~") { Err(Self::bad(&raw)) } else { Self::read(raw) }
            }
            /// Takes over what was stored.
            fn read(raw: Arc<str>) -> Result<Self, BadId> {
                let ok: fn(char) -> bool = $ok;
                let good = $bytes.contains(&raw.len()) && raw.chars().all(ok);
                if good { Ok(Self(raw)) } else { Err(Self::bad(&raw)) }
            }
            fn bad(raw: &str) -> BadId {
                BadId { kind: $kind, raw: raw.to_owned(), rule: $rule }
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(raw: String) -> Result<Self, BadId> {
                Self::read(raw.into())
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadId;
            fn from_str(raw: &str) -> Result<Self, BadId> {
                Self::new(raw)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

fn key_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

name_id! { /// A DAG's name, unique in a namespace.
DagId, "DAG id", 1..=250, key_char,
"1 to 250 bytes of letters, digits, `_`, `.` and `-`, and neither `.` nor `..`" }
name_id! { /// A task's name within its DAG, with its groups' prefixes.
TaskId, "task id", 1..=250, key_char,
"1 to 250 bytes of letters, digits, `_`, `.` and `-`, and neither `.` nor `..`" }
name_id! { /// One run of a DAG, unique within it.
RunId, "run id", 1..=250, |c| c.is_ascii_alphanumeric() || "_.~:+-".contains(c),
"1 to 250 of `A-Z a-z 0-9 _ . ~ : + -`, and neither `.`, `..` nor `~`" }
name_id! { /// A pool of slots that tasks share.
PoolName, "pool name", 1..=256, |c| !c.is_control(), "1 to 256 bytes without control characters" }
name_id! { /// A variable's key, unique in a namespace.
VariableKey, "variable key", 1..=250, |c| !c.is_control(), "1 to 250 bytes without control characters" }
name_id! { /// A connection's id, unique in a namespace.
ConnId, "connection id", 1..=250, |c| c.is_alphanumeric() || "_#!()-.:/\\".contains(c),
"1 to 250 bytes of letters, digits and `_ # ! ( ) - . : / \\`" }
name_id! { /// A queue that executors pull from.
QueueName, "queue name", 1..=256, key_char, "1 to 256 bytes of letters, digits, `_`, `.` and `-`" }
name_id! { /// One life of one executor process: a restart is another id.
ExecutorId, "executor id", 1..=128, key_char, "1 to 128 bytes of letters, digits, `_`, `.` and `-`" }
name_id! { /// What an executor is called over its lives: the machine's name, where it is given none.
ExecutorName, "executor name", 1..=128, key_char, "1 to 128 bytes of letters, digits, `_`, `.` and `-`" }
name_id! { /// A command's id, chosen by whoever sends it; sending it twice does it once.
CommandId, "command id", 1..=128, |c| c.is_ascii_alphanumeric() || "_.:-".contains(c),
"1 to 128 of `A-Z a-z 0-9 _ . : -`" }
name_id! { /// A SHA-256 in lower-case hexadecimal: the address of a blob.
Digest, "digest", 64..=64, |c| c.is_ascii_digit() || ('a'..='f').contains(&c), "64 lower-case hexadecimal digits" }

/// Which copy of a mapped task; [`MapIndex::UNMAPPED`] (−1, as in Airflow) for a plain one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct MapIndex(pub i32);

impl MapIndex {
    /// A task that is not mapped.
    pub const UNMAPPED: Self = Self(-1);

    /// Whether this is a plain task.
    pub const fn is_unmapped(&self) -> bool {
        self.0 == -1
    }
}

impl Default for MapIndex {
    fn default() -> Self {
        Self::UNMAPPED
    }
}

/// One backfill: a number from one, in the order of making, over all DAGs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct BackfillId(pub u64);

impl fmt::Display for BackfillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts tries from one, as Airflow's UI does. It only ever rises, which makes it the fencing token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct TryNumber(NonZeroU16);

impl TryNumber {
    /// The first try.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The try with this number; `None` for zero.
    pub const fn new(n: u16) -> Option<Self> {
        match NonZeroU16::new(n) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many tries this makes.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for TryNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the stretches that a try runs in, from 0: each time that it asks to go on later begins another.
/// With the try's number it is the fencing token.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Leg(pub u32);

impl Leg {
    /// The first.
    pub const FIRST: Self = Self(0);

    /// Whether the try was not rescheduled before.
    pub const fn is_first(&self) -> bool {
        self.0 == 0
    }

    /// The one after this; `None` past the last that can be counted.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One leg of one try of one task of one run.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct TryKey {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Which task of that.
    pub task_id: TaskId,
    /// Which copy, where mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// Part of the try, from 0: a try that is rescheduled goes on in its next leg.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
}

impl fmt::Display for TryKey {
    /// `dag/run/task/try`, with `[n]` after the task where it is mapped, and `.n` after the try from its
    /// second leg on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.dag_id, self.run_id, self.task_id)?;
        if !self.map_index.is_unmapped() {
            write!(f, "[{}]", self.map_index.0)?;
        }
        write!(f, "/{}", self.try_number)?;
        if self.leg.is_first() { Ok(()) } else { write!(f, ".{}", self.leg) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_folder_and_no_wildcard() {
        for raw in [".", ".."] {
            assert!(DagId::new(raw).is_err() && TaskId::new(raw).is_err(), "{raw}");
        }
        for raw in [".", "..", "~"] {
            assert!(RunId::new(raw).is_err(), "{raw}");
            assert!(RunId::try_from(raw.to_owned()).is_ok(), "a log may have `{raw}`");
        }
        assert!(
            DagId::new("a.b").is_ok() && TaskId::new("...").is_ok() && RunId::new("~1").is_ok()
        );
    }
}
