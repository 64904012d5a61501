//! Every so often: a fixed length, calendar months, or both, counted in UTC.
use dagbok_events::{Micros, Span, Timestamp};
use jiff::{SignedDuration, tz::TimeZone};

use super::Missed;
use super::error::BadSchedule;
use super::ticks::Ticks;

/// Calendar months must move time forward by a day at least, so that stepping over decades ends.
const DAY: i64 = 86_400_000_000;

/// A delta.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeltaTicks {
    every: i64,
    months: i32,
    /// Whether it begins by a count of days, where it has months and does not catch up.
    by_days: bool,
}

impl DeltaTicks {
    /// Refuses what does not move time forward.
    pub(super) fn new(every: Micros, months: i32) -> Result<Self, BadSchedule> {
        let refused = BadSchedule::Delta { months, micros: every.0 };
        let shortest =
            i64::from(months).checked_mul(28 * DAY).and_then(|months| months.checked_add(every.0));
        let least = if months == 0 { 1 } else { DAY };
        if months < 0 || shortest.is_none_or(|shortest| shortest < least) {
            return Err(refused);
        }
        Ok(Self { every: every.0, months, by_days: false })
    }

    /// Sets whether months count as 30 days, and years as 365, where the newest interval is looked for.
    pub(super) const fn begin_by_days(&mut self, by_days: bool) {
        self.by_days = by_days;
    }

    /// The length, where it is the same everywhere.
    pub(super) fn fixed(&self) -> Option<i64> {
        (self.months == 0).then_some(self.every)
    }

    /// Ticks from `first` up to and without `until`, counted up to `max`.
    pub(super) fn missed(&self, first: Timestamp, until: Timestamp, max: u32) -> Option<Missed> {
        if first >= until {
            return None;
        }
        if let Some(every) = self.fixed() {
            let further = (until.0.checked_sub(first.0)? - 1) / every;
            let last = Timestamp(first.0.checked_add(further.checked_mul(every)?)?);
            let count = u32::try_from(further.saturating_add(1)).unwrap_or(max).min(max);
            return Some(Missed { first, last, count });
        }
        // Of months there are never so many that counting them all would be felt.
        let (mut last, mut count) = (first, 1_u32);
        while let Some(next) = self.next(last).filter(|next| *next < until) {
            (last, count) = (next, count.saturating_add(1));
        }
        Some(Missed { first, last, count: count.min(max) })
    }

    /// The last tick by `now` of the row that begins at `from`; `from` where that is later.
    pub(super) fn newest(&self, from: Timestamp, now: Timestamp) -> Timestamp {
        if let Some(every) = self.fixed() {
            let past = now.0.saturating_sub(from.0).max(0);
            return Timestamp(from.0 + past / every * every);
        }
        let mut tick = from;
        while let Some(next) = self.next(tick).filter(|next| *next <= now) {
            tick = next;
        }
        tick
    }

    /// The last tick by `now` of the row that `from`, later than that, belongs to.
    pub(super) fn back(&self, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if let Some(every) = self.fixed() {
            let ahead = from.0.checked_sub(now.0)?;
            let steps = ahead / every + i64::from(ahead % every > 0);
            return Some(Timestamp(from.0.checked_sub(steps.max(0).checked_mul(every)?)?));
        }
        let mut tick = from;
        while tick > now {
            tick = self.prev(tick).filter(|before| *before < tick)?;
        }
        Some(tick)
    }

    fn moved(&self, from: Timestamp, sign: i32) -> Option<Timestamp> {
        moved(Span { micros: Micros(self.every), months: self.months }, from, sign)
    }
}

/// `from` and a length of time after it; before it where `sign` is -1. `None` past the end of time.
pub(super) fn moved(span: Span, from: Timestamp, sign: i32) -> Option<Timestamp> {
    let micros = span.micros.0.checked_mul(i64::from(sign))?;
    if span.months == 0 {
        return from.0.checked_add(micros).map(Timestamp);
    }
    let months = jiff::Span::new().try_months(i64::from(span.months) * i64::from(sign)).ok()?;
    let wall = TimeZone::UTC.to_datetime(from.to_jiff()).checked_add(months).ok()?;
    let wall = wall.checked_add(SignedDuration::from_micros(micros)).ok()?;
    TimeZone::UTC.to_timestamp(wall).ok().map(Timestamp::from)
}

impl Ticks for DeltaTicks {
    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        self.moved(from, 1)
    }

    fn prev(&self, from: Timestamp) -> Option<Timestamp> {
        self.moved(from, -1)
    }

    fn align_next(&self, at: Timestamp) -> Option<Timestamp> {
        Some(at)
    }

    fn align_prev(&self, at: Timestamp) -> Option<Timestamp> {
        Some(at)
    }

    /// One delta before the last multiple of it since 1970. Months have no common length and are
    /// counted from `anchor`, one by one, because the 31st becomes the 28th and stays it.
    fn latest_start(&self, anchor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let (years, months) = (i64::from(self.months / 12), i64::from(self.months % 12));
        let by_days = (years * 365 + months * 30) * DAY + self.every;
        let every = self.fixed().or_else(|| (self.by_days && by_days > 0).then_some(by_days));
        let boundary = if let Some(every) = every {
            Timestamp(now.0.checked_sub(now.0.rem_euclid(every))?)
        } else {
            let mut boundary = anchor.unwrap_or(now);
            while let Some(next) = self.next(boundary).filter(|next| *next <= now) {
                boundary = next;
            }
            boundary
        };
        self.prev(boundary)
    }

    /// At once.
    fn first_run(&self, now: Timestamp) -> Option<Timestamp> {
        Some(now)
    }
}
