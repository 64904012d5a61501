//! Leaves alone for ever longer what happens again and again.
use std::time::Duration;

use tokio::time::Instant;

/// What is borne, and how long is rested after that.
#[derive(Debug)]
pub(super) struct Pace {
    /// What follows within this is in haste.
    pub(super) within: Duration,
    /// That many in haste are borne.
    pub(super) borne: u32,
    /// The first pause after those, and the longest; each is twice as long as the one before.
    pub(super) rest: (Duration, Duration),
}

/// Something that happens now and then, or too often.
#[derive(Clone, Debug)]
pub(super) struct Haste {
    pace: &'static Pace,
    /// When it last ended.
    last: Instant,
    /// How often it followed the first time in haste.
    count: u32,
}

impl Haste {
    /// It happened for the first time.
    pub(super) fn begun(pace: &'static Pace) -> Self {
        Self { pace, last: Instant::now(), count: 0 }
    }

    /// It happened again, and began at `began`: what takes long is in no less haste for that.
    #[must_use]
    pub(super) fn again(self, began: Instant) -> Self {
        // What it rested for was long enough to be no haste, and shows that it has not ended.
        let in_haste = began < self.rests_until().unwrap_or(self.last) + self.pace.within;
        let count = if in_haste { self.count + 1 } else { 0 };
        Self { last: Instant::now(), count, ..self }
    }

    /// How long it is to rest after the last time.
    pub(super) fn rest(&self) -> Option<Duration> {
        let over = self.count.checked_sub(self.pace.borne)?;
        let (first, longest) = self.pace.rest;
        Some(first.saturating_mul(1 << over.min(16)).min(longest))
    }

    /// Until when it is to rest.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rest().map(|rest| self.last + rest)
    }
}
