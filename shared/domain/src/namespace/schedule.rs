//! A DAG's promises: the next run that its schedule calls for, written ahead of time, and the ones
//! that were not kept.
use dagbok_events::{
    DagSpec, Fact, Interval, Micros, MissedWhy, RunExpected, RunMissed, Timestamp, Timetable,
};
use dagbok_protocol::{
    ComingRuns,
    limits::{CLOCK_BACK_US, EXPECTED_GRACE_US, MISSED_COUNTED},
};

use super::{Dag, horizon};
use crate::{
    graph::Version,
    timetable::{Limits, Planned},
};

/// The least time from one run of a continuous schedule to the next: a run that takes no time must not
/// fill the log.
const CONTINUOUS_PAUSE: Micros = Micros::from_secs(1);

/// The run that a DAG's schedule calls for after `last`.
pub(super) fn next(version: &Version, last: Option<Interval>, now: Timestamp) -> Option<Planned> {
    let limits = limits_of(version, version.spec.catchup);
    version.schedule.as_ref()?.next_in_row(last, &limits, now)
}

pub(super) fn limits_of(version: &Version, catchup: bool) -> Limits {
    Limits { start_date: version.spec.start_date, end_date: version.spec.end_date, catchup }
}

/// The run to make at `at`, now that the promise has come due: the one promised, however late it is. As in
/// Airflow, it is the newest that is due instead where the DAG does not catch up and had no room for it.
pub(super) fn to_make(dag: &Dag, at: Timestamp) -> Option<Planned> {
    let standing = promised(dag.expected.as_ref()?)?;
    let version = &dag.current;
    let newest = match &version.spec.schedule.timetable {
        // Its interval reaches up to the moment that the run is made.
        Timetable::Continuous => next(version, last_due(dag, version, at), at),
        // Asked again once the date has come, these would answer with another date.
        timetable if timetable.has_no_ticks() || *timetable == Timetable::Once => None,
        _ if version.spec.catchup || why_missed(dag) != MissedWhy::TooManyActive => None,
        Timetable::Events { dates, .. } => newest_event(dates, version, at),
        _ => next(version, last_due(dag, version, at), at),
    };
    let newer = |run: &Planned| run.run_after <= at && run.logical_date >= standing.logical_date;
    Some(newest.filter(newer).unwrap_or(standing))
}

fn newest_event(dates: &[Interval], version: &Version, at: Timestamp) -> Option<Planned> {
    let end = version.spec.end_date.unwrap_or(Timestamp(i64::MAX));
    let due = dates.iter().filter(|date| date.end <= at && date.start <= end);
    let date = *due.max()?;
    Some(Planned { logical_date: date.start, data_interval: date, run_after: date.end })
}

/// The run that follows one made at `at`, as the next promise.
pub(super) fn after(dag: &Dag, made: &Planned, at: Timestamp) -> RunExpected {
    let version = &dag.current;
    let mut planned = next(version, Some(made.data_interval), at);
    if let (Some(run), Timetable::Continuous) = (&mut planned, &version.spec.schedule.timetable) {
        run.run_after = run.run_after.max(at.plus(CONTINUOUS_PAUSE));
    }
    promise(version, Some(dag), planned.as_ref(), at)
}

fn promised(standing: &RunExpected) -> Option<Planned> {
    Some(Planned {
        logical_date: standing.logical_date?,
        data_interval: standing.data_interval?,
        run_after: standing.due?,
    })
}

/// What follows where a promise is made anew, by a change of the DAG or of its being paused: the promised
/// runs that did not happen and won't, and the promise that stands from now on.
pub(super) fn renewed(dag: &Dag, version: &Version, at: Timestamp, why: MissedWhy) -> Vec<Fact> {
    let planned = next(version, last_due(dag, version, at), at);
    let until = planned.as_ref().map(|run| run.logical_date);
    let missed = missed(dag, until, at, why);
    let changed = changed_promise(version, Some(dag), last_due(dag, version, at), at);
    missed.into_iter().chain(changed).collect()
}

/// The interval of the last automatic run that was due by `now`. A clock that was ahead may have made runs
/// that are not: they stay, and the schedule goes on before them.
fn last_due(dag: &Dag, version: &Version, now: Timestamp) -> Option<Interval> {
    let last = dag.last_interval?;
    // What a timetable written in Python makes may be due before its data is over.
    if last.end <= now.plus(Micros(CLOCK_BACK_US)) || version.foretold().is_some() {
        return Some(last);
    }
    let (spec, schedule) = (&version.spec, version.schedule.as_ref()?);
    let before = schedule.before_due(last, now)?;
    let moved = before != last && spec.schedule.timetable != Timetable::Continuous;
    match spec.start_date {
        Some(start) if moved && before.start < start => None,
        // Where the clock is behind, a young DAG must not catch up with what was before it.
        None if moved && spec.catchup && !dag.dates.has_by(before.start) => Some(last),
        _ => Some(before),
    }
}

/// The promise by the clock as it is, where another one stands that is not due yet: past the runs that are there.
pub(super) fn mended(dag: &Dag, now: Timestamp) -> Option<RunExpected> {
    let standing = dag.expected.as_ref();
    if standing.and_then(|run| run.due).is_some_and(|due| due <= now.plus(CONTINUOUS_PAUSE)) {
        return None;
    }
    let version = &dag.current;
    let mut planned = next(version, last_due(dag, version, now), now);
    if version.spec.schedule.timetable != Timetable::Continuous {
        while let Some(run) = planned.filter(|run| dag.dates.contains(run.logical_date)) {
            let following = next(version, Some(run.data_interval), now);
            planned = following.filter(|next| next.logical_date > run.logical_date);
        }
    }
    // Only where it differs: what comes after it is long to find.
    let dates = planned.as_ref().map(|run| (run.logical_date, run.run_after));
    let stands = standing.and_then(|run| Some((run.logical_date?, run.due?)));
    (stands != dates).then(|| promise(version, Some(dag), planned.as_ref(), now))
}

/// Whether a promise lies before the one that stands.
pub(super) fn is_sooner(dag: &Dag, promise: &RunExpected) -> bool {
    match (promise.due, dag.expected.as_ref().and_then(|run| run.due)) {
        (Some(due), Some(standing)) => due < standing,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// Whether both promise the same runs.
pub(super) fn same_schedule(old: &DagSpec, new: &DagSpec) -> bool {
    let dates = |spec: &DagSpec| (spec.start_date, spec.end_date, spec.catchup);
    old.schedule == new.schedule && dates(old) == dates(new)
}

/// The promise as a fact, with what comes after it; `None` withdraws what was promised.
pub(super) fn promise(
    version: &Version,
    dag: Option<&Dag>,
    planned: Option<&Planned>,
    now: Timestamp,
) -> RunExpected {
    let (keeps, further) =
        planned.map(|run| horizon::beyond(version, dag, run, now)).unwrap_or_default();
    RunExpected {
        logical_date: planned.map(|run| run.logical_date),
        data_interval: planned.map(|run| run.data_interval),
        due: planned.map(|run| run.run_after),
        grace: Micros(EXPECTED_GRACE_US),
        owner: version.spec.owner.clone(),
        further,
        keeps,
    }
}

/// The promise that should stand now, if it differs from the one that does.
pub(super) fn changed_promise(
    version: &Version,
    dag: Option<&Dag>,
    last: Option<Interval>,
    now: Timestamp,
) -> Option<Fact> {
    let planned = next(version, last, now);
    let promise = promise(version, dag, planned.as_ref(), now);
    let ahead =
        promise.further.is_empty() && (promise.keeps || dag.is_none_or(|dag| dag.ahead.is_empty()));
    let same = match (dag.and_then(|dag| dag.expected.as_ref()), &planned) {
        (None, None) => true,
        (Some(old), Some(_)) => {
            (old.logical_date, old.due, &old.owner)
                == (promise.logical_date, promise.due, &promise.owner)
                && ahead
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    (!same).then_some(Fact::RunExpected(promise))
}

/// The promised runs from the one that stands up to, without, `until`: due by now and not made.
pub(super) fn missed(
    dag: &Dag,
    until: Option<Timestamp>,
    now: Timestamp,
    why: MissedWhy,
) -> Option<Fact> {
    let standing = promised(dag.expected.as_ref()?)?;
    // These have one run, or one at a time, which is moved and not missed.
    let moves =
        matches!(dag.current.spec.schedule.timetable, Timetable::Once | Timetable::Continuous);
    if moves && why != MissedWhy::ScheduleChanged && until.is_some() {
        return None;
    }
    passed_over(dag, standing, until, now, why)
}

/// The runs between one that was made late and the next promise, where the DAG does not catch up.
pub(super) fn skipped(
    dag: &Dag,
    made: &Planned,
    next: &RunExpected,
    now: Timestamp,
) -> Option<Fact> {
    if dag.current.spec.schedule.timetable == Timetable::Continuous {
        return None;
    }
    let first = following(dag, made, now)?;
    passed_over(dag, first, next.logical_date, now, MissedWhy::NoScheduler)
}

/// The run that follows where every one is made.
fn following(dag: &Dag, run: &Planned, now: Timestamp) -> Option<Planned> {
    let limits = limits_of(&dag.current, true);
    let next = dag.current.schedule.as_ref()?.next(Some(run.data_interval), &limits, now);
    next.filter(|next| next.logical_date > run.logical_date)
}

/// The runs from `first` on, up to and without `until`, that were due by now.
fn passed_over(
    dag: &Dag,
    first: Planned,
    until: Option<Timestamp>,
    now: Timestamp,
    why: MissedWhy,
) -> Option<Fact> {
    let is_missed =
        |run: &Planned| run.run_after <= now && until.is_none_or(|until| run.logical_date < until);
    if dag.current.schedule.is_none() || !is_missed(&first) {
        return None;
    }
    let (mut last, mut count) = (first, 1);
    while count < MISSED_COUNTED
        && let Some(next) = following(dag, &last, now).filter(is_missed)
    {
        (last, count) = (next, count + 1);
    }
    let first = first.logical_date;
    let last =
        if count < MISSED_COUNTED { last.logical_date } else { newest(dag, &last, until, now) };
    Some(Fact::RunMissed(RunMissed { first, last, count, why }))
}

/// The last of the missed runs after `from`, where there are too many to count.
fn newest(dag: &Dag, from: &Planned, until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let Some(schedule) = &dag.current.schedule else { return from.logical_date };
    let limits = limits_of(&dag.current, false);
    let newest = schedule.next(Some(from.data_interval), &limits, now);
    let bound = match (until, newest) {
        (Some(until), _) => until,
        (None, Some(run)) if run.run_after <= now => return run.logical_date,
        (None, Some(run)) => run.logical_date,
        (None, None) => limits.end_date.unwrap_or(from.logical_date).plus(Micros(1)),
    };
    let between = schedule.missed_between(from.data_interval, bound, 1);
    between.map_or(from.logical_date, |missed| missed.last)
}

/// A promised run whose logical date somebody else's run has.
pub(super) const fn made_by_hand(date: Timestamp) -> Fact {
    Fact::RunMissed(RunMissed { first: date, last: date, count: 1, why: MissedWhy::MadeByHand })
}

/// What runs a paused DAG would make at `now`, were it not paused any more.
pub(super) fn would_make(dag: &Dag, now: Timestamp) -> ComingRuns {
    let version = &dag.current;
    let goes_on = version.spec.catchup && dag.expected.is_some();
    let standing = dag.expected.as_ref().filter(|_| goes_on).and_then(promised);
    let Some(first) = standing.or_else(|| next(version, last_due(dag, version, now), now)) else {
        return ComingRuns::default();
    };
    if first.run_after > now {
        return ComingRuns { next_due: Some(first.run_after), ..ComingRuns::default() };
    }
    let is_due = |run: &Planned| run.run_after <= now;
    let (mut last, mut count) = (first, 1);
    while version.spec.catchup
        && count < MISSED_COUNTED
        && let Some(run) = following(dag, &last, now).filter(is_due)
    {
        (last, count) = (run, count + 1);
    }
    let whole = count < MISSED_COUNTED;
    let after = following(dag, &last, now).filter(|_| whole).map(|run| run.run_after);
    ComingRuns {
        count,
        first: Some(first.logical_date),
        last: whole.then_some(last.logical_date),
        next_due: after,
    }
}

/// Why the promise that stands was not kept, as far as the log can tell.
pub(super) fn why_missed(dag: &Dag) -> MissedWhy {
    let due = dag.expected.as_ref().and_then(|run| run.due);
    let before = |at: Option<Timestamp>| matches!((due, at), (Some(due), Some(at)) if due <= at);
    if before(dag.unpaused_at) {
        MissedWhy::Paused
    } else if before(dag.full_until) {
        MissedWhy::TooManyActive
    } else {
        MissedWhy::NoScheduler
    }
}
