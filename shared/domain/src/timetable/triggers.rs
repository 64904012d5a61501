//! Trigger timetables: a run at every tick, over a length of time before it that has nothing to do with the
//! ticks; and several cron expressions as one row of ticks.
use std::sync::Arc;

use dagbok_events::{Interval, RunImmediately, Span, Timestamp};

use super::cron::CronTicks;
use super::delta::moved;
use super::error::BadSchedule;
use super::ticks::{self, Ticks};
use super::{Limits, Missed, Planned};

/// The length of data before each tick; by default none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before(pub(super) Span);

impl Before {
    /// The data interval of the run at `tick`.
    pub(super) fn interval(self, tick: Timestamp) -> Interval {
        let start = moved(self.0, tick, -1).unwrap_or(tick);
        Interval { start, end: tick }
    }

    /// The run at `tick`.
    pub(super) fn run_at(self, tick: Timestamp) -> Planned {
        Planned::over(self.interval(tick))
    }

    /// Where an interval ends that begins at `start`.
    pub(super) fn end(self, start: Timestamp) -> Timestamp {
        moved(self.0, start, 1).unwrap_or(start)
    }

    /// Missed ticks as the logical dates of their runs.
    pub(super) fn started(self, missed: Missed) -> Missed {
        let start = |tick| self.interval(tick).start;
        Missed { first: start(missed.first), last: start(missed.last), count: missed.count }
    }
}

/// One cron expression or several, in one zone.
#[derive(Clone, Debug)]
pub(super) struct Triggers {
    crons: Arc<[CronTicks]>,
    before: Before,
    immediately: RunImmediately,
}

impl Triggers {
    /// Reads the expressions.
    pub(super) fn new(
        expressions: &[String],
        zone: &str,
        interval: Span,
        immediately: RunImmediately,
    ) -> Result<Self, BadSchedule> {
        if expressions.is_empty() {
            return Err(BadSchedule::NoCron);
        }
        let crons = expressions.iter().map(|expression| CronTicks::new(expression, zone));
        let crons = crons.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { crons: crons.into(), before: Before(interval), immediately })
    }

    /// The length of data before each tick.
    pub(super) const fn before(&self) -> Before {
        self.before
    }

    /// Whether no date can ever match.
    pub(super) fn is_never(&self) -> bool {
        self.crons.iter().all(CronTicks::is_never)
    }

    /// The next run. Each expression is asked by itself, as in Airflow: where the DAG catches up the first of their
    /// answers counts, otherwise the newest whose logical date is past, and the first to come where none is.
    pub(super) fn next_run(
        &self,
        last: Option<Interval>,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<Planned> {
        let within = |tick: &Timestamp| limits.end_date.is_none_or(|end| *tick <= end);
        let ask = |cron: &CronTicks| match (last, limits.start_date) {
            (None, None) => cron.first_run_by(self.immediately, now).filter(within),
            _ => ticks::next_trigger(cron, last, limits, now),
        };
        let runs = self.crons.iter().filter_map(ask).map(|tick| self.before.run_at(tick));
        let newest_past = |run: &Planned| {
            let at = run.logical_date;
            (at > now, if at > now { at.0 } else { at.0.saturating_neg() })
        };
        if limits.catchup {
            runs.min_by_key(|run| run.logical_date)
        } else {
            runs.min_by_key(newest_past)
        }
    }

    fn first_of(&self, ask: impl Fn(&CronTicks) -> Option<Timestamp>) -> Option<Timestamp> {
        self.crons.iter().filter_map(ask).min()
    }

    fn last_of(&self, ask: impl Fn(&CronTicks) -> Option<Timestamp>) -> Option<Timestamp> {
        self.crons.iter().filter_map(ask).max()
    }
}

impl Ticks for Triggers {
    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        self.first_of(|cron| cron.next(from))
    }

    fn prev(&self, from: Timestamp) -> Option<Timestamp> {
        self.last_of(|cron| cron.prev(from))
    }

    fn align_next(&self, at: Timestamp) -> Option<Timestamp> {
        self.first_of(|cron| cron.align_next(at))
    }

    fn align_prev(&self, at: Timestamp) -> Option<Timestamp> {
        self.last_of(|cron| cron.align_prev(at))
    }

    fn latest_start(&self, anchor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        self.last_of(|cron| cron.latest_start(anchor, now))
    }

    fn first_run(&self, now: Timestamp) -> Option<Timestamp> {
        self.first_of(|cron| cron.first_run_by(self.immediately, now))
    }
}
