//! Backfills: which dates they have, what becomes of each, their own limit, and how they end.
use dagbok_domain::namespace::Outcome;
use dagbok_events::{
    BackfillId, DagSpec, Fact, Micros, Payload, Record, ReprocessBehavior, RunId, Scope, Timestamp,
    Timetable,
};
use dagbok_protocol::{
    BackfillDates, BackfillDoes, BackfillPlan, CommandBody, CreateBackfill, Reason, RefusalCode,
    TriggerRun, limits::BACKFILL_RUNS,
};
use proptest::prelude::*;

use super::support::{DAY, DagExt, HOUR, Sent, World, ask, at, dag, dag_id, run_key, secs};

fn wish(from: &str, to: &str) -> CreateBackfill {
    CreateBackfill {
        dag_id: dag_id("etl"),
        from_date: at(from),
        to_date: at(to),
        run_backwards: false,
        reprocess_behavior: ReprocessBehavior::None,
        max_active_runs: 2,
        conf: None,
        runs: None,
        dry_run: false,
    }
}

/// A daily DAG that does not catch up, so that the days before yesterday are nobody's.
fn daily() -> DagSpec {
    dag("etl").daily("2023-12-01").task("t", &[])
}

/// `etl` read and its own run of yesterday out of the way, on 1 January 2024.
fn world() -> World {
    with(daily())
}

fn with(spec: DagSpec) -> World {
    let mut world = World::with([spec]);
    let own: Vec<String> =
        world.namespace.active_runs().map(|run| run.key().run_id.to_string()).collect();
    for run in own {
        world.cancel("etl", &run);
        world.delete("etl", &run);
    }
    world.settle();
    world
}

fn begin(world: &mut World, wish: CreateBackfill) -> Sent {
    world.send(CommandBody::CreateBackfill(Box::new(wish)))
}

fn plan(world: &mut World, wish: CreateBackfill) -> BackfillPlan {
    match begin(world, CreateBackfill { dry_run: true, ..wish }).outcome {
        Outcome::WouldBackfill(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn day(n: u32) -> String {
    format!("backfill__2023-12-{n:02}T00:00:00+00:00")
}

/// Ends the task of a day's run.
fn end(world: &mut World, run: &str, well: bool) -> Vec<String> {
    let number = 1 + world
        .log
        .iter()
        .filter(|record| record.scope == Scope::Run(run_key("etl", run)))
        .flat_map(|record| &record.facts)
        .filter(|fact| matches!(fact, Fact::TaskCleared(_)))
        .count();
    let key = format!("etl/{run}/t/{number}");
    if well {
        world.succeed("e1", &key);
    } else {
        world.fail("e1", &key);
    }
    world.settle()
}

/// The runs that go on, by day.
fn active(world: &World) -> Vec<String> {
    let of = |run: &RunId| run.as_str().rsplit("2023-12-").next().unwrap_or("")[..2].to_owned();
    world.namespace.active_runs().map(|run| of(&run.key().run_id)).collect()
}

fn backfill(id: u64) -> BackfillId {
    BackfillId(id)
}

fn set_paused(world: &mut World, id: u64, paused: bool) -> Sent {
    let backfill_id = backfill(id);
    world.send(if paused {
        CommandBody::PauseBackfill { backfill_id }
    } else {
        CommandBody::UnpauseBackfill { backfill_id }
    })
}

fn cancel(world: &mut World, id: u64) -> Sent {
    world.send(CommandBody::CancelBackfill { backfill_id: backfill(id) })
}

#[test]
fn its_runs_come_in_order_as_its_own_limit_permits() {
    let mut world = world();
    begin(&mut world, wish("2023-12-01", "2023-12-04")).is(["BackfillCreated 1: 4"]);
    let facts = world.settle();
    assert_eq!(
        facts,
        [
            "RunCreated Backfill 2023-12-01T00:00:00Z",
            "RunStarted",
            "RunCreated Backfill 2023-12-02T00:00:00Z",
            "RunStarted",
            "TaskQueued t 1",
            "TaskQueued t 1",
        ]
    );
    let run = world.namespace.active_run(&run_key("etl", &day(1))).expect("it goes on");
    let interval = run.meta().data_interval.expect("one");
    assert_eq!((interval.start, interval.end), (at("2023-12-01"), at("2023-12-02")));
    assert_eq!(run.meta().triggered_by.as_deref(), Some("ada"));
    end(&mut world, &day(1), true);
    assert_eq!(active(&world), ["02", "03"]);
    end(&mut world, &day(3), false);
    assert_eq!(active(&world), ["02", "04"]);
    end(&mut world, &day(4), true);
    assert!(world.namespace.dag(&dag_id("etl")).expect("there").backfill().is_some());
    assert_eq!(end(&mut world, &day(2), true), ["BackfillCompleted 1"]);
    assert!(world.namespace.dag(&dag_id("etl")).expect("there").backfill().is_none());
    cancel(&mut world, 1).refused(RefusalCode::BackfillOver, []);
}

#[test]
fn the_newest_comes_first_where_that_is_asked_for() {
    let mut world = world();
    begin(&mut world, CreateBackfill { run_backwards: true, ..wish("2023-12-01", "2023-12-04") });
    world.settle();
    assert_eq!(active(&world), ["04", "03"]);
    end(&mut world, &day(4), true);
    assert_eq!(active(&world), ["03", "02"]);
}

#[test]
fn a_dates_run_is_passed_over_or_runs_again_by_how_it_ended() {
    use BackfillDoes::{Create, Rerun, SkipExisting, SkipInFlight};
    let existing = |reprocess_behavior| {
        let mut world = world();
        begin(&mut world, wish("2023-12-01", "2023-12-02"));
        world.settle();
        end(&mut world, &day(1), true);
        end(&mut world, &day(2), false);
        // Under a name that does not tell its date, and not over.
        let run_id = Some(RunId::new("by-hand").expect("an id"));
        let logical_date = Some(at("2023-12-03"));
        world.send(CommandBody::TriggerRun(TriggerRun { run_id, logical_date, ..ask("etl") }));
        world.settle();
        let wish = CreateBackfill { reprocess_behavior, ..wish("2023-12-01", "2023-12-04") };
        let told: Vec<(u32, BackfillDoes)> = plan(&mut world, wish.clone())
            .dates
            .iter()
            .map(|BackfillDates { runs, does }| (runs.count, *does))
            .collect();
        begin(&mut world, wish);
        (told, world.settle())
    };
    let made = ["RunCreated Backfill 2023-12-04T00:00:00Z", "RunStarted", "TaskQueued t 1"];
    let again = ["RunCleared", "TaskCleared t"];
    let (told, facts) = existing(ReprocessBehavior::None);
    assert_eq!(told, [(2, SkipExisting), (1, SkipInFlight), (1, Create)]);
    let skips = ["BackfillSkipped 2 AlreadyExists", "BackfillSkipped 1 InFlight"];
    assert_eq!(facts, [&skips[..], &made].concat());
    let (told, facts) = existing(ReprocessBehavior::Failed);
    assert_eq!(told, [(1, SkipExisting), (1, Rerun), (1, SkipInFlight), (1, Create)]);
    assert_eq!(facts[0], "BackfillSkipped 1 AlreadyExists");
    assert_eq!(facts[1..4], ["RunBackfilled 2", again[0], again[1]]);
    let (told, facts) = existing(ReprocessBehavior::Completed);
    assert_eq!(told, [(2, Rerun), (1, SkipInFlight), (1, Create)]);
    assert_eq!(facts.iter().filter(|fact| *fact == "RunBackfilled 2").count(), 2);
    assert!(!facts.iter().any(|fact| fact.starts_with("BackfillSkipped")), "two have its room");
}

#[test]
fn a_run_that_runs_again_is_found_by_its_date_whatever_its_name_is() {
    let mut world = world();
    // One is named after another's date, and one has a name that tells none.
    for (run, date) in
        [("manual__2023-12-02T00:00:00+00:00", "2023-12-01"), ("by-hand", "2023-12-02")]
    {
        let run_id = Some(RunId::new(run).expect("an id"));
        let logical_date = Some(at(date));
        world.send(CommandBody::TriggerRun(TriggerRun { run_id, logical_date, ..ask("etl") }));
        world.settle();
        end(&mut world, run, false);
    }
    let reprocess_behavior = ReprocessBehavior::Failed;
    begin(
        &mut world,
        CreateBackfill {
            reprocess_behavior,
            conf: Some(r#"{"a":1}"#.to_owned()),
            ..wish("2023-12-01", "2023-12-02")
        },
    );
    world.settle();
    let taken: Vec<String> = world.namespace.active_runs().map(|it| it.key().to_string()).collect();
    assert_eq!(taken, ["etl/manual__2023-12-02T00:00:00+00:00", "etl/by-hand"]);
    for run in world.namespace.active_runs() {
        assert_eq!(run.meta().conf, Some(Payload::Inline(r#"{"a":1}"#.to_owned())));
        assert_eq!(run.meta().backfill_id, Some(backfill(1)));
    }
    end(&mut world, "by-hand", true);
    end(&mut world, "manual__2023-12-02T00:00:00+00:00", true);
    set_paused(&mut world, 1, true).refused(RefusalCode::BackfillOver, []);
}

#[test]
fn it_takes_no_room_of_its_dags_own_runs() {
    let mut world = with(daily().with(|dag| dag.max_active_runs = 1));
    begin(&mut world, wish("2023-12-01", "2023-12-09"));
    world.settle();
    assert_eq!(active(&world).len(), 2);
    let made = world.go_to("2024-01-02");
    let own = "RunCreated Scheduled 2024-01-01T00:00:00Z".to_owned();
    assert!(made.contains(&own), "its schedule has its room: {made:?}");
    world.cancel("etl", "scheduled__2024-01-01T00:00:00+00:00");
    let run = world.trigger("etl").run_id();
    assert!(world.settle().contains(&"TaskQueued t 1".to_owned()), "{run} begins beside them");
    let next = world.trigger("etl").run_id();
    world.settle();
    let told = world.why("etl", Some(next.as_str()), None, dagbok_events::MapIndex::UNMAPPED);
    let [Reason::MaxActiveRuns { most: 1, runs, more: 0, .. }] = &told.is.reasons[..] else {
        panic!("{told:?}")
    };
    assert_eq!(runs, &[run]);
}

#[test]
fn a_paused_one_starts_nothing_and_goes_on_where_it_was() {
    let mut world = world();
    begin(&mut world, wish("2023-12-01", "2023-12-04"));
    world.settle();
    set_paused(&mut world, 1, true).is(["BackfillPaused 1"]);
    set_paused(&mut world, 1, true).unchanged();
    assert_eq!(end(&mut world, &day(1), true), [] as [&str; 0]);
    // One that is cleared by hand is still its own, and waits.
    world.clear("etl", &day(1), false);
    assert_eq!(world.settle(), [] as [&str; 0]);
    let told = world.why("etl", Some(&day(1)), None, dagbok_events::MapIndex::UNMAPPED);
    assert_eq!(told.is.reasons, [Reason::BackfillPaused { backfill_id: backfill(1) }]);
    set_paused(&mut world, 1, false).is(["BackfillUnpaused 1"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued t 2"]);
    assert_eq!(active(&world), ["02", "01"]);
    world.pause("etl");
    world.cancel("etl", &day(1));
    world.clear("etl", &day(1), false);
    let told = world.why("etl", Some(&day(1)), None, dagbok_events::MapIndex::UNMAPPED);
    assert_eq!(told.is.reasons, [Reason::Paused]);
    world.unpause("etl");
    world.settle();
    // With two under way another one of it waits for them.
    end(&mut world, &day(2), true);
    world.clear("etl", &day(2), false);
    world.settle();
    let told = world.why("etl", Some(&day(2)), None, dagbok_events::MapIndex::UNMAPPED);
    let [Reason::BackfillMaxActiveRuns { backfill_id: BackfillId(1), most: 2, runs, .. }] =
        &told.is.reasons[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(runs.len(), 2);
}

#[test]
fn a_cancelled_one_ends_what_has_not_begun_and_sees_the_rest_through() {
    let mut world = world();
    begin(&mut world, wish("2023-12-01", "2023-12-09"));
    world.settle();
    end(&mut world, &day(1), true);
    set_paused(&mut world, 1, true);
    world.clear("etl", &day(1), false);
    cancel(&mut world, 1).is(["BackfillCancelled 1"]);
    assert_eq!(world.settle(), ["RunCancelled", "TaskRuledOut t Skipped"]);
    assert_eq!(active(&world), ["02", "03"]);
    assert_eq!(end(&mut world, &day(2), true), [] as [&str; 0]);
    // Another one has its own room, though a run of the one before goes on.
    begin(&mut world, wish("2023-12-05", "2023-12-09")).is(["BackfillCreated 2: 5"]);
    world.settle();
    assert_eq!(active(&world), ["03", "05", "06"]);
    // A run of one that is over is like any other once it is cleared.
    end(&mut world, &day(3), false);
    world.clear("etl", &day(3), false);
    world.settle();
    let run = world.namespace.active_run(&run_key("etl", &day(3))).expect("it goes on");
    assert_eq!(run.meta().backfill_id, None);
    cancel(&mut world, 3).refused(RefusalCode::BackfillNotFound, []);
}

#[test]
fn it_waits_while_its_dag_is_paused_or_gone_and_goes_with_a_dag_that_is_forgotten() {
    let mut world = world();
    world.pause("etl");
    begin(&mut world, wish("2023-12-01", "2023-12-02"));
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.unpause("etl");
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.read(&daily());
    world.settle();
    assert_eq!(active(&world), ["01", "02"]);
    for run in [day(1), day(2)] {
        world.cancel("etl", &run);
    }
    world.settle();
    begin(&mut world, wish("2023-12-05", "2023-12-06"));
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    for run in [day(1), day(2)] {
        world.delete("etl", &run);
    }
    let forgotten = world.send(CommandBody::ForgetDag { dag_id: dag_id("etl") });
    forgotten.is(["BackfillCancelled 2", "DagForgotten"]);
    cancel(&mut world, 2).refused(RefusalCode::BackfillOver, []);
}

#[test]
fn a_change_of_its_schedule_leaves_its_dates_as_they_are() {
    let mut world = world();
    begin(&mut world, wish("2023-12-01", "2023-12-03"));
    world.settle();
    world.read(&daily().timetable(Timetable::Manual).task("u", &["t"]));
    world.settle();
    end(&mut world, &day(1), true);
    let run = world.namespace.active_run(&run_key("etl", &day(3))).expect("it goes on");
    assert_eq!(run.version().number, 2, "by the DAG as it is now");
}

#[test]
fn what_it_would_do_is_told_in_its_order() {
    let mut world = world();
    let last = TriggerRun { logical_date: Some(at("2023-12-30")), ..ask("etl") };
    world.send(CommandBody::TriggerRun(last));
    let wish = || wish("2023-12-29", "2023-12-30");
    let of = |plan: &BackfillPlan| plan.dates.iter().map(|it| it.does).collect::<Vec<_>>();
    let (create, skip) = (BackfillDoes::Create, BackfillDoes::SkipInFlight);
    assert_eq!(of(&plan(&mut world, wish())), [create, skip]);
    let backwards = CreateBackfill { run_backwards: true, ..wish() };
    assert_eq!(of(&plan(&mut world, backwards)), [skip, create]);
}

#[test]
fn what_cannot_be_is_refused_with_why() {
    let refused = |spec: DagSpec, wish: CreateBackfill| {
        let mut world = with(spec);
        let dry = begin(&mut world, CreateBackfill { dry_run: true, ..wish.clone() });
        let dry = dry.refused(RefusalCode::Invalid, []).to_owned();
        let told = begin(&mut world, wish);
        assert_eq!(told.refused(RefusalCode::Invalid, []), dry);
        dry
    };
    let has = |told: String, part: &str| assert!(told.contains(part), "{told}");
    let (one, two) = ("2023-12-01", "2023-12-02");
    let plain = || wish(one, two);
    has(refused(daily(), wish(two, one)), "is later than");
    has(refused(daily(), wish("2024-01-02", "2024-01-03")), "lies ahead");
    has(refused(daily(), CreateBackfill { max_active_runs: 0, ..plain() }), "max_active_runs");
    has(refused(daily(), CreateBackfill { conf: Some("[]".to_owned()), ..plain() }), "object");
    has(refused(daily(), wish("2023-12-01T01:00", "2023-12-01T02:00")), "no run that is due");
    has(refused(daily().timetable(Timetable::Manual), plain()), "has no schedule");
    has(refused(daily().timetable(Timetable::Once), plain()), "runs once");
    has(refused(daily().timetable(Timetable::Continuous), plain()), "runs continuously");
    let on_past = || dag("etl").daily("2023-12-01").add("t", &[], |it| it.depends_on_past = true);
    let again = ReprocessBehavior::Failed;
    has(refused(on_past(), plain()), "depends on the past");
    let backwards = CreateBackfill { run_backwards: true, reprocess_behavior: again, ..plain() };
    has(refused(on_past(), backwards), "can't run backwards");
    begin(&mut with(on_past()), CreateBackfill { reprocess_behavior: again, ..plain() })
        .is(["BackfillCreated 1: 2"]);
    begin(&mut World::new(), plain()).refused(RefusalCode::DagNotFound, []);
    let mut world = world();
    begin(&mut world, plain());
    begin(&mut world, plain()).refused(RefusalCode::BackfillActive, []);
    assert_eq!(plan(&mut world, plain()).count, 2, "what it would do can be asked all the same");
}

#[test]
fn a_million_runs_are_refused_with_how_many_they_would_be() {
    let minutes = Timetable::CronDataInterval { expression: "* * * * *".to_owned() };
    let mut world = with(daily().timetable(minutes));
    let told = begin(&mut world, wish("2022-01-01", "2023-12-31"));
    let told = told.refused(RefusalCode::Invalid, []).to_owned();
    let about: u64 = told
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{told}"));
    assert_eq!(about, 729 * 1_440 + 1, "{told}");
    assert!(told.contains(&BACKFILL_RUNS.to_string()), "{told}");
    let most = at("2023-12-01").plus(Micros(60_000_000 * i64::from(BACKFILL_RUNS - 1)));
    let whole = CreateBackfill { to_date: most, ..wish("2023-12-01", "2023-12-01") };
    assert_eq!(plan(&mut world, whole.clone()).count, BACKFILL_RUNS);
    let more = CreateBackfill { to_date: most.plus(secs(60)), ..whole };
    begin(&mut world, more).refused(RefusalCode::Invalid, []);
}

#[test]
fn an_hour_that_is_not_over_and_dates_of_the_other_kinds() {
    let dates = |timetable: Timetable, from: &str, to: &str| {
        let mut world = with(daily().timetable(timetable));
        world.now = at("2024-01-01T10:30");
        let told = plan(&mut world, wish(from, to)).dates;
        told.iter().map(|it| (it.runs.first.start, it.runs.count, it.runs.step)).collect::<Vec<_>>()
    };
    let cron = |expression: &str| expression.to_owned();
    let hourly = Timetable::CronDataInterval { expression: cron("@hourly") };
    assert_eq!(
        dates(hourly, "2024-01-01T07:30", "2024-01-01T23:00"),
        [(at("2024-01-01T08:00"), 2, HOUR)],
        "the hour from ten on is not over"
    );
    let trigger = Timetable::CronTrigger { expression: cron("0 * * * *") };
    assert_eq!(
        dates(trigger, "2024-01-01T07:30", "2024-01-01T23:00"),
        [(at("2024-01-01T08:00"), 3, HOUR)]
    );
    let every = Timetable::DeltaDataInterval { every: DAY, months: 0 };
    assert_eq!(
        dates(every, "2023-12-01T05:00", "2023-12-03T05:00"),
        [(at("2023-12-01T05:00"), 3, DAY)]
    );
    let day = |n: u32| {
        let at = at(&format!("2023-12-{n:02}"));
        dagbok_events::Interval { start: at, end: at }
    };
    let events = Timetable::Events { dates: vec![day(9), day(2), day(5)], restricted: false };
    assert_eq!(
        dates(events, "2023-12-02", "2023-12-07"),
        [(at("2023-12-02"), 2, Micros(DAY.0 * 3))]
    );
}

/// What somebody does, or lets happen.
#[derive(Clone, Copy, Debug)]
enum Deed {
    End(usize, bool),
    Cancel(usize),
    Clear(u32),
    Trigger(u32),
    PauseDag(bool),
    Pause(bool),
    CancelAll,
    Begin(u32, u32, bool, ReprocessBehavior),
    Restart,
}

fn deed() -> impl Strategy<Value = Deed> {
    let reprocess = prop::sample::select(vec![
        ReprocessBehavior::None,
        ReprocessBehavior::Failed,
        ReprocessBehavior::Completed,
    ]);
    prop_oneof![
        8 => (0..6_usize, any::<bool>()).prop_map(|(n, well)| Deed::End(n, well)),
        1 => (0..6_usize).prop_map(Deed::Cancel),
        2 => (1..12_u32).prop_map(Deed::Clear),
        1 => (1..12_u32).prop_map(Deed::Trigger),
        1 => any::<bool>().prop_map(Deed::PauseDag),
        2 => any::<bool>().prop_map(Deed::Pause),
        1 => Just(Deed::CancelAll),
        3 => (1..12_u32, 0..8_u32, any::<bool>(), reprocess)
            .prop_map(|(from, days, back, it)| Deed::Begin(from, days, back, it)),
        1 => Just(Deed::Restart),
    ]
}

fn carry_out(world: &mut World, deed: Deed, last: &mut u64) {
    let active: Vec<String> =
        world.namespace.active_runs().map(|run| run.key().run_id.to_string()).collect();
    let date = |n: u32| at(&format!("2023-12-{n:02}"));
    match deed {
        Deed::End(n, well) => {
            let offered = world.offered();
            if let Some(key) = offered.get(n % offered.len().max(1)) {
                if well {
                    world.succeed("e1", key);
                } else {
                    world.fail("e1", key);
                }
            }
        }
        Deed::Cancel(n) => {
            if let Some(run) = active.get(n) {
                world.cancel("etl", run);
            }
        }
        Deed::Clear(n) => {
            world.clear("etl", &day(n), false);
        }
        Deed::Trigger(n) => {
            let logical_date = Some(date(n));
            let ask = TriggerRun { logical_date, ..ask("etl") };
            world.send(CommandBody::TriggerRun(ask));
        }
        Deed::PauseDag(true) => drop(world.pause("etl")),
        Deed::PauseDag(false) => drop(world.unpause("etl")),
        Deed::Pause(paused) => drop(set_paused(world, *last, paused)),
        Deed::CancelAll => drop(cancel(world, *last)),
        Deed::Begin(from, days, run_backwards, reprocess_behavior) => {
            let (from_date, to_date) = (date(from), date(from + days));
            let sent = begin(
                world,
                CreateBackfill {
                    from_date,
                    to_date,
                    run_backwards,
                    reprocess_behavior,
                    ..wish("2023-12-01", "2023-12-01")
                },
            );
            *last += u64::from(matches!(sent.outcome, Outcome::Accepted { .. }));
        }
        Deed::Restart => {
            let bytes = world.namespace.to_snapshot();
            world.namespace =
                dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
        }
    }
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn limits_hold_and_each_date_comes_once_in_order(
        deeds in prop::collection::vec(deed(), 1..60)
    ) {
        let mut world = with(daily().with(|dag| dag.max_active_runs = 2));
        let mut last = 0;
        for deed in deeds {
            carry_out(&mut world, deed, &mut last);
            let runs = || world.namespace.active_runs().filter(|run| run.phase().is_under_way());
            for id in 1..=last {
                let of = |run: &&dagbok_domain::run::Run| run.meta().backfill_id == Some(BackfillId(id));
                prop_assert!(runs().filter(of).count() <= 2);
            }
            prop_assert!(runs().filter(|run| run.meta().backfill_id.is_none()).count() <= 2);
            let bytes = world.namespace.to_snapshot();
            let restored = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
            prop_assert_eq!(restored.plan(world.now), vec![]);
            prop_assert!(restored.to_snapshot() == bytes, "restored otherwise");
        }
        // In the end all that goes on is let through.
        world.unpause("etl");
        set_paused(&mut world, last, false);
        for _ in 0..400 {
            world.settle();
            let Some(key) = world.offered().first().cloned() else { break };
            world.succeed("e1", &key);
        }
        prop_assert_eq!(world.namespace.active_runs().count(), 0);
        for id in 1..=last {
            cancel(&mut world, id).refused(RefusalCode::BackfillOver, []);
            prop_assert_eq!(dates_in_order(&world.log, id), Ok(()));
        }
        let mut replayed = World::new();
        for record in &world.log {
            replayed.append(record);
        }
        prop_assert!(replayed.namespace.to_snapshot() == world.namespace.to_snapshot());
    }
}

/// Whether each date of a backfill was seen to once, in its order, and all of them where it was completed.
fn dates_in_order(log: &[Record], id: u64) -> Result<(), String> {
    let (mut dates, mut seen, mut completed): (Vec<Timestamp>, Vec<Timestamp>, bool) =
        (Vec::new(), Vec::new(), false);
    let date_of = |record: &Record| {
        let mut made = log.iter().filter(|it| it.scope == record.scope).flat_map(|it| &it.facts);
        made.find_map(|fact| match fact {
            Fact::RunCreated(f) => f.logical_date,
            _ => None,
        })
    };
    for record in log {
        for fact in &record.facts {
            match fact {
                Fact::BackfillCreated(f) if f.backfill_id.0 == id => {
                    let of = |it: &dagbok_events::ExpectedRuns| {
                        let (first, step) = (it.first.start, it.step.0);
                        (0..i64::from(it.count)).map(move |n| first.plus(Micros(step * n)))
                    };
                    dates = f.runs.iter().flat_map(of).collect();
                    if f.run_backwards {
                        dates.reverse();
                    }
                }
                Fact::RunCreated(f) if f.backfill_id == Some(BackfillId(id)) => {
                    seen.extend(f.logical_date);
                }
                Fact::RunBackfilled(f) if f.backfill_id.0 == id => seen.extend(date_of(record)),
                Fact::BackfillSkipped(f) if f.backfill_id.0 == id => {
                    let from = seen.len();
                    seen.extend(dates.iter().skip(from).take(f.count as usize));
                }
                Fact::BackfillCompleted(f) if f.backfill_id.0 == id => completed = true,
                _ => {}
            }
        }
    }
    let right = if completed { seen == dates } else { dates.starts_with(&seen) };
    if right { Ok(()) } else { Err(format!("{seen:?} of {dates:?}")) }
}
