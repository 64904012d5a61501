//! Leaves alone for ever longer what repeats too soon, again and again.
use std::time::Duration;

use tokio::time::Instant;

/// How often something may repeat, and how long it rests after that.
#[derive(Debug)]
pub(super) struct Pace {
    /// What follows within this comes too soon.
    pub(super) within: Duration,
    /// It may come too soon so many times.
    pub(super) allowed: u32,
    /// The first pause after those, and the longest; each is twice as long as the one before.
    pub(super) rest: (Duration, Duration),
}

/// Something that happens now and then, or too often.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    pace: &'static Pace,
    /// When it last ended.
    last: Instant,
    /// How often it came too soon.
    count: u32,
}

impl Repeats {
    /// It happened for the first time.
    pub(super) fn begun(pace: &'static Pace) -> Self {
        Self { pace, last: Instant::now(), count: 0 }
    }

    /// It happened again, and began at `began`: what takes long comes no later for that.
    #[must_use]
    pub(super) fn again(self, began: Instant) -> Self {
        // What it rested for was long enough not to be too soon, and shows that it has not ended.
        let too_soon = began < self.rests_until().unwrap_or(self.last) + self.pace.within;
        let count = if too_soon { self.count + 1 } else { 0 };
        Self { last: Instant::now(), count, ..self }
    }

    /// How long it is to rest after the last time.
    pub(super) fn rest(&self) -> Option<Duration> {
        let over = self.count.checked_sub(self.pace.allowed)?;
        let (first, longest) = self.pace.rest;
        Some(first.saturating_mul(1 << over.min(16)).min(longest))
    }

    /// Until when it is to rest.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rest().map(|rest| self.last + rest)
    }
}
