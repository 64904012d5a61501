//! When to end one's own tries: pure, with the time as an argument.
//!
//! All of it hangs on the last moment at which the lease was surely good. Two thirds of a lease later the
//! tries are stopped where they are; five sixths later they are killed, by the executor or, where that is
//! frozen itself, by their zygotes. The lease's last sixth is the margin within which nothing of ours runs.
use std::time::Duration;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Nothing.
    Fine,
    /// Stop the tries where they are.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Kill them: others may have been given the work.
    Kill,
}

/// The state of the lease. Times are since boot, and go on while the machine sleeps.
#[derive(Debug)]
pub(crate) struct Fence {
    lease: Duration,
    good_at: Duration,
    acted: Acted,
}

/// What was done since it was last good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acted {
    Nothing,
    Frozen,
    Killed,
}

impl Fence {
    /// Good at `now`.
    pub(crate) fn new(lease: Duration, now: Duration) -> Self {
        Self { lease, good_at: now, acted: Acted::Nothing }
    }

    /// A renewal that was sent at `sent` went through, or the broker was known to be down for everybody
    /// then, so that nobody could be given the work.
    pub(crate) fn good(&mut self, sent: Duration) -> Advice {
        let verdict = match self.acted {
            Acted::Nothing | Acted::Frozen if self.gap(sent) >= self.kill_after() => Advice::Kill,
            Acted::Frozen => Advice::Thaw,
            // What was started since a kill was asked for first.
            Acted::Nothing | Acted::Killed => Advice::Fine,
        };
        self.good_at = self.good_at.max(sent);
        self.acted = Acted::Nothing;
        verdict
    }

    /// Time went by.
    pub(crate) fn look(&mut self, now: Duration) -> Advice {
        if self.gap(now) >= self.kill_after() {
            if self.acted != Acted::Killed {
                self.acted = Acted::Killed;
                return Advice::Kill;
            }
        } else if self.is_stale(now) && self.acted == Acted::Nothing {
            self.acted = Acted::Frozen;
            return Advice::Freeze;
        }
        Advice::Fine
    }

    /// Whether so much time went by that a try must not be started without asking.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        self.gap(now) >= self.lease * 2 / 3
    }

    /// How much longer zygotes may let their tries run on this executor's word.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.kill_after().saturating_sub(self.gap(now))
    }

    fn kill_after(&self) -> Duration {
        self.lease * 5 / 6
    }

    fn gap(&self, now: Duration) -> Duration {
        now.saturating_sub(self.good_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_short_silence_stops_and_goes_on() {
        let mut fence = Fence::new(LEASE, s(100));
        assert_eq!(fence.look(s(119)), Advice::Fine);
        assert_eq!(fence.look(s(120)), Advice::Freeze);
        assert_eq!(fence.look(s(121)), Advice::Fine, "only once");
        assert_eq!(fence.good(s(124)), Advice::Thaw);
        assert_eq!(fence.good(s(125)), Advice::Fine);
        assert_eq!(fence.left(s(126)), s(24));
    }

    #[test]
    fn a_long_silence_kills_even_if_nobody_looked_meanwhile() {
        let mut fence = Fence::new(LEASE, s(100));
        assert_eq!(fence.look(s(125)), Advice::Kill);
        assert_eq!(fence.look(s(126)), Advice::Fine, "only once");
        assert_eq!(fence.good(s(127)), Advice::Fine, "what was started since then was asked for");
        let mut frozen = Fence::new(LEASE, s(100));
        assert_eq!(
            frozen.good(s(140)),
            Advice::Kill,
            "a renewal after the freeze does not hide it"
        );
        assert_eq!(frozen.good(s(141)), Advice::Fine);
        assert_eq!(frozen.left(s(141)), s(25));
    }

    #[test]
    fn the_order_of_late_news_does_not_matter() {
        let mut fence = Fence::new(LEASE, s(100));
        assert_eq!(fence.good(s(110)), Advice::Fine);
        assert_eq!(fence.good(s(105)), Advice::Fine);
        assert_eq!(fence.look(s(129)), Advice::Fine);
        assert!(fence.is_stale(s(130)));
    }
}
