//! How much room there is in something over time, and whether it is full before long.
use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Severity,
    limits::{DISK_AHEAD, DISK_EVERY, DISK_LEAST, DISK_NOTES, DISK_SPAN},
};

/// What is seen of it at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) total: u64,
    pub(super) free: u64,
    /// Of how many parts in a hundred less is little; with 0 nothing is ever wrong.
    pub(super) low: u8,
}

/// The newest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Room {
    total: u64,
    low: u8,
    /// What was free, the oldest first.
    free: Vec<(Timestamp, u64)>,
    /// When it came to be as bad as it is.
    changed: Timestamp,
    /// Somebody said that it is well as it is.
    pub(super) closed: bool,
}

/// What is wrong with it.
pub(super) struct Filling {
    pub(super) severity: Severity,
    /// When that was seen.
    pub(super) seen: Timestamp,
    /// When it came to be as bad as it is.
    pub(super) changed: Timestamp,
    /// How much is left, in words.
    pub(super) left: String,
    /// In what time it is full, in words that follow; empty where that is not foreseen.
    pub(super) when: String,
}

impl Seen {
    /// Whether so much is about to be none, whatever becomes of it.
    fn is_little(self) -> bool {
        u128::from(self.free) * 100 < u128::from(self.total) * u128::from(self.low)
    }
}

impl Room {
    /// In what time it is full, by what became of it from the oldest note to the newest.
    fn full_in(&self) -> Option<Micros> {
        let ((first_at, first), (last_at, last)) = (*self.free.first()?, *self.free.last()?);
        let span = last_at.since(first_at);
        let taken = i128::from(first.checked_sub(last)?);
        if span < DISK_SPAN || taken == 0 {
            return None;
        }
        let left = i128::from(last) * i128::from(span.0) / taken;
        Some(Micros(i64::try_from(left).unwrap_or(i64::MAX)))
    }

    /// What was seen last.
    fn last(&self) -> Option<Seen> {
        let (_, free) = *self.free.last()?;
        Some(Seen { total: self.total, free, low: self.low })
    }

    /// Whether it is about to be full: at once, or by what became of it.
    fn filling(&self) -> Option<(Severity, Option<Micros>)> {
        let last = self.last().filter(|it| it.low > 0)?;
        let full_in = self.full_in().filter(|it| *it <= DISK_AHEAD);
        if last.is_little() {
            return Some((Severity::Critical, full_in));
        }
        full_in.map(|it| (Severity::Warning, Some(it)))
    }

    /// Whether what is free is to be noted at `now`: where it came to be little, where it changed by a part of a hundred,
    /// or seldom.
    pub(super) fn is_news(&self, now: Timestamp, seen: Seen) -> bool {
        let (Some((at, free)), Some(last)) = (self.free.last(), self.last()) else { return true };
        let since = now.since(*at);
        let has_changed = free.abs_diff(seen.free) >= seen.total / 100;
        if seen.is_little() && !(Seen { total: seen.total, ..last }).is_little() {
            return true;
        }
        let is_other = last.total != seen.total || last.low != seen.low;
        is_other || since >= DISK_LEAST || (has_changed && since >= DISK_EVERY)
    }

    /// What was before says nothing of what comes.
    pub(super) fn begin_anew(&mut self) {
        self.free.clear();
        self.closed = false;
    }

    /// When it was seen last.
    pub(super) fn seen(&self) -> Option<Timestamp> {
        self.free.last().map(|(at, _)| *at)
    }

    /// Takes in what is free; says whether it is better or worse than before.
    pub(super) fn take(&mut self, at: Timestamp, seen: Seen) -> bool {
        let Seen { total, free, low } = seen;
        let was = self.filling().map(|(severity, _)| severity);
        if self.total != total {
            self.free.clear();
        }
        self.total = total;
        self.low = low;
        if self.free.len() >= DISK_NOTES {
            self.free.remove(0);
        }
        self.free.push((at, free));
        let is = self.filling().map(|(severity, _)| severity);
        if was == is {
            return false;
        }
        let is_worse = is.is_some() && (was.is_none() || is == Some(Severity::Critical));
        // That it is well was said of what it was, and one that got better wakes nobody.
        self.closed &= is.is_some() && !is_worse;
        self.changed = if is_worse { at } else { self.changed };
        true
    }

    /// How fast it fills can't be told over a clock that was set.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        let last = self.free.pop();
        self.free.clear();
        self.free.extend(last.map(|(at, free)| (at.min(to), free)));
        self.changed = self.changed.min(to);
    }

    /// What is wrong with it, unless somebody said that it is well.
    pub(super) fn wrong(&self) -> Option<Filling> {
        let (severity, full_in) = self.filling().filter(|_| !self.closed)?;
        let (seen, free) = *self.free.last()?;
        let when = full_in.map_or_else(String::new, |it| {
            format!(", and full in {} minutes as it goes on", it.0 / 60_000_000)
        });
        let left = format!("{} of {} MiB", free >> 20, self.total >> 20);
        Some(Filling { severity, seen, changed: self.changed, left, when })
    }
}
