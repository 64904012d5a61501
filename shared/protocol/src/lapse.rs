//! Of runs that are over, what is forgotten before they go themselves: the values that tasks handed on, and logs. One
//! fact says it of all that were over before some time, so that it costs no record for each run.
use dagbok_events::{Payload, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// That something of runs was forgotten that were over before some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lapse {
    /// The record that says so.
    seq: u64,
    /// When that was decided.
    at: Timestamp,
    /// Before when the runs were over.
    before: Timestamp,
}

/// All of those facts about one thing, as far as a later one does not say as much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapses(Vec<Lapse>);

impl Lapses {
    /// The record `seq`, decided `at`, says it of runs that were over before some time.
    pub fn note(&mut self, seq: u64, at: Timestamp, before: Timestamp) {
        self.0.retain(|it| it.before > before);
        self.0.push(Lapse { seq, at, before });
    }

    /// Whether nothing was forgotten yet.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Until when it was kept of a run that is over since the record `seq`, decided `ended`; none where it still is. A
    /// run that was over after the fact is none that the fact is about, whatever a clock that was ahead said in it.
    pub fn kept_until(&self, seq: u64, ended: Timestamp) -> Option<Timestamp> {
        let about = |it: &&Lapse| seq < it.seq && ended < it.before;
        let lapse = self.0.iter().rev().find(about)?;
        Some(ended.plus(lapse.at.since(lapse.before)))
    }

    /// Before when the runs were over that the newest of those facts is about.
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.last().map(|it| it.before)
    }
}

/// What lies in the keyed state where tasks look for a value: as a [`Payload`], or that there was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StoredXCom {
    /// The text itself.
    Inline(String),
    /// Where the text is.
    Blob {
        /// SHA-256 digest of the text, which is its address among the blobs.
        digest: dagbok_events::Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// It is forgotten: the run was over for so long before it was cleared.
    Forgotten {
        /// Until when it was kept.
        kept_until: Timestamp,
    },
}

impl StoredXCom {
    /// The value, or until when it was kept.
    pub fn value(self) -> Result<Payload, Timestamp> {
        match self {
            Self::Inline(text) => Ok(Payload::Inline(text)),
            Self::Blob { digest, size } => Ok(Payload::Blob { digest, size }),
            Self::Forgotten { kept_until } => Err(kept_until),
        }
    }
}

/// What whoever asks for such a value is told.
pub fn xcom_forgotten(task_id: &str, key: &str, kept_until: Timestamp) -> String {
    format!(
        "the XCom `{key}` of task `{task_id}` was kept until {:.0}, by retention.xcoms, and is forgotten; where the \
         task runs again, it hands it on anew",
        kept_until.to_jiff()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: i64) -> Timestamp {
        Timestamp(n * 1_000_000)
    }

    #[test]
    fn a_fact_is_about_runs_that_were_over_before_it_and_before_its_time() {
        let mut lapses = Lapses::default();
        assert_eq!(lapses.kept_until(1, secs(1)), None);
        lapses.note(10, secs(100), secs(70));
        assert_eq!(lapses.kept_until(9, secs(69)), Some(secs(99)), "for 30 s");
        assert_eq!(lapses.kept_until(9, secs(70)), None);
        assert_eq!(lapses.kept_until(10, secs(69)), None, "it was over with the fact or after");
        // A later fact says all that an earlier one did, and may be about more.
        lapses.note(20, secs(200), secs(190));
        assert_eq!(lapses.kept_until(9, secs(69)), Some(secs(79)), "for 10 s, as is said now");
        assert_eq!((lapses.0.len(), lapses.newest()), (1, Some(secs(190))));
    }

    /// Else all that ends in that day would be forgotten at once.
    #[test]
    fn a_clock_that_was_a_day_ahead_says_nothing_of_runs_to_come() {
        let mut lapses = Lapses::default();
        lapses.note(10, secs(90_000), secs(89_000));
        assert!(lapses.kept_until(9, secs(100)).is_some());
        assert_eq!(lapses.kept_until(12, secs(200)), None);
        lapses.note(20, secs(300), secs(150));
        assert_eq!(lapses.kept_until(12, secs(200)), None);
        assert!(lapses.kept_until(12, secs(149)).is_some());
        assert!(lapses.kept_until(9, secs(200)).is_some(), "what was forgotten stays so");
    }
}
