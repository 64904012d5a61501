//! The wait before something that failed is tried again.
use std::time::Duration;

use crate::Shutdown;

/// Waits that double, from the first to the longest, and a count of the failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing failed yet.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure; the wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// Counts a failure and waits.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.wait()).await;
    }

    /// Counts a failure and waits; false, at once, where the end is asked for.
    pub async fn pause_unless(&mut self, shutdown: &Shutdown) -> bool {
        let wait = self.wait();
        tokio::select! {
            biased;
            () = shutdown.started() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// It worked: the next failure is the first.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether this failure, not counted yet, is worth a line: the first, and then more and more rarely.
    pub const fn is_worth_telling(&self) -> bool {
        self.failures == 0 || self.failures.is_power_of_two()
    }
}

impl Default for Backoff {
    /// From 25 ms to a second: for what is in this machine or near it.
    fn default() -> Self {
        Self::new(Duration::from_millis(25), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [25, 50, 100, 200, 400, 800, 1_000, 1_000]);
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 25);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.wait().as_secs(), 1);
    }

    #[test]
    fn failures_are_told_more_and_more_rarely() {
        let mut backoff = Backoff::default();
        let told = (0..20).filter(|_| {
            let worth = backoff.is_worth_telling();
            backoff.wait();
            worth
        });
        assert_eq!(told.collect::<Vec<_>>(), [0, 1, 2, 4, 8, 16]);
    }

    #[tokio::test]
    async fn the_end_is_not_waited_for() {
        let (mut backoff, shutdown) = (Backoff::default(), Shutdown::new());
        assert!(backoff.pause_unless(&shutdown).await);
        shutdown.start();
        assert!(!backoff.pause_unless(&shutdown).await);
    }
}
