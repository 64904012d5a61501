//! Of runs that are over, what is forgotten before they go themselves: the values that tasks handed on, and logs. One
//! fact says it of all that were over before some time, so that it costs no record for each run.
use dagbok_events::{Micros, Payload, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ages of facts that differ by less are one: a fact names a time, which was reckoned a moment before it was decided.
const SAME_AGE: Micros = Micros::from_secs(60);
/// Ages that are remembered; of runs that are over a setting is changed seldom.
const AGES: usize = 32;

/// That something of runs was forgotten that were over before some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lapse {
    /// The newest record that says so.
    seq: u64,
    /// Before when the runs were over.
    before: Timestamp,
    /// How long it was kept of them.
    age: Micros,
}

/// All of those facts about one thing, the newest last, as far as a later one does not say as much: it does where it is
/// about all the runs that an earlier one was about, by the same age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapses(Vec<Lapse>);

impl Lapses {
    /// The record `seq`, decided `at`, says it of runs that were over before some time.
    pub fn note(&mut self, seq: u64, at: Timestamp, before: Timestamp) {
        let age = at.since(before);
        let is_same = |it: &Lapse| (it.age.0 - age.0).abs() < SAME_AGE.0;
        // The age of the first stands for all, so that what is said of a run does not change with each fact.
        let age = self.0.iter().find(|it| is_same(it)).map_or(age, |it| it.age);
        self.0.retain(|it| it.before > before || it.age != age);
        self.0.push(Lapse { seq, before, age });
        if self.0.len() > AGES {
            self.drop_one();
        }
    }

    /// Drops the first whose runs a later one is about, too, if there is one: nothing that was forgotten comes back.
    fn drop_one(&mut self) {
        let is_covered = |at: usize| {
            let before = self.0[at].before;
            self.0[at + 1..].iter().any(|later| later.before >= before)
        };
        if let Some(at) = (0..self.0.len()).find(|at| is_covered(*at)) {
            self.0.remove(at);
        }
    }

    /// Whether nothing was forgotten yet.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Until when it was kept of a run that is over since the record `seq`, decided `ended`; none where it still is. A
    /// run that was over after the fact is none that the fact is about, whatever a clock that was ahead said in it.
    pub fn kept_until(&self, seq: u64, ended: Timestamp) -> Option<Timestamp> {
        let about = |it: &&Lapse| seq < it.seq && ended < it.before;
        Some(ended.plus(self.0.iter().find(about)?.age))
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
        // A later fact by the same age, decided some moments after it was reckoned, says all that an earlier one did.
        lapses.note(20, secs(205), secs(170));
        assert_eq!(lapses.kept_until(9, secs(69)), Some(secs(99)), "as was said before");
        assert_eq!(lapses.kept_until(19, secs(169)), Some(secs(199)));
        assert_eq!((lapses.0.len(), lapses.newest()), (1, Some(secs(170))));
    }

    #[test]
    fn what_was_kept_by_one_age_is_not_said_to_be_kept_by_the_next() {
        let (day, mut lapses) = (86_400, Lapses::default());
        lapses.note(10, secs(100 * day), secs(99 * day));
        // From now on it is kept for 30 days, and after that for a week.
        lapses.note(20, secs(140 * day), secs(110 * day));
        assert_eq!(lapses.kept_until(9, secs(98 * day)), Some(secs(99 * day)), "for a day");
        assert_eq!(lapses.kept_until(15, secs(105 * day)), Some(secs(135 * day)), "for 30 days");
        lapses.note(30, secs(141 * day), secs(134 * day));
        assert_eq!(lapses.kept_until(15, secs(105 * day)), Some(secs(135 * day)));
        assert_eq!(lapses.kept_until(25, secs(133 * day)), Some(secs(140 * day)), "for a week");
    }

    #[test]
    fn ages_without_end_take_no_room_without_end() {
        let mut lapses = Lapses::default();
        for n in 1..=1_000_u32 {
            let n = i64::from(n);
            lapses.note(n.unsigned_abs(), secs(n * 10_000), secs(n * 10_000 - n * 100));
        }
        assert_eq!(lapses.0.len(), AGES);
        assert!(lapses.kept_until(0, secs(9_899)).is_some(), "what was forgotten first stays so");
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
