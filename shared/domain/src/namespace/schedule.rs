//! A DAG's promises: the next run that its schedule calls for, written ahead of time, and the ones
//! that were not kept.
use dagbok_events::{
    DagSpec, Fact, Interval, Micros, MissedWhy, RunExpected, RunMissed, Timestamp, Timetable,
};
use dagbok_protocol::limits::{EXPECTED_GRACE_US, MISSED_COUNTED};

use super::Dag;
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
    version.schedule.as_ref()?.next(last, &limits, now)
}

fn limits_of(version: &Version, catchup: bool) -> Limits {
    Limits { start_date: version.spec.start_date, end_date: version.spec.end_date, catchup }
}

/// The run to make at `at`, now that the promise has come due: the one promised, or, where the DAG does
/// not catch up, the newest that is due.
pub(super) fn to_make(dag: &Dag, at: Timestamp) -> Option<Planned> {
    let standing = promised(dag.expected.as_ref()?)?;
    let version = &dag.current;
    let newest = match &version.spec.schedule.timetable {
        // Its interval reaches up to the moment that the run is made.
        Timetable::Continuous => next(version, dag.last_interval, at),
        // Asked again once the date has come, these would answer with another date.
        Timetable::Once | Timetable::Manual => None,
        _ if version.spec.catchup => None,
        Timetable::Events { dates } => newest_event(dates, version, at),
        _ => next(version, dag.last_interval, at),
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
pub(super) fn after(version: &Version, made: &Planned, at: Timestamp) -> RunExpected {
    let mut planned = next(version, Some(made.data_interval), at);
    if let (Some(run), Timetable::Continuous) = (&mut planned, &version.spec.schedule.timetable) {
        run.run_after = run.run_after.max(at.plus(CONTINUOUS_PAUSE));
    }
    promise(version, planned.as_ref())
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
    let planned = next(version, dag.last_interval, at);
    let until = planned.as_ref().map(|run| run.logical_date);
    let missed = missed(dag, until, at, why);
    let changed = changed_promise(version, dag.expected.as_ref(), dag.last_interval, at);
    missed.into_iter().chain(changed).collect()
}

/// Whether both promise the same runs.
pub(super) fn same_schedule(old: &DagSpec, new: &DagSpec) -> bool {
    let dates = |spec: &DagSpec| (spec.start_date, spec.end_date, spec.catchup);
    old.schedule == new.schedule && dates(old) == dates(new)
}

/// The promise as a fact; `None` withdraws what was promised.
pub(super) fn promise(version: &Version, planned: Option<&Planned>) -> RunExpected {
    RunExpected {
        logical_date: planned.map(|run| run.logical_date),
        data_interval: planned.map(|run| run.data_interval),
        due: planned.map(|run| run.run_after),
        grace: Micros(EXPECTED_GRACE_US),
        owner: version.spec.owner.clone(),
    }
}

/// The promise that should stand now, if it differs from the one that does.
pub(super) fn changed_promise(
    version: &Version,
    standing: Option<&RunExpected>,
    last: Option<Interval>,
    now: Timestamp,
) -> Option<Fact> {
    let planned = next(version, last, now);
    let promise = promise(version, planned.as_ref());
    let same = match (standing, &planned) {
        (None, None) => true,
        (Some(old), Some(_)) => {
            (old.logical_date, old.due, &old.owner)
                == (promise.logical_date, promise.due, &promise.owner)
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
    let schedule = dag.current.schedule.as_ref()?;
    let limits = limits_of(&dag.current, true);
    let is_missed =
        |run: &Planned| run.run_after <= now && until.is_none_or(|until| run.logical_date < until);
    let following = |run: &Planned| {
        let next = schedule.next(Some(run.data_interval), &limits, now);
        next.filter(|next| next.logical_date > run.logical_date)
    };
    // A run that is made for another date, before the next one would have been, is moved and not missed.
    let moved = |until| following(&standing).is_none_or(|next| next.logical_date > until);
    if !is_missed(&standing) || (why != MissedWhy::ScheduleChanged && until.is_some_and(moved)) {
        return None;
    }
    let (mut last, mut count) = (standing, 1);
    while count < MISSED_COUNTED
        && let Some(next) = following(&last).filter(is_missed)
    {
        (last, count) = (next, count + 1);
    }
    let first = standing.logical_date;
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
