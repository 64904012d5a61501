//! Dates that are none of a run's: tasks that begin later or ended before, and runs of dates that are yet to come.
use dagbok_events::{DagSpec, MapIndex, RunId, RunType, TriggerRule};
use dagbok_protocol::{CommandBody, Reason, TriggerRun};

use super::support::*;

fn trigger(world: &mut World, run: &str, date: &str) -> Sent {
    let ask = TriggerRun {
        run_id: Some(RunId::new(run).expect("a run id")),
        logical_date: Some(at(date)),
        ..ask("etl")
    };
    world.send(CommandBody::TriggerRun(ask))
}

fn from(dag: DagSpec, task: &str, date: &str) -> DagSpec {
    dag.add(task, &[], |task| task.start_date = Some(at(date)))
}

fn world(dag: DagSpec) -> World {
    let mut world = World::with([dag]);
    world.now = at("2024-02-01");
    world
}

#[test]
fn a_task_that_begins_later_or_ended_before_is_no_part_of_a_run() {
    let spec = from(dag("etl").task("a", &[]), "later", "2024-01-05");
    let spec = spec.add("ends", &[], |task| task.end_date = Some(at("2024-01-02")));
    let mut world = world(spec);
    let left_out = "TaskRuledOut later OutOfDates: the run's logical date 2024-01-03T00:00:00Z lies before its \
                    start_date 2024-01-05T00:00:00Z";
    let ended = "TaskRuledOut ends OutOfDates: the run's logical date 2024-01-03T00:00:00Z lies after its end_date \
                 2024-01-02T00:00:00Z";
    let made = "RunCreated Manual 2024-01-03T00:00:00Z";
    trigger(&mut world, "d3", "2024-01-03").is([made, "RunStarted", left_out, ended]);
    world.settle();
    assert_eq!(world.offered(), ["etl/d3/a/1"]);
    world.succeed("e1", "etl/d3/a/1").is(["TrySucceeded a 1", "RunSucceeded"]);
    // On the very day it is.
    trigger(&mut world, "d5", "2024-01-05");
    world.settle();
    assert_eq!(world.offered(), ["etl/d5/a/1", "etl/d5/later/1"]);
    trigger(&mut world, "d2", "2024-01-02");
    world.settle();
    assert!(world.offered().contains(&"etl/d2/ends/1".to_owned()));
}

#[test]
fn a_run_past_the_dags_end_has_no_task_and_is_over_at_once() {
    let spec = dag("etl").with(|dag| dag.end_date = Some(at("2024-01-10")));
    let spec = spec.add("a", &[], |task| task.end_date = Some(at("2024-01-20")));
    let mut world = world(spec.task("b", &["a"]));
    let sent = trigger(&mut world, "late", "2024-01-15");
    let facts = brief_all(&sent.records);
    assert_eq!(facts.last().map(String::as_str), Some("RunSucceeded"), "{facts:?}");
    assert_eq!(
        facts.iter().filter(|it| it.contains("OutOfDates")).count(),
        2,
        "the DAG's end is that of all"
    );
    world.settle();
    assert_eq!(world.offered(), [] as [&str; 0]);
    // One without a date has none to lie outside of.
    world.trigger_as("etl", "undated");
    world.settle();
    assert_eq!(world.offered(), ["etl/undated/a/1"]);
}

#[test]
fn what_waits_for_a_task_that_is_no_part_of_the_run_fails_it_as_deadlocked() {
    let spec =
        dag("etl").task("a", &[]).add("gone", &[], |task| task.end_date = Some(at("2024-01-01")));
    let spec = spec.task("both", &["a", "gone"]);
    let spec = spec.add("one", &["a", "gone"], |task| task.trigger_rule = TriggerRule::OneSuccess);
    let mut world = world(spec);
    trigger(&mut world, "d2", "2024-01-02");
    world.settle();
    let facts = brief_all(&world.succeed("e1", "etl/d2/a/1").records);
    assert_eq!(facts, ["TrySucceeded a 1", "TaskRuledOut both UpstreamFailed"]);
    world.settle();
    world.succeed("e1", "etl/d2/one/1").is(["TrySucceeded one 1", "RunFailed both"]);
}

#[test]
fn a_run_of_a_date_that_is_yet_to_come_waits_for_it() {
    let mut world = world(dag("etl").task("a", &[]));
    trigger(&mut world, "tomorrow", "2024-02-02").is(["RunCreated Manual 2024-02-02T00:00:00Z"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    let why = world.why("etl", Some("tomorrow"), None, MapIndex::UNMAPPED);
    assert_eq!(why.is.reasons, [Reason::NotDue { due: at("2024-02-02") }]);
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-02-02")));
    // Another does not wait behind it, and neither a restart nor a cancelled first attempt hastens it.
    world.trigger_as("etl", "now");
    world.settle();
    assert_eq!(world.offered(), ["etl/now/a/1"]);
    world.succeed("e1", "etl/now/a/1");
    world.cancel("etl", "tomorrow");
    world.clear("etl", "tomorrow", false);
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.go_to("2024-02-02T00:00"), ["RunStarted", "TaskQueued a 1"]);
}

#[test]
fn a_task_that_was_no_part_of_the_run_before_is_not_waited_for_there() {
    let past = |task: &mut dagbok_events::TaskSpec| {
        (task.depends_on_past, task.start_date) = (true, Some(at("2024-01-02")));
    };
    let spec = dag("etl").task("a", &[]).add("new", &[], past);
    for over in [true, false] {
        let mut world = world(spec.clone());
        trigger(&mut world, "d1", "2024-01-01");
        world.settle();
        if over {
            world.fail("e1", "etl/d1/a/1");
        }
        trigger(&mut world, "d2", "2024-01-02");
        world.settle();
        assert!(world.offered().contains(&"etl/d2/new/1".to_owned()), "over {over}");
        trigger(&mut world, "d3", "2024-01-03");
        world.settle();
        assert!(!world.offered().contains(&"etl/d3/new/1".to_owned()), "that one has it");
    }
}

#[test]
fn a_backfill_runs_what_its_dates_would_leave_out() {
    let run = RunType::Backfill;
    let spec =
        from(dag("etl"), "later", "2024-01-05").with(|dag| dag.start_date = Some(at("2024-01-01")));
    let mut world = world(spec);
    let made = dagbok_events::RunCreated {
        run_type: run,
        logical_date: Some(at("2024-01-02")),
        data_interval: None,
        run_after: at("2024-01-02"),
        version: 1,
        bundle: digest(1),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let record = dagbok_events::Record {
        at: world.now,
        clock: None,
        scope: dagbok_events::Scope::Run(run_key("etl", "b")),
        by: dagbok_events::Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts: vec![dagbok_events::Fact::RunCreated(Box::new(made))],
    };
    world.append(&record);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued later 1"]);
}

#[test]
fn a_task_is_no_part_of_a_run_that_ended_before_it_began_and_none_that_runs_again() {
    let spec = from(dag("etl").task("a", &[]), "later", "2024-01-05");
    let mut world = world(spec.with(|dag| dag.max_active_runs = 1));
    trigger(&mut world, "d1", "2024-01-01");
    world.settle();
    trigger(&mut world, "d2", "2024-01-02");
    world.cancel("etl", "d2").is([
        "RunCancelled",
        "TaskRuledOut later OutOfDates: the run's logical date 2024-01-02T00:00:00Z lies before its start_date \
         2024-01-05T00:00:00Z",
        "TaskRuledOut a Skipped",
    ]);
    world.succeed("e1", "etl/d1/a/1");
    world.clear("etl", "d2", false).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
    world.succeed("e1", "etl/d2/a/1").is(["TrySucceeded a 1", "RunSucceeded"]);
}
