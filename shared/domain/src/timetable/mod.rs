//! When runs are made: Airflow's timetables, as pure functions of the schedule, the last run and `now`.
//!
//! A [`Schedule`] is [`compile`]d once for each version of a DAG; the result answers three questions:
//! which run comes next ([`CompiledSchedule::next`]), which data interval a manual run stands for
//! ([`CompiledSchedule::manual_interval`]), and which runs never came ([`CompiledSchedule::missed_between`]).
//! The clock is an argument, time zones come from the database in the binary, and the same question
//! gets the same answer on every machine and at every replay.
//!
//! The rules are Airflow's, and where its eras disagree those of 3.3. `tests/oracle` has what both
//! eras answered to thousands of questions, and `tests/timetable_oracle.rs` the reasons for which they
//! differ. Ours differs from 3.3 in two places: where a clock is put back by less than an hour, an hourly
//! schedule goes on (Airflow's raises and never runs again), and random (`R`) cron fields are refused.
//!
//! - A data interval's run is due when the interval is over; its logical date is the interval's start.
//!   A trigger's run is due at its tick, and its interval is empty.
//! - Start and end dates are inclusive, and bound the logical date.
//! - Without catchup the newest run that is due is made and those before are passed over. This is
//!   computed, not stepped through: a minute schedule that was down for a decade costs nothing.
//! - Without a start date a data-interval schedule that catches up makes no scheduled runs, since
//!   there is nothing to catch up from; every other schedule starts from `now`.
//! - An expression that no date matches (30 February) is accepted, as Airflow accepts it, and has no runs.
//!
//! Absent on purpose: `max_active_runs`, pausing, and whether a run is already there. Asset schedules
//! are not ticks of a clock, and live elsewhere; timetables written in Python are run elsewhere, and what they answered
//! is [`Foretold`].
mod cron;
mod delta;
mod dialect;
mod error;
mod foretold;
mod ticks;
mod triggers;
mod zone;

use std::sync::Arc;

use dagbok_events::{Interval, Partition, RunImmediately, Schedule, Span, Timestamp, Timetable};

use crate::partition::key_of_tick;

use cron::CronTicks;
use delta::DeltaTicks;
pub use error::BadSchedule;
pub use foretold::Foretold;
use ticks::Ticks;
use triggers::{Before, Triggers};
pub(crate) use zone::Zone;

/// A schedule made ready; cheap to clone.
#[derive(Clone, Debug)]
pub struct CompiledSchedule {
    rule: Rule,
    /// Whether a trigger without a start date is as in Airflow 2: nothing to catch up from, and otherwise the last
    /// tick, however long ago that was.
    older: bool,
}

#[derive(Clone, Debug)]
enum Rule {
    Manual,
    Once,
    Continuous,
    CronInterval(CronTicks),
    CronTrigger(Triggers),
    DeltaInterval(DeltaTicks),
    DeltaTrigger(DeltaTicks, Before),
    Events {
        dates: Arc<[Interval]>,
        restricted: bool,
    },
    /// What a timetable written in Python answered.
    Foretold(Foretold),
    /// Ticks whose runs stand for partitions.
    Partition(Triggers, PartitionOf),
}

/// Which partition a run at a tick stands for.
#[derive(Clone, Debug)]
struct PartitionOf {
    /// How many ticks later it begins; below 0 earlier.
    run_offset: i32,
    key_format: String,
    zone: Zone,
}

/// What a DAG says about its scheduled runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First logical date that a scheduled run may have.
    pub start_date: Option<Timestamp>,
    /// Last one.
    pub end_date: Option<Timestamp>,
    /// Whether runs that were missed are made up for.
    pub catchup: bool,
}

/// A run to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    /// What the run stands for.
    pub logical_date: Timestamp,
    /// The stretch of data it works on.
    pub data_interval: Interval,
    /// When it is due.
    pub run_after: Timestamp,
}

impl Planned {
    /// A run over `interval`, due when that is over.
    fn over(interval: Interval) -> Self {
        Self { logical_date: interval.start, data_interval: interval, run_after: interval.end }
    }
}

/// Runs that were due and never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The first one's logical date.
    pub first: Timestamp,
    /// The last one's.
    pub last: Timestamp,
    /// How many, counted up to the limit asked for.
    pub count: u32,
}

/// Reads a schedule. An error says which field, zone or delta is wrong and what to write instead.
pub fn compile(schedule: &Schedule) -> Result<CompiledSchedule, BadSchedule> {
    let zone = schedule.timezone.as_str();
    let rule = match &schedule.timetable {
        Timetable::Manual
        | Timetable::PartitionedAsset { .. }
        | Timetable::PartitionedAtRuntime => Rule::Manual,
        Timetable::Once => Rule::Once,
        Timetable::Continuous => Rule::Continuous,
        Timetable::CronDataInterval { expression } => {
            Rule::CronInterval(CronTicks::new(expression, zone)?)
        }
        Timetable::CronTrigger { expression } => {
            let one = std::slice::from_ref(expression);
            Rule::CronTrigger(Triggers::new(one, zone, Span::default(), RunImmediately::IfNear)?)
        }
        Timetable::CronTriggers { expressions, interval, run_immediately } => {
            Rule::CronTrigger(Triggers::new(expressions, zone, *interval, *run_immediately)?)
        }
        Timetable::DeltaDataInterval { every, months } => {
            Rule::DeltaInterval(DeltaTicks::new(*every, *months)?)
        }
        Timetable::DeltaTrigger { every, months } => {
            Rule::DeltaTrigger(DeltaTicks::new(*every, *months)?, Before::default())
        }
        Timetable::DeltaTriggers { every, interval } => {
            Rule::DeltaTrigger(DeltaTicks::new(every.micros, every.months)?, Before(*interval))
        }
        Timetable::Events { dates, restricted } => {
            let mut dates = dates.clone();
            dates.sort_unstable();
            dates.dedup();
            Rule::Events { dates: dates.into(), restricted: *restricted }
        }
        Timetable::Python { .. } => Rule::Foretold(Foretold::default()),
        Timetable::CronPartition { expression, run_offset, key_format, run_immediately } => {
            let one = std::slice::from_ref(expression);
            let partition = PartitionOf {
                run_offset: *run_offset,
                key_format: key_format.clone(),
                zone: Zone::parse(zone)?,
            };
            Rule::Partition(Triggers::new(one, zone, Span::default(), *run_immediately)?, partition)
        }
    };
    Ok(CompiledSchedule { rule, older: false })
}

impl CompiledSchedule {
    /// As the era of the file has it. Airflow 2 begins a schedule of calendar months that does not catch up by
    /// multiples of 30 days since 1970, and Airflow 3 by the months since the start date.
    #[must_use]
    pub fn of_era(mut self, era: u8) -> Self {
        self.older = era < 3;
        if let Rule::DeltaInterval(delta) = &mut self.rule {
            delta.begin_by_days(era < 3);
        }
        self
    }

    /// The next scheduled run after `last`, the data interval of the DAG's last scheduled run.
    ///
    /// `None`: nothing more (the end date, no schedule, a single run done). The answer may lie in the
    /// future; the run is due at its `run_after`. Without catchup the answer moves on with `now`, as
    /// Airflow's does: a plan once made must be kept until it is due, not asked for again, where the
    /// schedule is a list of events.
    #[must_use]
    pub fn next(&self, last: Option<Interval>, limits: &Limits, now: Timestamp) -> Option<Planned> {
        match &self.rule {
            Rule::Manual => None,
            Rule::Once => once(last, limits, now),
            Rule::Continuous => continuous(last, limits, now),
            Rule::CronInterval(cron) => ticks::next_interval(cron, last, limits, now),
            Rule::CronTrigger(crons) if self.older && is_first(last, limits) => {
                first_of_older(crons, crons.before(), limits, now)
            }
            Rule::DeltaTrigger(delta, before) if self.older && is_first(last, limits) => {
                first_of_older(delta, *before, limits, now)
            }
            Rule::CronTrigger(crons) | Rule::Partition(crons, _) => {
                crons.next_run(last, limits, now)
            }
            Rule::DeltaInterval(delta) => ticks::next_interval(delta, last, limits, now),
            Rule::DeltaTrigger(delta, before) => {
                Some(before.run_at(ticks::next_trigger(delta, last, limits, now)?))
            }
            Rule::Events { dates, .. } => next_event(dates, last, limits, now),
            Rule::Foretold(foretold) => foretold.next(last, limits, now),
        }
    }

    /// As [`CompiledSchedule::next`], in the row of ticks that `last` belongs to. Without catchup Airflow begins a
    /// new row with each run that a delta makes late: at `now`, or on a multiple of the delta since 1970.
    #[must_use]
    pub fn next_in_row(
        &self,
        last: Option<Interval>,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<Planned> {
        let earliest = limits.start_date.unwrap_or(Timestamp(i64::MIN));
        let interval = match (&self.rule, last) {
            (Rule::DeltaTrigger(delta, before), Some(last)) if !limits.catchup => {
                let at = Some(delta.newest(last.end, now)).filter(|tick| *tick > last.end);
                let at = at.or_else(|| delta.next(last.end))?.max(earliest);
                return (!ends_before(limits, at)).then(|| before.run_at(at));
            }
            (Rule::DeltaInterval(delta), Some(last)) if !limits.catchup => {
                let over = delta.newest(last.end, now);
                let start = delta.prev(over).filter(|start| *start > last.end);
                let start = start.unwrap_or(last.end).max(earliest);
                Interval { start, end: delta.next(start)? }
            }
            _ => return self.next(last, limits, now),
        };
        (!ends_before(limits, interval.start)).then(|| Planned::over(interval))
    }

    /// The interval before the last one whose run is due by `now`, in the row that `last` belongs to: where the
    /// schedule goes on when `last` lies ahead. `None`: from the start.
    #[must_use]
    pub fn before_due(&self, last: Interval, now: Timestamp) -> Option<Interval> {
        match &self.rule {
            Rule::Manual | Rule::Once => Some(last),
            Rule::Continuous => {
                Some(Interval { start: last.start.min(now), end: last.end.min(now) })
            }
            Rule::CronInterval(cron) => ticks::interval_before(cron, cron.align_prev(now)?),
            Rule::CronTrigger(crons) | Rule::Partition(crons, _) => {
                let tick = ticks::strictly_before(crons, crons.align_prev(now)?)?;
                Some(crons.before().interval(tick))
            }
            Rule::DeltaInterval(delta) => ticks::interval_before(delta, delta.back(last.end, now)?),
            Rule::DeltaTrigger(delta, before) => {
                let tick = ticks::strictly_before(delta, delta.back(last.end, now)?)?;
                Some(before.interval(tick))
            }
            Rule::Events { dates, .. } => {
                let due = dates.partition_point(|date| date.end <= now);
                dates.get(due.checked_sub(2)?).copied()
            }
            Rule::Foretold(foretold) => foretold.before_due(now).or(Some(last)),
        }
    }

    /// The data interval of a run that somebody triggers for `logical_date`: the last one that is over
    /// by then where the schedule has intervals of its own, the last of the given instants where it is restricted
    /// to these, otherwise the length before that triggers have.
    #[must_use]
    pub fn manual_interval(&self, logical_date: Timestamp) -> Interval {
        match &self.rule {
            Rule::CronInterval(cron) => ticks::manual_interval(cron, logical_date),
            Rule::DeltaInterval(delta) => ticks::manual_interval(delta, logical_date),
            Rule::CronTrigger(crons) => Some(crons.before().interval(logical_date)),
            Rule::DeltaTrigger(_, before) => Some(before.interval(logical_date)),
            Rule::Events { dates, restricted: true } => {
                let past = dates.partition_point(|date| date.start <= logical_date);
                dates.get(past.saturating_sub(1)).copied()
            }
            Rule::Foretold(foretold) => foretold.manual_interval(logical_date),
            _ => None,
        }
        .unwrap_or(Interval { start: logical_date, end: logical_date })
    }

    /// The runs between the one over `after` and the one with logical date `until`, neither of them
    /// included: what catching up would have made. `None` where there are none.
    #[must_use]
    pub fn missed_between(&self, after: Interval, until: Timestamp, max: u32) -> Option<Missed> {
        match &self.rule {
            Rule::Manual | Rule::Once | Rule::Continuous => None,
            Rule::CronInterval(cron) => {
                ticks::missed(cron, ticks::following_interval(cron, after)?, until, max)
            }
            Rule::CronTrigger(crons) | Rule::Partition(crons, _) => {
                let until = crons.before().end(until);
                let missed = ticks::missed(crons, crons.next(after.end)?, until, max)?;
                Some(crons.before().started(missed))
            }
            Rule::DeltaInterval(delta) => {
                delta.missed(ticks::following_interval(delta, after)?, until, max)
            }
            Rule::DeltaTrigger(delta, before) => {
                let missed = delta.missed(delta.next(after.end)?, before.end(until), max)?;
                Some(before.started(missed))
            }
            Rule::Events { dates, .. } => {
                let from = dates.partition_point(|date| date.end <= after.end);
                let missed =
                    &dates[from..dates.partition_point(|date| date.start < until).max(from)];
                let (first, last) = (missed.first()?.start, missed.last()?.start);
                Some(Missed {
                    first,
                    last,
                    count: u32::try_from(missed.len()).unwrap_or(max).min(max),
                })
            }
            Rule::Foretold(foretold) => foretold.missed_between(after, until, max),
        }
    }

    /// Goes by what a timetable written in Python answered.
    pub(crate) fn foretell(&mut self, new: &Foretold) {
        if let Rule::Foretold(foretold) = &mut self.rule {
            foretold.clone_from(new);
        }
    }

    /// What a timetable written in Python answered.
    pub(crate) const fn foretold(&self) -> Option<&Foretold> {
        if let Rule::Foretold(foretold) = &self.rule { Some(foretold) } else { None }
    }

    /// The partition that the run at a tick stands for, where the schedule is one of partitions.
    pub fn partition_at(&self, tick: Timestamp) -> Option<Result<Partition, String>> {
        let Rule::Partition(crons, of) = &self.rule else { return None };
        let step = |at: Timestamp| if of.run_offset > 0 { crons.next(at) } else { crons.prev(at) };
        let mut begin = Some(tick);
        for _ in 0..of.run_offset.unsigned_abs() {
            begin = begin.and_then(step);
        }
        let partition = |begin| {
            let key = key_of_tick(begin, &of.key_format, &of.zone)?;
            Ok(Partition { key, date: Some(begin) })
        };
        let no_tick = || "there is no tick so far from the run's".to_owned();
        Some(begin.ok_or_else(no_tick).and_then(partition))
    }

    /// Whether no scheduled run can ever come, although the schedule asks for them: worth a warning.
    #[must_use]
    pub fn is_never(&self) -> bool {
        match &self.rule {
            Rule::CronInterval(cron) => cron.is_never(),
            Rule::CronTrigger(crons) | Rule::Partition(crons, _) => crons.is_never(),
            Rule::Events { dates, .. } => dates.is_empty(),
            _ => false,
        }
    }
}

/// Whether it is the first run of a DAG without a start date.
fn is_first(last: Option<Interval>, limits: &Limits) -> bool {
    last.is_none() && limits.start_date.is_none()
}

/// That run, as Airflow 2 plans it.
fn first_of_older(
    ticks: &impl Ticks,
    before: Before,
    limits: &Limits,
    now: Timestamp,
) -> Option<Planned> {
    let at = ticks.align_prev(now).filter(|_| !limits.catchup)?;
    (!ends_before(limits, at)).then(|| before.run_at(at))
}

fn ends_before(limits: &Limits, at: Timestamp) -> bool {
    limits.end_date.is_some_and(|end| at > end)
}

fn once(last: Option<Interval>, limits: &Limits, now: Timestamp) -> Option<Planned> {
    let at = limits.start_date.unwrap_or(now);
    (last.is_none() && !ends_before(limits, at))
        .then(|| Planned::over(Interval { start: at, end: at }))
}

/// From the last run's end to now; the caller keeps it to one run at a time.
fn continuous(last: Option<Interval>, limits: &Limits, now: Timestamp) -> Option<Planned> {
    let first = limits.start_date.unwrap_or(now);
    let interval = match last {
        None => Interval { start: first, end: first.max(now) },
        // The start date was moved into the future after a run had been planned.
        Some(last) if last.end > now => {
            Interval { start: first, end: first.plus(last.end.since(last.start)) }
        }
        Some(last) => Interval { start: last.end, end: now },
    };
    (!ends_before(limits, interval.end)).then(|| Planned::over(interval))
}

fn next_event(
    dates: &[Interval],
    last: Option<Interval>,
    limits: &Limits,
    now: Timestamp,
) -> Option<Planned> {
    let earliest =
        if limits.catchup { limits.start_date } else { limits.start_date.max(Some(now)) };
    let reached = |date: &Interval| {
        earliest.is_some_and(|earliest| date.start < earliest)
            || last.is_some_and(|last| date.end <= last.end)
    };
    let next = dates.get(dates.partition_point(reached))?;
    (!ends_before(limits, next.start)).then(|| Planned::over(*next))
}
