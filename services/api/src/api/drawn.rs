//! What is expected of how long things took before: drawn, not averaged, so that the spread is that of the draws. The
//! draws are the same each time.
use dagbok_events::{Micros, Timestamp};

use crate::shapes::{DateTime, WhyExpected};

const DRAWS: usize = 200;

/// Picks from lengths that there were, by xorshift.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// One of these, of which there is at least one.
    pub(super) fn pick(&mut self, of: &[i64]) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        of[usize::try_from(self.0 % (of.len() as u64)).unwrap_or(0)]
    }
}

/// How long what has run for `ran` may still take, by the lengths that were longer.
pub(super) fn still(lengths: &[i64], ran: i64) -> Vec<i64> {
    let longer = lengths.iter().filter(|length| **length > ran).map(|length| length - ran);
    let longer: Vec<i64> = longer.collect();
    // Longer than ever before: as long again as it has run, for want of better.
    if longer.is_empty() { vec![ran] } else { longer }
}

/// What `one` comes to in each draw, from the shortest to the longest; in microseconds.
pub(super) fn draws(mut one: impl FnMut(&mut Dice) -> i64) -> Vec<i64> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut drawn: Vec<i64> = (0..DRAWS).map(|_| one(&mut dice)).collect();
    drawn.sort_unstable();
    drawn
}

/// The draw that so many tenths of all do not exceed.
pub(super) fn tenths(draws: &[i64], tenths: usize) -> i64 {
    draws[draws.len() * tenths / 10]
}

/// When something comes that takes so long from now, by so many lengths that there were.
pub(super) fn expected(draws: &[i64], now: Timestamp, lengths: usize) -> WhyExpected {
    let at = |part: usize| DateTime(now.plus(Micros(tenths(draws, part))));
    WhyExpected { p50: at(5), p90: at(9), of: u32::try_from(lengths).unwrap_or(u32::MAX) }
}
