//! Timetables written in Python: what they answered is a fact, and the rules go by that alone.
use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{
    DagSpec, ExpectedRuns, Fact, ForetoldManual, ForetoldRuns, Interval, ManualStep, Micros,
    MissedWhy, ReprocessBehavior, RunType, ScheduleForetold, Timestamp, Timetable,
};
use dagbok_protocol::{
    CommandBody, CreateBackfill, DagFile, LastScheduled, RefusalCode, TriggerRun,
};

use super::support::*;

fn spec() -> DagSpec {
    let class = "Workdays".to_owned();
    let (arguments, description) = (String::new(), String::new());
    let timetable = Timetable::Python { class, arguments, description };
    dag("etl").timetable(timetable).with(|dag| dag.max_active_runs = 1).task("t", &[])
}

fn day(start: &str) -> Interval {
    Interval { start: at(start), end: at(start).plus(DAY) }
}

fn days(from: &str, count: u32) -> ForetoldRuns {
    ForetoldRuns { first: day(from), run_after: None, step: DAY, count }
}

fn answer(after: Option<&str>, runs: Vec<ForetoldRuns>) -> ScheduleForetold {
    ScheduleForetold { after: after.map(day), runs, heedless: false, manual: None }
}

fn file_with(spec: &DagSpec, answer: ScheduleForetold) -> DagFile {
    let mut file = file_of(spec);
    file.dags[0].foretold = Some(Box::new(answer));
    file
}

fn coming(namespace: &Namespace) -> Vec<Timestamp> {
    let dag = namespace.dag(&dag_id("etl")).expect("known");
    let next = dag.expected().and_then(|run| run.data_interval);
    next.into_iter().chain(dag.ahead()).map(|run| run.start).collect()
}

fn made(world: &World) -> Vec<Interval> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let of = |fact: &Fact| match fact {
        Fact::RunCreated(f) if f.run_type == RunType::Scheduled => f.data_interval,
        _ => None,
    };
    facts.filter_map(of).collect()
}

fn finish(world: &mut World) {
    for key in world.offered() {
        world.start("e1", &key);
        world.succeed("e1", &key);
    }
    world.settle();
}

#[test]
fn its_runs_are_promised_and_made_as_it_answered() {
    let mut world = World::new();
    world.go_to("2024-03-01");
    world.read(&spec()).is(["DagRegistered etl v1"]);
    assert!(coming(&world.namespace).is_empty(), "nobody asked it yet");
    let runs = vec![days("2024-03-01", 1), days("2024-03-04", 5)];
    let file = file_with(&spec(), answer(None, runs));
    world
        .read_file(&file)
        .is(["ScheduleForetold 6", "RunExpected 2024-03-01T00:00:00Z due 2024-03-02T00:00:00Z"]);
    let dates =
        ["2024-03-01", "2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07", "2024-03-08"];
    assert_eq!(coming(&world.namespace), dates.map(at));
    world.read_file(&file).unchanged();
    for date in ["2024-03-02T01:00", "2024-03-05T01:00", "2024-03-06T01:00"] {
        world.go_to(date);
        finish(&mut world);
    }
    assert_eq!(made(&world), [day("2024-03-01"), day("2024-03-04"), day("2024-03-05")]);
    let sent =
        world.send(CommandBody::LastScheduled { dag_ids: vec![dag_id("etl"), dag_id("no")] });
    let last = LastScheduled { dag_id: dag_id("etl"), data_interval: Some(day("2024-03-05")) };
    assert!(matches!(&sent.outcome, Outcome::LastScheduled(known) if *known == [last]));
    // The horizon moves on, and the promise stands.
    let runs = vec![days("2024-03-06", 3), days("2024-03-11", 5)];
    world
        .read_file(&file_with(&spec(), answer(Some("2024-03-05"), runs)))
        .is(["ScheduleForetold 8", "RunExpected 2024-03-06T00:00:00Z due 2024-03-07T00:00:00Z"]);
    assert_eq!(coming(&world.namespace).len(), 8);
    let live = world.namespace.to_snapshot();
    let again = Namespace::from_snapshot(&live).expect("ours");
    assert_eq!(again.to_snapshot(), live);
    assert_eq!(coming(&again), coming(&world.namespace));
}

#[test]
fn another_answer_takes_the_place_of_the_old_one_and_another_timetable_forgets_it() {
    let mut world = World::new();
    world.go_to("2024-03-01");
    world.read_file(&file_with(&spec(), answer(None, vec![days("2024-03-01", 6)])));
    world.read_file(&file_with(&spec(), answer(None, vec![days("2024-03-02", 1)])));
    assert_eq!(coming(&world.namespace), [at("2024-03-02")]);
    // What else of the DAG changes leaves the answer standing.
    world.read(&spec().task("u", &["t"])).is(["DagRegistered etl v2"]);
    assert_eq!(coming(&world.namespace), [at("2024-03-02")]);
    world.go_to("2024-03-03T01:00");
    assert_eq!(made(&world), [day("2024-03-02")]);
    assert!(coming(&world.namespace).is_empty(), "it named no further run");
    let other = |spec: &mut DagSpec| {
        let class = "Holidays".to_owned();
        let (arguments, description) = (String::new(), String::new());
        spec.schedule.timetable = Timetable::Python { class, arguments, description };
    };
    world.read_file(&file_with(&spec(), answer(Some("2024-03-02"), vec![days("2024-03-09", 2)])));
    world.read(&spec().with(other));
    assert!(coming(&world.namespace).is_empty(), "that is another's answer");
}

#[test]
fn a_run_may_wait_longer_than_for_the_end_of_its_data() {
    let mut world = World::new();
    world.go_to("2024-03-01");
    let late = ForetoldRuns { run_after: Some(at("2024-03-02T06:00")), ..days("2024-03-01", 5) };
    world.read_file(&file_with(&spec(), answer(None, vec![late])));
    world.go_to("2024-03-02T05:59");
    assert!(made(&world).is_empty());
    world.go_to("2024-03-02T06:00");
    finish(&mut world);
    world.go_to("2024-03-03T06:00");
    assert_eq!(made(&world), [day("2024-03-01"), day("2024-03-02")]);
}

#[test]
fn a_run_may_be_due_before_its_data_is_over() {
    let mut world = World::new();
    world.go_to("2024-03-01");
    let early = ForetoldRuns { run_after: Some(at("2024-03-01")), ..days("2024-03-01", 5) };
    world.read_file(&file_with(&spec(), answer(None, vec![early])));
    world.settle();
    finish(&mut world);
    assert_eq!(made(&world), [day("2024-03-01")]);
    let early = ForetoldRuns { run_after: Some(at("2024-03-02")), ..days("2024-03-02", 5) };
    world.go_to("2024-03-01T06:00");
    world.read_file(&file_with(&spec(), answer(Some("2024-03-01"), vec![early])));
    assert_eq!(coming(&world.namespace), [at("2024-03-02")]);
    world.go_to("2024-03-02");
    assert_eq!(made(&world), [day("2024-03-01"), day("2024-03-02")]);
}

/// The scheduler is away for three days; what follows of it, by what the DAG and its timetable say.
fn after_three_days(catchup: bool, heedless: bool) -> (Vec<Interval>, Vec<(u32, MissedWhy)>) {
    let mut world = World::new();
    world.go_to("2024-03-01");
    let spec = spec().with(|dag| (dag.catchup, dag.max_active_runs) = (catchup, 10));
    let answer = ScheduleForetold { heedless, ..answer(None, vec![days("2024-03-01", 10)]) };
    world.read_file(&file_with(&spec, answer));
    world.now = at("2024-03-05T01:00");
    world.settle();
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let missed = facts.filter_map(|fact| match fact {
        Fact::RunMissed(f) => Some((f.count, f.why)),
        _ => None,
    });
    (made(&world), missed.collect())
}

#[test]
fn what_is_past_is_made_where_it_catches_up_or_the_timetable_does_not_ask_for_that() {
    let dates = ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"];
    for (catchup, heedless) in [(true, false), (false, true), (true, true)] {
        let (made, missed) = after_three_days(catchup, heedless);
        assert_eq!((made, missed), (dates.map(day).to_vec(), vec![]), "{catchup} {heedless}");
    }
    let (made, missed) = after_three_days(false, false);
    assert_eq!(made, [day("2024-03-01"), day("2024-03-04")]);
    assert_eq!(missed, [(2, MissedWhy::NoScheduler)]);
}

#[test]
fn the_promise_of_a_paused_dag_does_not_move_on_with_each_answer() {
    let mut world = World::new();
    world.go_to("2024-03-01");
    world.read_file(&file_with(&spec(), answer(None, vec![days("2024-03-01", 5)])));
    world.pause("etl");
    world.go_to("2024-03-08");
    world
        .read_file(&file_with(&spec(), answer(None, vec![days("2024-03-08", 5)])))
        .is(["ScheduleForetold 5"]);
    world.unpause("etl").is([
        "DagUnpaused",
        "RunMissed 5 from 2024-03-01T00:00:00Z to 2024-03-05T00:00:00Z: Paused",
        "RunExpected 2024-03-08T00:00:00Z due 2024-03-09T00:00:00Z",
    ]);
}

#[test]
fn a_run_by_hand_stands_for_what_the_timetable_infers() {
    let steps = ["2024-03-01", "2024-03-02"]
        .map(|date| ManualStep { from: at(date).plus(DAY), interval: day(date) });
    let around = ForetoldManual::Around { start: Micros(-HOUR.0), end: Micros(0) };
    let steps = ForetoldManual::Steps(steps.to_vec());
    let date = at("2024-03-03T12:00");
    let before = Interval { start: date.plus(Micros(-HOUR.0)), end: date };
    let empty = Interval { start: date, end: date };
    for (manual, interval) in
        [(Some(around), before), (Some(steps), day("2024-03-02")), (None, empty)]
    {
        let mut world = World::new();
        world.go_to("2024-03-04");
        let answer = ScheduleForetold { manual, ..answer(None, vec![]) };
        world.read_file(&file_with(&spec(), answer));
        let ask = TriggerRun { logical_date: Some(date), ..ask("etl") };
        let sent = world.send(CommandBody::TriggerRun(ask));
        let Some(Fact::RunCreated(f)) = sent.records[0].facts.first() else { panic!() };
        assert_eq!(f.data_interval, Some(interval));
    }
}

#[test]
fn a_backfill_has_the_runs_that_the_timetable_answered() {
    let mut world = World::new();
    world.go_to("2024-03-04");
    world.read_file(&file_with(&spec(), answer(None, vec![days("2024-03-01", 9)])));
    let mut ask = CreateBackfill {
        dag_id: dag_id("etl"),
        from_date: at("2024-02-01"),
        to_date: at("2024-02-10"),
        run_backwards: false,
        reprocess_behavior: ReprocessBehavior::None,
        max_active_runs: 2,
        conf: None,
        runs: None,
        dry_run: false,
    };
    let mut send = |ask: &CreateBackfill| {
        let sent = world.send(CommandBody::CreateBackfill(Box::new(ask.clone())));
        sent.records
            .first()
            .and_then(|record| match record.facts.first() {
                Some(Fact::BackfillCreated(f)) => Some(f.runs.clone()),
                _ => None,
            })
            .ok_or_else(|| sent.refused(RefusalCode::Invalid, []).to_owned())
    };
    assert!(send(&ask).unwrap_err().contains("was not asked"));
    let of = |from: &str, count| ExpectedRuns { first: day(from), step: DAY, count };
    ask.runs = Some(vec![]);
    assert!(send(&ask).unwrap_err().contains("no run that is due"));
    ask.runs = Some(vec![of("2024-01-01", 9_000), of("2024-02-01", 1_001)]);
    assert!(send(&ask).unwrap_err().contains("about 10001 runs"));
    // Whoever answers: what was not asked for, what is yet to come and what is said twice is not made.
    ask.to_date = at("2024-03-08");
    ask.runs = Some(vec![of("2024-01-30", 4), of("2024-02-02", 2), of("2024-03-02", 5)]);
    let runs = send(&ask).unwrap();
    assert_eq!(runs, [of("2024-02-01", 3), of("2024-03-02", 2)]);
}

#[test]
fn a_backfill_of_another_schedule_has_its_own_dates() {
    let mut world = World::with([dag("etl").daily("2024-02-01").task("t", &[])]);
    world.go_to("2024-03-04");
    let runs = Some(vec![ExpectedRuns { first: day("2024-02-09"), step: DAY, count: 1 }]);
    let ask = CreateBackfill {
        dag_id: dag_id("etl"),
        from_date: at("2024-02-01"),
        to_date: at("2024-02-03"),
        run_backwards: false,
        reprocess_behavior: ReprocessBehavior::Completed,
        max_active_runs: 2,
        conf: None,
        runs,
        dry_run: false,
    };
    let sent = world.send(CommandBody::CreateBackfill(Box::new(ask)));
    let Some(Fact::BackfillCreated(f)) = sent.records[0].facts.first() else { panic!() };
    assert_eq!(f.runs, [ExpectedRuns { first: day("2024-02-01"), step: DAY, count: 3 }]);
}
