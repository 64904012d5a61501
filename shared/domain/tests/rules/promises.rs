//! What is promised beyond the next run, topped up as it is eaten; and what unpausing would make.
use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{DagSpec, Fact, Interval, Micros, MissedWhy, Span, Timetable};
use dagbok_protocol::{
    ComingRuns, CommandBody, RefusalCode, TriggerRun,
    limits::{AHEAD_MOST, AHEAD_RUNS, AHEAD_US, MISSED_COUNTED},
};

use super::support::*;

fn cron(expression: &str) -> DagSpec {
    let timetable = Timetable::CronTrigger { expression: expression.to_owned() };
    dag("etl").timetable(timetable).with(|dag| dag.start_date = Some(at("2024-01-01")))
}

/// The next run and those after it.
fn coming(namespace: &Namespace) -> Vec<Interval> {
    let dag = namespace.dag(&dag_id("etl")).expect("known");
    let next = dag.expected().and_then(|run| run.data_interval);
    next.into_iter().chain(dag.ahead()).collect()
}

/// How many facts of the log top a promise up, and how many stretches the largest has.
fn top_ups(world: &World) -> (usize, usize) {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let sizes = facts.filter_map(|fact| match fact {
        Fact::RunExpected(f) if !f.further.is_empty() => Some(f.further.len()),
        _ => None,
    });
    let sizes: Vec<usize> = sizes.collect();
    (sizes.len(), sizes.into_iter().max().unwrap_or(0))
}

#[test]
fn a_day_ahead_or_five_runs_are_promised_at_every_instant() {
    let every = |hours: i64, interval: Span| Timetable::DeltaTriggers {
        every: Span { micros: Micros(HOUR.0 * hours), months: 0 },
        interval,
    };
    let crons = |expressions: &[&str]| Timetable::CronTriggers {
        expressions: expressions.iter().map(|it| (*it).to_owned()).collect(),
        interval: Span { micros: HOUR, months: 0 },
        run_immediately: dagbok_events::RunImmediately::IfNear,
    };
    let minutely = "*/10 * * * *".to_owned();
    for (timetable, step, passes) in [
        (Timetable::CronDataInterval { expression: minutely }, Micros::from_secs(600), 300),
        (Timetable::CronDataInterval { expression: "0 9,17 * * 1-5".to_owned() }, HOUR, 300),
        (every(5, Span { micros: HOUR, months: 0 }), HOUR, 200),
        (every(24 * 40, Span { micros: Micros(0), months: 1 }), DAY, 200),
        (crons(&["0 3 * * *", "30 4 1 * *"]), HOUR, 200),
    ] {
        let spec = dag("etl").timetable(timetable.clone());
        let mut world = World::with([spec.with(|dag| dag.start_date = Some(at("2023-12-01")))]);
        world.settle();
        let mut made: Vec<Interval> = Vec::new();
        for _ in 0..passes {
            let before = coming(&world.namespace);
            assert!(before.is_sorted_by(|a, b| a < b), "{before:?}");
            let (many, last) = (before.len() as u64, before.last().expect("promises").end);
            assert!(many >= AHEAD_RUNS, "{many} are promised: {timetable:?}");
            assert!(last >= world.now.plus(Micros(AHEAD_US)), "up to {last}: {timetable:?}");
            let from = world.log.len();
            world.pass(step);
            for fact in world.log[from..].iter().flat_map(|record| &record.facts) {
                if let Fact::RunCreated(f) = fact {
                    let interval = f.data_interval.expect("by schedule");
                    assert!(before.contains(&interval), "{interval:?} was not promised");
                    made.push(interval);
                }
                assert!(!matches!(fact, Fact::RunMissed(_)), "{fact:?}");
            }
        }
        assert!(made.len() >= 4, "{} runs of {timetable:?}", made.len());
        // Most promises only keep what stands.
        let (many, _) = top_ups(&world);
        assert!(many <= 2 + made.len() / 5, "{many} top-ups for {} runs", made.len());
    }
}

#[test]
fn a_schedule_of_minutes_or_seconds_is_promised_in_few_words() {
    let mut world = World::with([cron("* * * * *")]);
    assert!(coming(&world.namespace).len() as u64 >= AHEAD_MOST);
    assert_eq!(top_ups(&world), (1, 1));
    for _ in 0..120 {
        world.pass(secs(60));
        let coming = coming(&world.namespace);
        assert!(coming.len() as u64 >= AHEAD_MOST && coming.len() < 1_600, "{}", coming.len());
    }
    let (many, largest) = top_ups(&world);
    assert!(many <= 4 && largest == 1, "{many} top-ups of up to {largest} stretches");
    // A day has more seconds than are promised.
    let world = World::with([cron("* * * * * *")]);
    let seconds = coming(&world.namespace).len() as u64;
    assert!((AHEAD_MOST..AHEAD_MOST + 100).contains(&seconds), "{seconds}");
}

#[test]
fn what_the_end_date_or_the_list_leaves_is_all_that_is_promised() {
    let spec = cron("0 0 * * *").with(|dag| dag.end_date = Some(at("2024-01-03")));
    let mut world = World::with([spec]);
    assert_eq!(coming(&world.namespace).len(), 2);
    world.go_to("2024-01-02T12:00");
    assert_eq!(coming(&world.namespace).len(), 1);
    world.go_to("2024-02-01");
    assert!(coming(&world.namespace).is_empty());
    for timetable in [Timetable::Once, Timetable::Continuous] {
        let world = World::with([dag("etl").timetable(timetable)]);
        assert_eq!(world.namespace.dag(&dag_id("etl")).expect("known").ahead().count(), 0);
    }
}

#[test]
fn another_schedule_promises_anew_and_a_dag_that_is_gone_promises_nothing() {
    let mut world = World::with([cron("0 * * * *")]);
    world.read(&cron("30 * * * *"));
    let minutes: Vec<i64> =
        coming(&world.namespace).iter().map(|run| run.end.0 / 60_000_000 % 60).collect();
    assert!(minutes.len() >= 24 && minutes.iter().all(|minute| *minute == 30), "{minutes:?}");
    world.read(&dag("etl"));
    assert!(coming(&world.namespace).is_empty());
    world.read(&cron("0 * * * *"));
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    assert!(coming(&world.namespace).is_empty());
}

#[test]
fn a_promise_that_somebody_elses_run_takes_the_place_of_is_missed() {
    let mut world = World::with([cron("0 0 * * *")]);
    world.go_to("2024-01-01T12:00");
    let ask = TriggerRun { logical_date: Some(at("2024-01-02")), ..ask("etl") };
    world.send(CommandBody::TriggerRun(ask)).run_id();
    world.settle();
    assert_eq!(
        world.go_to("2024-01-02"),
        [
            "RunMissed 1 from 2024-01-02T00:00:00Z to 2024-01-02T00:00:00Z: MadeByHand",
            "RunExpected 2024-01-03T00:00:00Z due 2024-01-03T00:00:00Z",
            "RunStarted",
            "RunSucceeded",
        ],
        "made by hand for that date, the other run waited for it too"
    );
}

#[test]
fn a_promise_is_missed_though_one_soon_after_takes_its_place() {
    let every = Timetable::DeltaTrigger { every: HOUR, months: 0 };
    let mut world = World::with([]);
    world.read(&dag("etl").timetable(every));
    // Counted from when it was first read, which is when its first run was promised.
    world.pause("etl");
    world.pass(secs(600));
    let sent = world.unpause("etl");
    let why = format!("{:?}", MissedWhy::Paused);
    let facts = brief_all(&sent.records);
    let missed = facts.iter().filter(|fact| fact.starts_with("RunMissed 1"));
    assert_eq!(missed.filter(|fact| fact.ends_with(&why)).count(), 1, "{facts:?}");
}

fn would_make(world: &mut World) -> ComingRuns {
    let before = world.state();
    let sent = world.send(CommandBody::WouldUnpause { dag_id: dag_id("etl") });
    assert_eq!((sent.records.len(), world.state()), (0, before), "it changes nothing");
    match sent.outcome {
        Outcome::WouldMake(runs) => runs,
        other => panic!("{other:?}"),
    }
}

/// The scheduled runs made, and when the next is due.
fn made_by_unpausing(world: &mut World) -> (Vec<dagbok_events::Timestamp>, ComingRuns) {
    let told = would_make(world);
    let from = world.log.len();
    world.unpause("etl");
    world.settle();
    let facts = world.log[from..].iter().flat_map(|record| &record.facts);
    let made = facts.filter_map(|fact| match fact {
        Fact::RunCreated(f) => f.logical_date,
        _ => None,
    });
    (made.collect(), told)
}

#[test]
fn unpausing_makes_what_it_said_that_it_would() {
    for catchup in [false, true] {
        for hours in [0, 1, 30, 80] {
            let spec = cron("0 0 * * *").with(|dag| dag.catchup = catchup);
            let mut world = World::with([spec]);
            world.settle();
            world.pause("etl");
            world.pass(Micros(HOUR.0 * hours));
            let (made, told) = made_by_unpausing(&mut world);
            assert_eq!(made.len(), told.count as usize, "{catchup} {hours}: {told:?}");
            assert_eq!((made.first(), made.last()), (told.first.as_ref(), told.last.as_ref()));
            if !catchup {
                assert!(told.count <= 1, "the latest alone");
            }
            assert_eq!(world.namespace.next_due(world.now), told.next_due, "{catchup} {hours}");
        }
    }
    let mut world = World::with([dag("etl")]);
    assert_eq!(would_make(&mut world), ComingRuns::default());
    world
        .send(CommandBody::WouldUnpause { dag_id: dag_id("none") })
        .refused(RefusalCode::DagNotFound, []);
}

#[test]
fn more_than_can_be_counted_are_said_to_be_more() {
    let mut world = World::with([cron("* * * * *").catchup()]);
    world.pause("etl");
    world.now = at("2024-01-29");
    let told = would_make(&mut world);
    assert_eq!((told.count, told.last, told.next_due), (MISSED_COUNTED, None, None));
}
