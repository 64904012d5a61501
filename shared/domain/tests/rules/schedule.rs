//! Promises: written ahead, kept, moved on, and said to be broken.
use dagbok_events::{DagSpec, Fact, Interval, Micros, Timetable};
use dagbok_protocol::{
    CommandBody, TriggerRun,
    limits::{EXPECTED_GRACE_US, MISSED_COUNTED},
};

use super::support::*;

fn daily() -> DagSpec {
    dag("etl").daily("2024-01-01").task("a", &[])
}

fn made(facts: &[String]) -> Vec<&str> {
    let made = facts.iter().filter_map(|fact| fact.strip_prefix("RunCreated Scheduled "));
    made.collect()
}

#[test]
fn a_schedule_promises_its_next_run_ahead_of_time() {
    let mut world = World::new();
    world
        .read(&daily().with(|dag| dag.owner = "ops".to_owned()))
        .is(["DagRegistered etl v1", "RunExpected 2024-01-01T00:00:00Z due 2024-01-02T00:00:00Z"]);
    let promise = world.namespace.dag(&dag_id("etl")).expect("known").expected().expect("one");
    assert_eq!(promise.owner, "ops");
    assert_eq!(promise.grace, Micros(EXPECTED_GRACE_US), "so much later it counts as missing");
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-01-02")));
}

#[test]
fn a_promise_is_kept_when_due_and_the_next_is_made_with_it() {
    let mut world = World::with([daily()]);
    assert_eq!(
        world.go_to("2024-01-02"),
        [
            "RunCreated Scheduled 2024-01-01T00:00:00Z",
            "RunStarted",
            "RunExpected 2024-01-02T00:00:00Z due 2024-01-03T00:00:00Z",
            "TaskQueued a 1",
        ]
    );
    let run = world.namespace.active_runs().next().expect("the run just made");
    assert_eq!(run.key().run_id.as_str(), "scheduled__2024-01-01T00:00:00+00:00");
    let interval = run.meta().data_interval.expect("a scheduled run has one");
    assert_eq!((interval.start, interval.end), (at("2024-01-01"), at("2024-01-02")));
    assert_eq!(run.meta().run_after, at("2024-01-02"));
    assert_eq!(run.meta().triggered_by, None);
}

#[test]
fn a_scheduler_that_was_away_keeps_its_promise_makes_the_newest_run_and_says_what_it_missed() {
    let mut world = World::with([daily()]);
    world.queued_for(secs(0));
    let facts = world.go_to("2024-01-05T06:00");
    assert_eq!(
        facts[..4],
        [
            "RunCreated Scheduled 2024-01-01T00:00:00Z",
            "RunMissed 2 from 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z: NoScheduler",
            "RunStarted",
            "RunExpected 2024-01-04T00:00:00Z due 2024-01-05T00:00:00Z",
        ]
    );
    assert_eq!(made(&facts), ["2024-01-01T00:00:00Z", "2024-01-04T00:00:00Z"]);
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-01-06")));
}

#[test]
fn what_catches_up_makes_every_run_in_order_as_far_as_it_may() {
    let mut world = World::with([daily().catchup().with(|dag| dag.max_active_runs = 2)]);
    let facts = world.go_to("2024-01-05T06:00");
    assert_eq!(made(&facts), ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]);
    world.succeed("e1", "etl/scheduled__2024-01-01T00:00:00+00:00/a/1");
    assert_eq!(made(&world.settle()), ["2024-01-03T00:00:00Z"]);
    assert!(!brief_all(&world.log).iter().any(|fact| fact.starts_with("RunMissed")));
}

#[test]
fn runs_passed_over_while_too_many_were_active_are_missed_for_that() {
    let mut world = World::with([daily().with(|dag| dag.max_active_runs = 1)]);
    world.queued_for(secs(0));
    world.go_to("2024-01-02");
    for day in ["2024-01-03", "2024-01-04", "2024-01-05"] {
        assert_eq!(world.go_to(day), [] as [&str; 0]);
    }
    world.succeed("e1", "etl/scheduled__2024-01-01T00:00:00+00:00/a/1");
    let facts = world.settle();
    assert_eq!(made(&facts), ["2024-01-04T00:00:00Z"]);
    assert_eq!(
        facts[1],
        "RunMissed 2 from 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z: TooManyActive"
    );
}

#[test]
fn a_run_made_by_hand_takes_the_schedules_place() {
    let mut world = World::with([daily()]);
    world.queued_for(secs(0));
    let ask = TriggerRun { logical_date: Some(at("2024-01-01")), ..ask("etl") };
    world.send(CommandBody::TriggerRun(ask)).run_id();
    world.settle();
    assert_eq!(
        world.go_to("2024-01-02"),
        [
            "RunMissed 1 from 2024-01-01T00:00:00Z to 2024-01-01T00:00:00Z: MadeByHand",
            "RunExpected 2024-01-02T00:00:00Z due 2024-01-03T00:00:00Z",
        ]
    );
    assert_eq!(made(&world.go_to("2024-01-03")), ["2024-01-02T00:00:00Z"]);
}

#[test]
fn a_changed_schedule_changes_the_promise() {
    let mut world = World::with([daily()]);
    world
        .read(&daily().timetable(Timetable::CronDataInterval { expression: "0 12 * * *".into() }))
        .is(["DagRegistered etl v2", "RunExpected 2024-01-01T12:00:00Z due 2024-01-02T12:00:00Z"]);
    assert_eq!(world.go_to("2024-01-02"), [] as [&str; 0]);
    world.read(&dag("etl").task("a", &[])).is(["DagRegistered etl v3", "RunExpected none"]);
    assert_eq!(world.namespace.next_due(world.now), None);
    assert_eq!(world.go_to("2024-02-01"), [] as [&str; 0]);
}

#[test]
fn runs_that_a_changed_schedule_lets_go_are_missed() {
    let mut world = World::with([daily().with(|dag| dag.max_active_runs = 1)]);
    world.go_to("2024-01-02");
    world.go_to("2024-01-04T06:00");
    let hourly = Timetable::CronDataInterval { expression: "0 * * * *".to_owned() };
    world.read(&daily().timetable(hourly).with(|dag| dag.max_active_runs = 1)).is([
        "DagRegistered etl v2",
        "RunMissed 2 from 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z: ScheduleChanged",
        "RunExpected 2024-01-04T05:00:00Z due 2024-01-04T06:00:00Z",
    ]);
}

#[test]
fn another_meaning_with_the_same_schedule_leaves_the_promise_alone() {
    let mut world = World::with([daily()]);
    world.read(&daily().task("b", &["a"])).is(["DagRegistered etl v2"]);
    world
        .read(&daily().with(|dag| dag.owner = "ops".to_owned()))
        .is(["DagRegistered etl v3", "RunExpected 2024-01-01T00:00:00Z due 2024-01-02T00:00:00Z"]);
    // Though it be late.
    world.now = at("2024-01-02T06:00");
    world
        .read(&daily().task("c", &["a"]))
        .is(["DagRegistered etl v4", "RunExpected 2024-01-01T00:00:00Z due 2024-01-02T00:00:00Z"]);
    assert_eq!(made(&world.settle()), ["2024-01-01T00:00:00Z"]);
}

#[test]
fn a_dag_that_goes_away_takes_its_promise_back() {
    let mut world = World::with([daily().with(|dag| dag.max_active_runs = 1)]);
    world.queued_for(secs(0));
    world.go_to("2024-01-02");
    world.go_to("2024-01-04");
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() }).is([
        "DagDisappeared file_gone=true",
        "RunMissed 2 from 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z: ScheduleChanged",
        "RunExpected none",
    ]);
    assert_eq!(world.namespace.next_due(world.now), None);
    // And makes a new one when it comes back.
    world
        .read(&daily().with(|dag| dag.max_active_runs = 1))
        .is(["DagRegistered etl v2", "RunExpected 2024-01-03T00:00:00Z due 2024-01-04T00:00:00Z"]);
}

#[test]
fn nothing_is_promised_past_the_end_date() {
    let spec = daily().with(|dag| dag.end_date = Some(at("2024-01-02")));
    let mut world = World::with([spec]);
    world.queued_for(secs(0));
    world.go_to("2024-01-02");
    let facts = world.go_to("2024-01-03");
    assert_eq!(made(&facts), ["2024-01-02T00:00:00Z"]);
    assert_eq!(facts[2], "RunExpected none");
    assert_eq!(world.go_to("2024-02-01"), [] as [&str; 0]);
}

#[test]
fn the_last_promise_is_kept_though_the_end_date_went_by() {
    let spec = daily().with(|dag| dag.end_date = Some(at("2024-01-02")));
    let mut world = World::with([spec]);
    world.go_to("2024-01-02");
    assert_eq!(made(&world.go_to("2024-03-01")), ["2024-01-02T00:00:00Z"]);
}

#[test]
fn a_start_date_to_come_is_waited_for() {
    let mut world = World::with([dag("etl").daily("2024-02-01")]);
    assert_eq!(world.go_to("2024-02-01"), [] as [&str; 0]);
    assert_eq!(made(&world.go_to("2024-02-02")), ["2024-02-01T00:00:00Z"]);
}

#[test]
fn once_is_once_and_late_is_not_missed() {
    for start in [None, Some(at("2023-06-01")), Some(at("2024-01-03"))] {
        let spec = dag("etl").timetable(Timetable::Once).with(|dag| dag.start_date = start);
        let mut world = World::new();
        world.read(&spec);
        world.pause("etl");
        world.pass(HOUR);
        world.unpause("etl");
        let mut facts = world.settle();
        facts.extend(world.go_to("2024-01-04"));
        facts.extend(world.go_to("2024-02-01"));
        assert_eq!(made(&facts).len(), 1, "{facts:?}");
        assert!(!brief_all(&world.log).iter().any(|fact| fact.starts_with("RunMissed")));
        world.read(&spec.task("a", &[]));
        assert_eq!(world.pass(DAY), [] as [&str; 0]);
    }
}

#[test]
fn a_continuous_schedule_follows_its_runs() {
    for start in [None, Some(at("2023-12-01")), Some(at("2024-01-02"))] {
        let spec = dag("etl").timetable(Timetable::Continuous).task("a", &[]);
        let spec = spec.with(|dag| (dag.max_active_runs, dag.start_date) = (1, start));
        let mut world = World::with([spec]);
        world.queued_for(secs(0));
        world.now = start.unwrap_or(world.now).max(world.now);
        world.settle();
        let mut last: Option<Interval> = None;
        for _ in 0..5 {
            let run = world.namespace.active_runs().next().expect("one at a time");
            let interval = run.meta().data_interval.expect("an interval");
            assert!(last.is_none_or(|last| last.end == interval.start), "{last:?} {interval:?}");
            last = Some(interval);
            let key = format!("{}/a/1", run.key());
            world.pass(HOUR);
            world.succeed("e1", &key);
            world.settle();
        }
        assert_eq!(world.namespace.active_runs().count(), 1);
        assert!(!brief_all(&world.log).iter().any(|fact| fact.starts_with("RunMissed")));
    }
}

#[test]
fn a_continuous_schedule_of_runs_that_take_no_time_does_not_fill_the_log() {
    let mut world = World::with([dag("etl").timetable(Timetable::Continuous)]);
    let before = world.log.len();
    for _ in 0..10 {
        world.pass(secs(1));
    }
    let made = world.log.len() - before;
    assert!((9..=11).contains(&made), "{made} runs in ten seconds");
}

#[test]
fn events_are_made_on_their_dates_and_those_gone_by_are_missed() {
    let moment = |text: &str| Interval { start: at(text), end: at(text) };
    let dates = ["2024-01-05", "2024-01-02", "2024-01-03", "2024-01-08"].map(moment).to_vec();
    for catchup in [false, true] {
        let timetable = Timetable::Events { dates: dates.clone(), restricted: false };
        let spec = dag("etl").timetable(timetable).with(|dag| dag.catchup = catchup);
        let mut world = World::with([spec.with(|dag| dag.start_date = Some(at("2023-01-01")))]);
        assert_eq!(made(&world.go_to("2024-01-02")), ["2024-01-02T00:00:00Z"]);
        let facts = world.go_to("2024-01-06");
        if catchup {
            assert_eq!(made(&facts), ["2024-01-03T00:00:00Z", "2024-01-05T00:00:00Z"]);
        } else {
            assert_eq!(made(&facts), ["2024-01-03T00:00:00Z"]);
            assert_eq!(
                facts[1],
                "RunMissed 1 from 2024-01-05T00:00:00Z to 2024-01-05T00:00:00Z: NoScheduler"
            );
        }
        assert_eq!(made(&world.go_to("2024-01-08")), ["2024-01-08T00:00:00Z"]);
        assert_eq!(world.go_to("2025-01-01"), [] as [&str; 0]);
    }
}

#[test]
fn deltas_and_triggers_miss_nothing_when_they_are_in_time() {
    let every = HOUR;
    for timetable in [
        Timetable::DeltaDataInterval { every, months: 0 },
        Timetable::DeltaTrigger { every, months: 0 },
        Timetable::CronTrigger { expression: "30 * * * *".to_owned() },
        Timetable::DeltaDataInterval { every: Micros(0), months: 1 },
        Timetable::DeltaTrigger { every: secs(7), months: 1 },
    ] {
        for start in [None, Some(at("2023-12-31"))] {
            for catchup in [false, true] {
                let spec = dag("etl").timetable(timetable.clone());
                let spec = spec.with(|dag| (dag.start_date, dag.catchup) = (start, catchup));
                let mut world = World::with([spec]);
                for _ in 0..20 {
                    // What catches up does so first.
                    let Some(due) = world.namespace.next_due(world.now) else { break };
                    assert!(due > world.now);
                    world.now = due.plus(Micros(17));
                    world.settle();
                }
                let facts = brief_all(&world.log);
                let missed = facts.iter().filter(|fact| fact.starts_with("RunMissed"));
                assert_eq!(missed.count(), 0, "{timetable:?} {start:?} {catchup}: {facts:#?}");
                let expected = world.namespace.dag(&dag_id("etl")).expect("known").expected();
                // Data intervals that catch up have nothing to begin with where there is no start date.
                if expected.is_some() {
                    assert!(
                        made(&facts).len() >= 18,
                        "{timetable:?} {start:?} {catchup}: {facts:#?}"
                    );
                }
            }
        }
    }
}

#[test]
fn too_many_to_count_are_named_by_their_ends() {
    let minutely = Timetable::CronDataInterval { expression: "* * * * *".to_owned() };
    for (expression, back) in
        [(minutely, 1), (Timetable::DeltaTrigger { every: secs(60), months: 0 }, 1)]
    {
        let mut world = World::with([daily().timetable(expression)]);
        world.settle();
        world.now = at("2024-01-29");
        let from = world.log.len();
        world.settle();
        let newest = world.log[from..]
            .iter()
            .flat_map(|record| &record.facts)
            .filter_map(|fact| if let Fact::RunCreated(f) = fact { f.logical_date } else { None })
            .next_back()
            .expect("the newest run is made");
        let missed = world.log[from..]
            .iter()
            .flat_map(|record| &record.facts)
            .find_map(|fact| if let Fact::RunMissed(f) = fact { Some(f.clone()) } else { None });
        let missed = missed.expect("four weeks of minutes");
        assert_eq!(missed.count, MISSED_COUNTED);
        assert_eq!(missed.last, newest.plus(Micros::from_secs(-60 * back)));
    }
}

#[test]
fn two_dags_keep_their_promises_apart() {
    let other = dag("other").daily("2024-01-01").catchup();
    let mut world = World::with([daily(), other]);
    world.pause("etl");
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-01-02")));
    let facts = world.go_to("2024-01-02");
    assert_eq!(made(&facts).len(), 1);
    assert!(!world.is_active("etl", "scheduled__2024-01-01T00:00:00+00:00"));
}

#[test]
fn a_clock_put_back_neither_repeats_nor_holds_up() {
    let retrying = daily().with(|dag| dag.dagrun_timeout = Some(HOUR)).add("b", &[], |task| {
        (task.retries, task.retry_delay) = (2, secs(60));
    });
    let mut world = World::with([retrying.task("c", &[])]);
    world.go_to("2024-01-02");
    world.now = at("2024-01-01T18:00");
    let run = "etl/scheduled__2024-01-01T00:00:00+00:00";
    // Stamped with the time of the last record, and due by the clock as it is.
    world.fail("e1", &format!("{run}/b/1")).is(["TryFailed b 1 retry 2024-01-01T18:01:00Z"]);
    let last = world.log.last().expect("just decided");
    assert_eq!((last.at, last.clock), (at("2024-01-02"), Some(at("2024-01-01T18:00"))));
    assert_eq!(world.settle(), ["ClockWentBack from 2024-01-02T00:00:00Z to 2024-01-01T18:00:00Z"]);
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-01-01T18:01")));
    assert_eq!(world.pass(secs(60)), ["TaskQueued b 2"]);
    world.start("e1", &format!("{run}/b/2"));
    assert_eq!(world.gone("e1")[0], "TryLost b 2 ExecutorGone retry 2024-01-01T18:01:00Z");
    assert_eq!(world.settle(), ["TaskQueued b 3"]);
    world.trigger_as("etl", "by-hand").is(["RunCreated Manual never", "RunStarted"]);
    // An hour of the clock as it is, and not of the stamps.
    world.go_to("2024-01-01T18:59");
    assert!(world.is_active("etl", "by-hand"));
    world.go_to("2024-01-01T19:01");
    assert!(!world.is_active("etl", "by-hand"));
}
