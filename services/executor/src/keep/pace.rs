//! How often what a task keeps becomes a fact. A task may set a value each step and save each second for days, and each
//! is in the log for good: values wait for each other, and saves for their turn, the longer the more they took before.
use std::time::Duration;

use dagbok_protocol::limits::CHECKPOINT_TOLD_BYTES;
use tokio::time::Instant;

/// Values of a task that uses no directory are told together.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Saves that need not wait.
const SAVES_AT_ONCE: u32 = 10;
/// And then each so long.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// So often these double at most.
const DOUBLINGS: u32 = 5;
/// What the digest of a piece takes in a fact, in bytes.
const PIECE_NAME_BYTES: usize = 70;

/// One try's.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told_bytes: usize,
    told_at: Option<Instant>,
    /// When saves were due that are done, had each waited for the one before.
    saves_until: Option<Instant>,
}

impl Pace {
    /// A fact has these.
    pub(super) fn told(&mut self, now: Instant, values_bytes: usize, pieces: usize) {
        self.told_at = Some(now);
        self.told_bytes += values_bytes + pieces * PIECE_NAME_BYTES;
    }

    /// When values are to be told that wait; `None` where none were told yet.
    pub(super) fn due(&self) -> Option<Instant> {
        self.told_at.map(|told| told + self.spaced(TELL_EVERY))
    }

    /// How long a save has to wait; `None` where it has not.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let ahead = self.saves_until?.saturating_duration_since(now);
        let left = ahead.saturating_sub(self.spaced(SAVE_EVERY) * (SAVES_AT_ONCE - 1));
        (!left.is_zero()).then_some(left)
    }

    /// A save is begun.
    pub(super) fn saves(&mut self, now: Instant) {
        let from = self.saves_until.map_or(now, |until| until.max(now));
        self.saves_until = Some(from + self.spaced(SAVE_EVERY));
    }

    fn spaced(&self, every: Duration) -> Duration {
        let doublings = u32::try_from(self.told_bytes / CHECKPOINT_TOLD_BYTES).unwrap_or(DOUBLINGS);
        every * (1 << doublings.min(DOUBLINGS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Saves as often as it may within so many seconds.
    fn saves_within(pace: &mut Pace, from: Instant, seconds: u32) -> usize {
        let tries = (0..seconds * 10).map(|tenths| from + SECOND / 10 * tenths);
        tries
            .filter(|&now| {
                let may = pace.wait(now).is_none();
                if may {
                    pace.saves(now);
                }
                may
            })
            .count()
    }

    #[test]
    fn some_saves_are_done_at_once_and_then_one_at_a_time() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..SAVES_AT_ONCE {
            assert_eq!(pace.wait(now), None);
            pace.saves(now);
        }
        assert_eq!(pace.wait(now), Some(SAVE_EVERY));
        assert_eq!(pace.wait(now + SAVE_EVERY), None, "whoever waits for it may then");
        assert_eq!(saves_within(&mut pace, now, 100), 20 - 1);
        let later = now + SECOND * 1_000;
        assert_eq!(saves_within(&mut pace, later, 1), 10, "who saves rarely never waits");
    }

    #[test]
    fn the_more_was_told_the_rarer_it_is_and_never_too_rare() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(), None);
        for (bytes, wanted) in [
            (CHECKPOINT_TOLD_BYTES - 1, TELL_EVERY),
            (1, TELL_EVERY * 2),
            (CHECKPOINT_TOLD_BYTES, TELL_EVERY * 4),
            (CHECKPOINT_TOLD_BYTES * 1_000, TELL_EVERY * 32),
        ] {
            pace.told(now, bytes, 0);
            assert_eq!(pace.due(), Some(now + wanted));
        }
        for _ in 0..SAVES_AT_ONCE {
            pace.saves(now);
        }
        assert_eq!(pace.wait(now), Some(SAVE_EVERY * 32));
    }
}
