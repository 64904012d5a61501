//! Whether the wall clock may be believed about what can't be taken back. It can't tell by itself that it is
//! wrong; but one that jumped ahead, or shows much more than when the log was written last, may come back.
use std::time::Duration;

use dagbok_events::{Micros, Timestamp};
use dagbok_protocol::limits::CLOCK_BACK_US;
use tokio::time::Instant;

/// How long a clock must go on evenly to be believed again.
const PROBATION: Duration = Duration::from_secs(30);
/// A log that was written longer ago than this was not written a moment ago by a process that was replaced.
const GAP: Micros = Micros::from_secs(60);

/// Compares the wall clock with the time that went by.
#[derive(Debug)]
pub struct Steady {
    shown: Timestamp,
    at: Instant,
    doubted: bool,
    /// What it showed when it was believed last, and when that was.
    believed: (Timestamp, Instant),
}

impl Steady {
    /// A term begins when the clock shows `now`, on a log whose last record was decided at `written`.
    pub fn new(now: Timestamp, written: Option<Timestamp>) -> Self {
        let doubted = written.is_some_and(|written| now.since(written) > GAP);
        let at = Instant::now();
        Self { shown: now, at, doubted, believed: (now, at) }
    }

    /// Looks at the clock.
    pub fn look(&mut self, now: Timestamp) {
        let went_by = i64::try_from(self.at.elapsed().as_micros()).unwrap_or(i64::MAX);
        let jumped = now.since(self.shown).0.saturating_sub(went_by);
        let at = Instant::now();
        if jumped > CLOCK_BACK_US {
            (self.shown, self.at, self.doubted) = (now, at, true);
        } else if jumped < -CLOCK_BACK_US || self.at.elapsed() >= PROBATION {
            (self.shown, self.at, self.doubted) = (now, at, false);
        }
        if !self.doubted {
            self.believed = (now, at);
        }
    }

    /// Looks at the clock, and says what time to go by: the clock's, or, while that is in doubt, what it showed when
    /// it was believed last and what went by since.
    pub fn time(&mut self, now: Timestamp) -> Timestamp {
        self.look(now);
        if !self.doubted {
            return now;
        }
        let (shown, at) = self.believed;
        shown.plus(Micros(i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX)))
    }

    /// Whether runs may be failed because their time is over.
    pub const fn may_time_out(&self) -> bool {
        !self.doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_800_000_000_000_000);

    #[tokio::test]
    async fn a_clock_that_jumped_ahead_is_believed_once_it_went_on_evenly() {
        let mut steady = Steady::new(NOON, Some(NOON));
        assert!(steady.may_time_out());
        steady.look(NOON.plus(Micros::from_secs(86_400)));
        assert!(!steady.may_time_out());
        steady.look(NOON.plus(Micros::from_secs(86_401)));
        assert!(!steady.may_time_out(), "not yet");
        steady.look(NOON);
        assert!(steady.may_time_out(), "it came back");
        steady.look(NOON.plus(Micros::from_secs(86_400)));
        steady.at = Instant::now().checked_sub(PROBATION).expect("up for long enough");
        steady.shown = Timestamp(steady.shown.0 - 30_000_000);
        steady.look(NOON.plus(Micros::from_secs(86_400)));
        assert!(steady.may_time_out(), "it stayed");
    }

    #[tokio::test]
    async fn the_time_to_go_by_goes_on_evenly_while_the_clock_is_in_doubt() {
        let mut steady = Steady::new(NOON, None);
        let day = Micros::from_secs(86_400);
        let jumped = steady.time(NOON.plus(day));
        assert!(jumped.since(NOON) < Micros::from_secs(5), "{jumped}");
        steady.at = Instant::now().checked_sub(PROBATION).expect("up for long enough");
        steady.shown = Timestamp(steady.shown.0 - 30_000_000);
        assert_eq!(steady.time(NOON.plus(day)), NOON.plus(day), "it stayed");
        assert_eq!(steady.time(NOON), NOON, "it came back");
    }

    #[tokio::test]
    async fn a_start_long_after_the_last_record_waits_a_little() {
        assert!(Steady::new(NOON, None).may_time_out());
        assert!(Steady::new(NOON, Some(Timestamp(NOON.0 - GAP.0))).may_time_out());
        assert!(!Steady::new(NOON, Some(Timestamp(NOON.0 - GAP.0 - 1))).may_time_out());
        assert!(Steady::new(NOON, Some(NOON.plus(GAP))).may_time_out());
    }
}
