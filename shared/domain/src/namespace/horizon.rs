//! What is promised beyond the next run: a day ahead or a few runs, whichever is more, so that what comes is read
//! and not computed. It is topped up in blocks, with a promise that is made anyway, and different DAGs at different
//! times, so that a schedule of minutes costs a few words in a record an hour.
use dagbok_events::{DagId, ExpectedRuns, Interval, Micros, Timestamp, Timetable};
use dagbok_protocol::{
    ahead::stretches,
    limits::{AHEAD_MOST, AHEAD_RUNS, AHEAD_US},
};

use super::{Dag, schedule};
use crate::{graph::Version, timetable::Planned};

/// Whether what stands after `run` is kept, and what is to be promised besides.
pub(super) fn beyond(
    version: &Version,
    dag: Option<&Dag>,
    run: &Planned,
    now: Timestamp,
) -> (bool, Vec<ExpectedRuns>) {
    let timetable = &version.spec.schedule.timetable;
    if timetable.has_no_ticks() || matches!(timetable, Timetable::Once | Timetable::Continuous) {
        return (false, Vec::new());
    }
    let goes_on = dag.filter(|dag| {
        let stands = || dag.expected.as_ref().and_then(|run| run.data_interval);
        schedule::same_schedule(&dag.current.spec, &version.spec)
            && dag.current.foretold() == version.foretold()
            && (stands() == Some(run.data_interval) || dag.ahead.contains(run.data_interval))
    });
    let (count, last) = goes_on.map_or((0, None), |dag| dag.ahead.after(run.logical_date));
    // The next chance to top it up is when that run is made.
    let until = now.max(run.run_after).plus(Micros(AHEAD_US));
    let reaches = |count: u64, last: Interval| {
        count + 1 >= AHEAD_RUNS && (last.end >= until || count + 1 >= AHEAD_MOST)
    };
    let keeps = last.is_some();
    let last = last.unwrap_or(run.data_interval);
    if reaches(count, last) {
        return (keeps, Vec::new());
    }
    let block = |count: u64| AHEAD_RUNS + count / 24;
    let mut wanted = None;
    let mut found = Vec::new();
    let (mut last, mut count) = (last, count);
    while wanted.is_none_or(|wanted| count < wanted) {
        let Some(next) = following(version, last, now) else { break };
        found.push(next);
        (last, count) = (next, count + 1);
        if wanted.is_none() && reaches(count, last) {
            let more = if keeps { block(count) } else { 1 + spread(version, block(count)) };
            wanted = Some(count + more);
        }
    }
    (keeps, stretches(found))
}

/// The run after one, where every run is made.
fn following(version: &Version, last: Interval, now: Timestamp) -> Option<Interval> {
    let limits = schedule::limits_of(version, true);
    let next = version.schedule.as_ref()?.next(Some(last), &limits, now)?;
    // A timetable written in Python may let a run wait: of those the next alone is promised.
    let told = version.foretold().is_none() || next.run_after == next.data_interval.end;
    (next.data_interval > last && told).then_some(next.data_interval)
}

/// A number below `most` by a DAG's name: DAGs that were registered at once are not all topped up at once.
fn spread(version: &Version, most: u64) -> u64 {
    let dag_id: &DagId = &version.spec.dag_id;
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    dag_id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, mix) % most.max(1)
}
