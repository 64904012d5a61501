//! The two ways in which Airflow turns ticks into runs.
//!
//! A schedule is a row of ticks ([`Ticks`]). The data-interval rule (Airflow 2) makes a run of each
//! stretch between two ticks, when the stretch is over. The trigger rule (Airflow 3) makes a run of each
//! tick, with an empty interval. Both are written once here, over any ticks.
use dagbok_events::{Interval, Micros, Timestamp};

use super::{Limits, Missed, Planned};

/// The instants at which something is due. `None` everywhere: there is no such tick.
pub(super) trait Ticks {
    /// The first tick after `from`.
    fn next(&self, from: Timestamp) -> Option<Timestamp>;
    /// The last tick before `from`.
    fn prev(&self, from: Timestamp) -> Option<Timestamp>;
    /// `at` where it is a tick, otherwise the next one.
    fn align_next(&self, at: Timestamp) -> Option<Timestamp>;
    /// `at` where it is a tick, otherwise the one before.
    fn align_prev(&self, at: Timestamp) -> Option<Timestamp>;
    /// Where the newest interval begins that is worth a run at `now` when nothing is caught up.
    fn latest_start(&self, anchor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp>;
    /// The first run of a DAG without a start date.
    fn first_run(&self, now: Timestamp) -> Option<Timestamp>;
}

/// The next run of the data-interval rule.
pub(super) fn next_interval(
    ticks: &impl Ticks,
    last: Option<Interval>,
    limits: &Limits,
    now: Timestamp,
) -> Option<Planned> {
    let mut earliest = match limits.start_date {
        Some(start) => Some(ticks.align_next(start)?),
        None => None,
    };
    if !limits.catchup {
        earliest = earliest.max(Some(ticks.latest_start(limits.start_date, now)?));
    }
    let start = match last {
        None => earliest?,
        Some(last) => {
            // The schedule may have changed since the last run: its new ticks count from here on.
            let start = earliest.max(Some(ticks.align_prev(last.end)?))?;
            past(ticks, start, last.start)?
        }
    };
    if limits.end_date.is_some_and(|end| start > end) {
        return None;
    }
    Some(Planned::over(Interval { start, end: ticks.next(start)? }))
}

/// The first of `start` and the ticks after it that is past `last`. Intervals that have become longer can
/// put a tick before the last run, and so can a clock put back by less than an hour (Lord Howe), where
/// Airflow 3 stops for good after one step and Airflow 2 makes the same run over and over.
fn past(ticks: &impl Ticks, start: Timestamp, last: Timestamp) -> Option<Timestamp> {
    const STEPS: usize = 4;
    let following = std::iter::successors(Some(start), |at| ticks.next(*at));
    following.take(STEPS).find(|at| *at > last)
}

/// The next tick of the trigger rule.
pub(super) fn next_trigger(
    ticks: &impl Ticks,
    last: Option<Interval>,
    limits: &Limits,
    now: Timestamp,
) -> Option<Timestamp> {
    let start = match limits.start_date {
        Some(start) => Some(ticks.align_next(start)?),
        None => None,
    };
    let following = match (last, start) {
        (Some(last), _) => Some(ticks.next(last.end)?),
        (None, None) => Some(ticks.first_run(now)?),
        (None, start) => start,
    };
    let at = if limits.catchup {
        following?
    } else {
        following.max(start).max(Some(ticks.align_prev(now)?))?
    };
    limits.end_date.is_none_or(|end| at <= end).then_some(at)
}

/// The interval of a manual run under the data-interval rule: the last one that is over at `at`.
pub(super) fn manual_interval(ticks: &impl Ticks, at: Timestamp) -> Option<Interval> {
    let end = ticks.align_prev(at)?;
    Some(Interval { start: ticks.prev(end)?, end })
}

/// The interval before the one that ends at `end`.
pub(super) fn interval_before(ticks: &impl Ticks, end: Timestamp) -> Option<Interval> {
    let end = strictly_before(ticks, end)?;
    Some(Interval { start: strictly_before(ticks, end)?, end })
}

/// The start of the interval after `last`, had every run been made.
pub(super) fn following_interval(ticks: &impl Ticks, last: Interval) -> Option<Timestamp> {
    past(ticks, ticks.align_prev(last.end)?, last.start)
}

/// The last tick before `until`. Where clocks go forward, the tick that the gap moved on is its own
/// predecessor on the wall: stepping back over the gap finds the one before.
pub(super) fn strictly_before(ticks: &impl Ticks, until: Timestamp) -> Option<Timestamp> {
    const HOUR: Micros = Micros::from_secs(3_600);
    // No gap was ever longer than a day.
    (0..=25).find_map(|hours| {
        let from = Timestamp(until.0.saturating_sub(HOUR.0 * hours));
        ticks.prev(from).filter(|tick| *tick < until)
    })
}

/// Ticks from `first` up to and without `until`: counted up to `max`; the last one asked for directly.
pub(super) fn missed(
    ticks: &impl Ticks,
    first: Timestamp,
    until: Timestamp,
    max: u32,
) -> Option<Missed> {
    if first >= until {
        return None;
    }
    let (mut at, mut count) = (first, 1.min(max));
    while count < max {
        let Some(following) = ticks.next(at).filter(|following| *following < until) else { break };
        (at, count) = (following, count + 1);
    }
    let last = strictly_before(ticks, until).unwrap_or(at).max(at);
    Some(Missed { first, last, count })
}
