//! A DAG's promises: the next run that its schedule calls for, written ahead of time, and the ones
//! that were not kept.
use dagbok_events::{Fact, Interval, Micros, MissedWhy, RunExpected, RunMissed, Timestamp};
use dagbok_protocol::limits::{EXPECTED_GRACE_US, MISSED_COUNTED};

use super::Dag;
use crate::{
    graph::Version,
    timetable::{Limits, Planned},
};

/// The run that a DAG's schedule calls for after `last`.
pub(super) fn next(version: &Version, last: Option<Interval>, now: Timestamp) -> Option<Planned> {
    let limits = limits_of(version, version.spec.catchup);
    version.schedule.as_ref()?.next(last, &limits, now)
}

fn limits_of(version: &Version, catchup: bool) -> Limits {
    Limits { start_date: version.spec.start_date, end_date: version.spec.end_date, catchup }
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
pub(super) fn missed(dag: &Dag, until: Option<Timestamp>, now: Timestamp, why: MissedWhy) -> Option<Fact> {
    let standing = dag.expected.as_ref()?;
    let (first, mut interval) = (standing.logical_date?, standing.data_interval?);
    let is_missed = |date: Timestamp, due: Timestamp| due <= now && until.is_none_or(|until| date < until);
    if !is_missed(first, standing.due?) {
        return None;
    }
    let limits = limits_of(&dag.current, true);
    let (mut last, mut count) = (first, 1);
    if let Some(schedule) = &dag.current.schedule {
        while count < MISSED_COUNTED
            && let Some(planned) = schedule.next(Some(interval), &limits, now)
            && planned.logical_date > last
            && is_missed(planned.logical_date, planned.run_after)
        {
            (last, interval, count) = (planned.logical_date, planned.data_interval, count + 1);
        }
    }
    Some(Fact::RunMissed(RunMissed { first, last, count, why }))
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
