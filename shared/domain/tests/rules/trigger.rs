//! Triggering runs: by whom, of what, and when not.
use dagbok_domain::namespace::Outcome;
use dagbok_events::{
    Actor, Fact, Micros, Payload, RunId, RunType, Timestamp, Timetable, TraceContext,
};
use dagbok_protocol::{CommandBody, RefusalCode, TriggerRun, limits};

use super::support::*;

fn etl() -> dagbok_events::DagSpec {
    dag("etl").task("a", &[])
}

#[test]
fn a_trigger_makes_a_run_and_starts_it() {
    let mut world = World::with([etl()]);
    world.trigger_as("etl", "r1").is(["RunCreated Manual never", "RunStarted"]);
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
    assert_eq!(world.offered(), ["etl/r1/a/1"]);
}

#[test]
fn a_run_carries_what_came_with_the_trigger() {
    let mut world = World::with([etl()]);
    let (conf, note) = (Some(r#"{"size": 3}"#.to_owned()), Some("once more".to_owned()));
    let ask = TriggerRun { conf: conf.clone(), note: note.clone(), ..ask("etl") };
    let mut command = world.command(CommandBody::TriggerRun(ask));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    command.trace = Some(TraceContext { traceparent: traceparent.clone(), tracestate: None });
    command.reason = Some("because".to_owned());
    let sent = world.deliver(&command);
    let record = &sent.records[0];
    assert_eq!(record.by, Actor::User("ada".to_owned()));
    assert_eq!(record.reason.as_deref(), Some("because"));
    assert_eq!(record.cause.as_ref().expect("a command").command, command.id);
    let Fact::RunCreated(created) = &record.facts[0] else { panic!("{record:?}") };
    assert_eq!(created.conf, conf.clone().map(Payload::Inline));
    assert_eq!(created.note, note);
    assert_eq!((created.version, created.bundle.clone()), (1, digest(1)));
    world.settle();
    let queued = world.namespace.queued_tries()[0];
    let item = world.namespace.work_item(queued).expect("the try is offered");
    assert_eq!(item.traceparent, Some(traceparent));
    assert_eq!(item.run.conf, conf.map(Payload::Inline));
    assert_eq!(item.run.triggered_by.as_deref(), Some("ada"));
    assert_eq!(item.run.note, note);
    assert_eq!(item.run.start_date, Some(world.now));
    assert_eq!((item.file.as_str(), item.bundle), ("etl.py", digest(1)));
}

#[test]
fn what_is_not_there_cannot_be_triggered() {
    let mut world = World::with([etl()]);
    let told = world.trigger("elt").refused(RefusalCode::DagNotFound, []).to_owned();
    assert!(told.contains("elt") && told.contains("dagbok dags list"), "{told}");
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    world.trigger("etl").refused(RefusalCode::DagNotFound, []);
}

#[test]
fn a_conf_must_be_a_json_object_of_bearable_size() {
    let mut world = World::with([etl()]);
    let sized = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    let (largest, large) = (sized(limits::CONF_BYTES), sized(limits::CONF_BYTES + 1));
    let note = Some("n".repeat(limits::NOTE_BYTES));
    let sent =
        world.send(CommandBody::TriggerRun(TriggerRun { conf: Some(largest), note, ..ask("etl") }));
    sent.run_id();
    assert!(dagbok_events::encode(&sent.records[0]).len() <= limits::RECORD_BYTES);
    for (conf, word) in [("[1]", "object"), ("{", "not JSON"), (large.as_str(), "bytes")] {
        let ask = TriggerRun { conf: Some(conf.to_owned()), ..ask("etl") };
        let sent = world.send(CommandBody::TriggerRun(ask));
        let told = sent.refused(RefusalCode::Invalid, []);
        assert!(told.contains(word), "{told}");
    }
    let note = Some("n".repeat(limits::NOTE_BYTES + 1));
    let sent = world.send(CommandBody::TriggerRun(TriggerRun { note, ..ask("etl") }));
    sent.refused(RefusalCode::Invalid, []);
}

#[test]
fn the_same_command_twice_makes_one_run() {
    let mut world = World::with([etl()]);
    let command = world.command(CommandBody::TriggerRun(ask("etl")));
    let run_id = world.deliver(&command).run_id();
    let first = world.log.len() as u64;
    world.settle();
    let again = world.deliver(&command);
    assert_eq!(again.outcome, Outcome::Seen { seq: first, run_id: Some(run_id) });
    assert!(again.records.is_empty());
}

#[test]
fn a_run_id_is_taken_for_ever() {
    let mut world = World::with([etl()]);
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r1").refused(RefusalCode::RunAlreadyExists, []);
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    assert!(!world.is_active("etl", "r1"));
    world.trigger_as("etl", "r1").refused(RefusalCode::RunAlreadyExists, []);
}

#[test]
fn a_logical_date_is_taken_for_ever() {
    let mut world = World::with([etl()]);
    let dated = |run: &str| TriggerRun {
        run_id: Some(RunId::new(run).expect("a run id")),
        logical_date: Some(at("2023-12-24")),
        ..ask("etl")
    };
    world
        .send(CommandBody::TriggerRun(dated("r1")))
        .is(["RunCreated Manual 2023-12-24T00:00:00Z", "RunStarted"]);
    let sent = world.send(CommandBody::TriggerRun(dated("r2")));
    sent.refused(RefusalCode::LogicalDateTaken, []);
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    let sent = world.send(CommandBody::TriggerRun(dated("r2")));
    sent.refused(RefusalCode::LogicalDateTaken, []);
}

#[test]
fn a_logical_date_before_the_start_date_is_refused() {
    let mut world = World::with([etl().with(|dag| dag.start_date = Some(at("2024-01-01")))]);
    let early = TriggerRun { logical_date: Some(at("2023-12-31")), ..ask("etl") };
    let sent = world.send(CommandBody::TriggerRun(early));
    let told = sent.refused(RefusalCode::Invalid, []);
    assert!(told.contains("2023-12-31") && told.contains("2024-01-01"), "{told}");
    let first = TriggerRun { logical_date: Some(at("2024-01-01")), ..ask("etl") };
    world.send(CommandBody::TriggerRun(first)).run_id();
}

#[test]
fn the_older_era_dates_every_run_and_the_newer_does_not() {
    let mut world = World::with([etl(), dag("old").with(|dag| dag.era = 2).task("a", &[])]);
    world.trigger("etl").is(["RunCreated Manual never", "RunStarted"]);
    world.trigger("old").is(["RunCreated Manual 2024-01-01T00:00:00Z", "RunStarted"]);
}

#[test]
fn a_manual_run_of_a_schedule_stands_for_the_last_whole_interval() {
    let mut world = World::with([dag("etl").daily("2023-12-01").task("a", &[])]);
    world.now = at("2024-01-05T12:00:00Z");
    let dated = TriggerRun { logical_date: Some(at("2024-01-03T08:00:00Z")), ..ask("etl") };
    let sent = world.send(CommandBody::TriggerRun(dated));
    let Fact::RunCreated(created) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    let interval = created.data_interval.expect("a run with a date has one");
    assert_eq!((interval.start, interval.end), (at("2024-01-02"), at("2024-01-03")));
    assert_eq!(sent.run_id().as_str(), "manual__2024-01-03T08:00:00+00:00");
}

#[test]
fn runs_triggered_in_the_same_instant_all_come_about() {
    for era in [2, 3] {
        let spec = etl().with(|dag| dag.era = era).with(|dag| dag.max_active_runs = 100);
        let mut world = World::with([spec]);
        let ids: std::collections::BTreeSet<RunId> =
            (0..50).map(|_| world.trigger("etl").run_id()).collect();
        assert_eq!(ids.len(), 50);
        assert_eq!(world.namespace.active_runs().count(), 50);
    }
}

#[test]
fn a_run_of_a_paused_dag_waits_for_it() {
    let mut world = World::with([etl()]);
    world.pause("etl");
    world.trigger_as("etl", "r1").is(["RunCreated Manual never"]);
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
    world.unpause("etl").is(["DagUnpaused"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
}

#[test]
fn a_run_does_not_overtake_one_that_waits() {
    let mut world = World::with([etl().with(|dag| dag.max_active_runs = 1)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.trigger_as("etl", "r2").is(["RunCreated Manual never"]);
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1", "RunSucceeded"]);
    // Before the rules have had their say there is room for a run, which is the older one's.
    world.trigger_as("etl", "r3").is(["RunCreated Manual never"]);
    world.settle();
    assert_eq!(world.offered(), ["etl/r2/a/1"]);
}

#[test]
fn a_run_without_tasks_succeeds_at_once() {
    let mut world = World::with([dag("empty")]);
    world.trigger("empty").is(["RunCreated Manual never", "RunStarted", "RunSucceeded"]);
    assert_eq!(world.namespace.active_runs().count(), 0);
    world.pause("empty");
    world.trigger("empty").is(["RunCreated Manual never"]);
    world.unpause("empty");
    assert_eq!(world.settle(), ["RunStarted", "RunSucceeded"]);
}

#[test]
fn a_dag_that_only_waits_for_triggers_promises_nothing() {
    let world = World::with([etl()]);
    assert!(world.namespace.dag(&dag_id("etl")).expect("known").expected().is_none());
    assert_eq!(world.namespace.next_due(world.now), None);
    let mut once = World::with([etl().timetable(Timetable::Once)]);
    once.queued_for(secs(0));
    let runs: Vec<_> = once.namespace.active_runs().collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].meta().run_type, RunType::Scheduled);
    assert_eq!(once.namespace.next_due(once.now.plus(Micros(1))), None);
}

#[test]
fn a_manual_run_takes_no_id_of_a_run_that_nobody_triggers() {
    let mut world = World::with([etl()]);
    for taken in ["scheduled__2024-01-01T00:00:00+00:00", "backfill__x", "asset_triggered__x"] {
        let sent = world.trigger_as("etl", taken);
        let told = sent.refused(RefusalCode::Invalid, []);
        assert!(told.contains(taken), "{told}");
    }
    world.trigger_as("etl", "my_scheduled__x");
    assert!(world.is_active("etl", "my_scheduled__x"));
}

#[test]
fn at_the_end_of_time_no_other_date_is_looked_for() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.now = Timestamp(i64::MAX);
    world.trigger("etl");
    let sent = world.trigger("etl");
    assert!(matches!(sent.outcome, Outcome::Refused(_)), "{:?}", sent.outcome);
}
