//! How much of what repeats is gone through: a calendar is somebody else's text, and must not cost whoever pages more than a
//! moment.
use dagbok_events::Timestamp;
use rrule::{Frequency, RRule, Unvalidated};

/// Times of a day at which one rule begins.
const TIMES: usize = 24;
/// Of periods in which nothing begins, so many cost what one start costs.
const EMPTY: i64 = 10;
/// What a rule costs that never begins: so many rounds are made for it that ten of those are enough.
const NEVER: usize = 20_000;

/// What is left of that, for all rules together, and between which two times shifts matter.
pub(super) struct Starts {
    left: usize,
    within: (Timestamp, Timestamp),
    /// How long a period of the rule is, in seconds, and when it began last.
    period: i64,
    last: i64,
    has_begun: bool,
}

impl Starts {
    pub(super) const fn new(left: usize, within: (Timestamp, Timestamp)) -> Self {
        Self { left, within, period: 1, last: 0, has_begun: false }
    }

    pub(super) const fn within(&self) -> (Timestamp, Timestamp) {
        self.within
    }

    /// Whether a shift is neither over for long nor far ahead.
    pub(super) fn matters(&self, from: Timestamp, until: Timestamp) -> bool {
        until >= self.within.0 && from <= self.within.1
    }

    /// Another rule is unrolled. What it begins at within one period is made all at once, so that it is counted before.
    pub(super) fn begin(&mut self, rule: &RRule<Unvalidated>) -> Result<(), &'static str> {
        self.period = match rule.get_freq() {
            Frequency::Yearly => 31_536_000,
            Frequency::Monthly => 2_592_000,
            Frequency::Weekly => 604_800,
            Frequency::Daily => 86_400,
            Frequency::Hourly => 3_600,
            Frequency::Minutely | Frequency::Secondly => {
                return Err("a shift does not begin each minute");
            }
        };
        let many = |count: usize| count.max(1);
        let times = many(rule.get_by_hour().len())
            .saturating_mul(many(rule.get_by_minute().len()))
            .saturating_mul(many(rule.get_by_second().len()));
        if times > TIMES {
            return Err("a shift does not begin at more than 24 times of a day");
        }
        self.has_begun = false;
        Ok(())
    }

    /// Where its first period is, in seconds.
    pub(super) const fn from(&mut self, at: i64) {
        self.last = at;
    }

    /// It begins at a time, in seconds.
    pub(super) fn one(&mut self, at: i64) -> Result<(), &'static str> {
        let empty = at.saturating_sub(self.last).max(0) / self.period / EMPTY;
        let cost = usize::try_from(empty).unwrap_or(usize::MAX).saturating_add(1);
        self.pay(cost)?;
        (self.last, self.has_begun) = (at, true);
        Ok(())
    }

    /// It was unrolled; one that never begins was gone through for a long time.
    pub(super) fn end(&mut self) -> Result<(), &'static str> {
        if !self.has_begun {
            self.pay(NEVER)?;
        }
        Ok(())
    }

    fn pay(&mut self, cost: usize) -> Result<(), &'static str> {
        self.left = self
            .left
            .checked_sub(cost)
            .ok_or("it and those before it repeat too often to be gone through")?;
        Ok(())
    }
}
