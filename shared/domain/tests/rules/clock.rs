//! Clocks that were wrong: what they put off, made or promised is put right by the clock as it is.
use std::collections::BTreeSet;

use dagbok_events::{Fact, Interval, Micros, RunType, Timestamp, Timetable};
use dagbok_protocol::{CommandBody, RefusalCode, limits::CLOCK_BACK_US};

use super::support::*;

/// How far the clock is ahead.
const AHEAD: Micros = Micros::from_secs(26 * 3_600);

/// Runs that the schedule made: their dates, in the order of making.
fn made(world: &World) -> Vec<Timestamp> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    facts
        .filter_map(|fact| match fact {
            Fact::RunCreated(f) if f.run_type == RunType::Scheduled => f.logical_date,
            _ => None,
        })
        .collect()
}

fn back(world: &mut World, by: Micros) -> Vec<String> {
    world.now = Timestamp(world.now.0 - by.0);
    world.settle()
}

#[test]
fn what_was_put_off_by_a_clock_ahead_waits_as_long_by_the_clock_as_it_is() {
    let spec = dag("etl").add("a", &[], |task| (task.retries, task.retry_delay) = (3, secs(5)));
    let spec = spec.with(|dag| (dag.max_active_runs, dag.dagrun_timeout) = (1, Some(HOUR)));
    let mut world = World::with([spec.task("b", &[])]);
    world.queued_for(secs(0));
    let start = world.now;
    world.pass(HOUR);
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.settle();
    world.fail("e1", "etl/r1/a/1").is(["TryFailed a 1 retry 2024-01-01T01:00:05Z"]);
    assert_eq!(
        back(&mut world, HOUR),
        ["ClockWentBack from 2024-01-01T01:00:00Z to 2024-01-01T00:00:00Z"]
    );
    assert_eq!(world.namespace.next_due(world.now), Some(start.plus(secs(5))));
    assert_eq!(world.pass(secs(5)), ["TaskQueued a 2"]);
    assert!(world.log.last().is_some_and(|record| record.clock == Some(world.now)));
    // The run began when the clock was found to be wrong, at the latest.
    world.now = start.plus(Micros(HOUR.0 - 1));
    assert_eq!(world.settle(), [] as [&str; 0]);
    let facts = world.pass(Micros(1));
    assert_eq!(facts[0], "RunTimedOut");
    // And the run that waited for it need not wait for the hour at which it was triggered.
    assert!(facts.contains(&"RunStarted".to_owned()), "{facts:?}");
}

#[test]
fn a_clock_a_little_behind_is_none_that_went_back() {
    let mut world = World::with([dag("etl").daily("2024-01-01")]);
    assert_eq!(back(&mut world, Micros(CLOCK_BACK_US)), [] as [&str; 0]);
    let facts = back(&mut world, Micros(1));
    assert_eq!(facts.len(), 1);
    assert!(facts[0].starts_with("ClockWentBack"));
    assert_eq!(world.settle(), [] as [&str; 0], "once");
}

fn timetables() -> Vec<Timetable> {
    let moments = (0..400).map(|n| at("2024-01-01").plus(secs(n * 1_800)));
    let dates = moments.map(|at| Interval { start: at, end: at }).collect();
    vec![
        Timetable::CronDataInterval { expression: "*/30 * * * *".to_owned() },
        Timetable::CronTrigger { expression: "10,40 * * * *".to_owned() },
        Timetable::DeltaDataInterval { every: secs(1_700), months: 0 },
        Timetable::DeltaTrigger { every: secs(1_700), months: 0 },
        Timetable::DeltaTrigger { every: DAY, months: 0 },
        Timetable::Events { dates, restricted: false },
    ]
}

#[test]
fn a_clock_that_was_ahead_keeps_no_run_from_its_date() {
    for timetable in timetables() {
        for (catchup, start) in [(false, false), (false, true), (true, true)] {
            let spec = dag("etl").timetable(timetable.clone()).with(|dag| {
                dag.catchup = catchup;
                dag.start_date = start.then(|| at("2023-12-31"));
                dag.max_active_runs = 0;
            });
            let case = format!("{timetable:?} catchup={catchup} start={start}");
            let (mut right, mut wrong) = (World::with([spec.clone()]), World::with([spec]));
            for step in 0..400 {
                right.pass(secs(600));
                wrong.pass(secs(600));
                if step == 20 || step == 22 || step == 150 {
                    wrong.pass(AHEAD);
                    back(&mut wrong, AHEAD);
                }
            }
            let (right, wrong) = (made(&right), made(&wrong));
            let once: BTreeSet<_> = wrong.iter().collect();
            assert_eq!(once.len(), wrong.len(), "{case}: none is made twice");
            let lacking: Vec<_> = right.iter().filter(|date| !once.contains(date)).collect();
            assert!(lacking.is_empty(), "{case}: never made: {lacking:?}");
        }
    }
}

#[test]
fn promises_of_a_wrong_clock_are_made_anew_wherever_they_came_from() {
    let hourly = |name: &str| {
        dag(name).timetable(Timetable::CronTrigger { expression: "0 * * * *".to_owned() })
    };
    let mut world = World::with([hourly("unpaused"), hourly("paused"), hourly("changed")]);
    world.pause("unpaused");
    world.pass(secs(1_800));
    world.pass(AHEAD);
    world.pause("paused");
    world.unpause("unpaused");
    world.read(&hourly("new"));
    let delta = Timetable::DeltaTrigger { every: HOUR, months: 0 };
    world.read(&dag("delta").timetable(delta));
    world.read(&hourly("changed").task("a", &[]).with(|dag| dag.end_date = Some(at("2024-01-02"))));
    let from = world.log.len();
    back(&mut world, AHEAD);
    let facts = brief_all(&world.log[from..]);
    let last = facts.iter().rfind(|fact| fact.starts_with("ClockWentBack"));
    assert!(last.is_some(), "{facts:?}");
    for name in ["unpaused", "paused", "new", "delta", "changed"] {
        let dag = world.namespace.dag(&dag_id(name)).expect("known");
        let due = dag.expected().and_then(|run| run.due).expect("a promise");
        assert!(due <= at("2024-01-01T02:00"), "{name}: {due}");
    }
    let before = made(&world).len();
    world.go_to("2024-01-01T03:30");
    assert!(made(&world).len() >= before + 6, "{:?}", &made(&world)[before..]);
}

#[test]
fn a_command_makes_promises_anew() {
    let hourly = || dag("etl").timetable(Timetable::CronTrigger { expression: "0 * * * *".into() });
    let mut world = World::with([hourly(), dag("other")]);
    world.pass(secs(1_800));
    let renew = |name: Option<&str>| CommandBody::RenewPromises { dag_id: name.map(dag_id) };
    world.send(renew(None)).unchanged();
    world.send(renew(Some("none"))).refused(RefusalCode::DagNotFound, []);
    // A promise that nobody mended: of a log whose scheduler did not know better.
    let mut record = world.log.last().expect("of before").clone();
    let promise = world.namespace.dag(&dag_id("etl")).expect("known").expected().cloned();
    let date = Some(at("2024-01-05"));
    let interval = date.map(|at| Interval { start: at, end: at });
    let promise = promise.map(|it| dagbok_events::RunExpected {
        logical_date: date,
        data_interval: interval,
        due: date,
        ..it
    });
    record.at = world.now;
    record.scope = dagbok_events::Scope::Dag(dag_id("etl"));
    record.cause = None;
    record.facts = vec![Fact::RunExpected(promise.expect("one"))];
    world.append(&record);
    world.send(renew(Some("other"))).unchanged();
    world
        .send(renew(Some("etl")))
        .is(["RunExpected 2024-01-01T01:00:00Z due 2024-01-01T01:00:00Z"]);
    world.append(&record);
    world.send(renew(None)).is(["RunExpected 2024-01-01T01:00:00Z due 2024-01-01T01:00:00Z"]);
    world.send(renew(None)).unchanged();
}

#[test]
fn a_delta_keeps_its_row_however_late_its_runs_are() {
    let every = HOUR;
    for timetable in [
        Timetable::DeltaTrigger { every, months: 0 },
        Timetable::DeltaDataInterval { every, months: 0 },
        Timetable::DeltaDataInterval { every: Micros(0), months: 1 },
        Timetable::DeltaTrigger { every: Micros(0), months: 1 },
        Timetable::CronTrigger { expression: "7 * * * *".to_owned() },
    ] {
        for start in [None, Some(at("2023-10-31T00:07"))] {
            let spec = dag("etl").timetable(timetable.clone());
            let spec = spec.with(|dag| (dag.start_date, dag.max_active_runs) = (start, 0));
            let mut world = World::with([spec]);
            let case = format!("{timetable:?} {start:?}");
            let unit = if case.contains("months: 1") { 24 * 31 * 3_600 } else { 3_600 };
            let late = [0, 17, unit / 4, unit * 2 / 3, 0, unit * 5 / 2, 3, 0, 0];
            let mut told = Vec::new();
            for by in late.iter().cycle().take(40) {
                let due = world.namespace.next_due(world.now).expect("a promise");
                let promise = world.namespace.dag(&dag_id("etl")).expect("known").expected();
                told.push(promise.and_then(|run| run.logical_date).expect("dated"));
                world.now = due.plus(secs(*by));
                world.settle();
            }
            let made: BTreeSet<_> = made(&world).into_iter().collect();
            for date in &told {
                assert!(made.contains(date), "{case}: {date} was promised and not made: {made:?}");
            }
            let facts = world.log.iter().flat_map(|record| &record.facts);
            let missed = facts.filter_map(|fact| match fact {
                Fact::RunMissed(f) => Some(f.count as usize),
                _ => None,
            });
            let missed: usize = missed.sum();
            // Made and missed together are the whole row, each once.
            let (first, last) = (made.first().expect("one"), made.last().expect("one"));
            if unit == 3_600 {
                let row = usize::try_from(last.since(*first).0 / HOUR.0).expect("small") + 1;
                assert_eq!(made.len() + missed, row, "{case}");
                assert!(made.iter().all(|date| date.since(*first).0 % HOUR.0 == 0), "{case}");
            } else {
                assert!(missed >= 4, "{case}: {missed}");
                assert!(made.len() + missed <= 150, "{case}");
            }
        }
    }
}

#[test]
fn a_run_that_nobody_gave_a_date_waits_for_no_date_of_a_wrong_clock() {
    let mut spec = dag("etl").task("a", &[]);
    spec.max_active_runs = 1;
    let mut world = World::with([spec]);
    world.now = at("2030-01-01");
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.settle();
    world.now = at("2024-06-01");
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    world.settle();
    assert_eq!(world.offered(), ["etl/r2/a/1"]);
}
