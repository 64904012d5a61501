//! Clearing tasks of runs, over or not, and deleting runs.
use dagbok_domain::{namespace::Outcome, run::Ending};
use dagbok_events::{TaskWas, TasksWere, TriggerRule};
use dagbok_protocol::{ClearedTask, CommandBody, RefusalCode, TriggerRun};

use super::support::{DagExt as _, World, ask, at, clearing, dag, run_key, secs, task_id, try_key};

/// a → b → c, with a notice at the end; b failed.
fn failed() -> World {
    let spec = dag("etl")
        .add("a", &[], |task| task.retries = 1)
        .task("b", &["a"])
        .task("c", &["b"])
        .add("told", &["c"], |task| task.trigger_rule = TriggerRule::AllDone);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    world.settle();
    world.fail("e1", "etl/r1/b/1");
    world.settle();
    world.succeed("e1", "etl/r1/told/1").is(["TrySucceeded told 1", "RunSucceeded"]);
    world
}

#[test]
fn what_failed_runs_again_with_what_it_ruled_out() {
    let mut world = failed();
    world.clear("etl", "r1", true).is(["RunCleared", "TaskCleared b", "TaskCleared c"]);
    assert_eq!(world.namespace.ending(&run_key("etl", "r1")), None);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued b 2"]);
    world.succeed("e1", "etl/r1/b/2");
    assert_eq!(world.settle(), ["TaskQueued c 1"]);
    world.succeed("e1", "etl/r1/c/1").is(["TrySucceeded c 1", "RunSucceeded"]);
    assert_eq!(world.namespace.ending(&run_key("etl", "r1")), Some(Ending::Success));
}

#[test]
fn what_would_be_cleared_is_told_and_nothing_done() {
    let mut world = failed();
    let ask = dagbok_protocol::ClearTasks { dry_run: true, ..clearing("etl", "r1", true) };
    let sent = world.send(CommandBody::ClearTasks(ask));
    let task = |name, state| ClearedTask {
        task_id: task_id(name),
        map_index: dagbok_events::MapIndex::UNMAPPED,
        further: 0,
        was: vec![TasksWere { state, count: 1 }],
    };
    let tasks = vec![task("b", TaskWas::Failed), task("c", TaskWas::UpstreamFailed)];
    assert_eq!(sent.outcome, Outcome::WouldClear { run_goes_on: true, tasks, version: None });
    assert!(sent.records.is_empty());
}

#[test]
fn every_task_runs_again_where_all_are_cleared() {
    let mut world = failed();
    world.clear("etl", "r1", false).is([
        "RunCleared",
        "TaskCleared a",
        "TaskCleared b",
        "TaskCleared c",
        "TaskCleared told",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
    world.fail("e1", "etl/r1/a/2");
    assert_eq!(world.pass(secs(300)), ["TaskQueued a 3"], "with all of its retries");
}

#[test]
fn a_task_below_one_that_still_failed_is_ruled_out_again() {
    let mut world = failed();
    let ask = dagbok_protocol::ClearTasks {
        task_ids: vec![task_id("c")],
        ..clearing("etl", "r1", false)
    };
    world.send(CommandBody::ClearTasks(ask)).is([
        "RunCleared",
        "TaskCleared c",
        "TaskRuledOut c UpstreamFailed",
        "RunSucceeded",
    ]);
}

#[test]
fn a_run_that_goes_on_waits_for_its_turn() {
    let spec = dag("etl").task("a", &[]).with(|dag| dag.max_active_runs = 1);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.trigger_as("etl", "r2");
    world.settle();
    world.clear("etl", "r1", true).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.succeed("e1", "etl/r2/a/1");
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
}

#[test]
fn done_tasks_of_a_run_that_goes_on_can_be_cleared() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"]).task("c", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.clear("etl", "r1", true).is(["TaskCleared a", "TaskCleared b"]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    world.succeed("e1", "etl/r1/c/1").is(["TrySucceeded c 1"]);
    world.succeed("e1", "etl/r1/a/2");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}

#[test]
fn a_run_uses_the_version_that_it_had() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.read(&dag("etl").task("other", &[]));
    world.clear("etl", "r1", true).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
    world.succeed("e1", "etl/r1/a/2").is(["TrySucceeded a 2", "RunSucceeded"]);
}

#[test]
fn there_is_nothing_to_clear_of_what_is_not_there() {
    let mut world = failed();
    world.clear("etl", "ghost", true).refused(RefusalCode::RunNotFound, []);
    world.clear("ghost", "r1", true).refused(RefusalCode::DagNotFound, []);
    let ask = dagbok_protocol::ClearTasks {
        task_ids: vec![task_id("ghost")],
        ..clearing("etl", "r1", true)
    };
    world.send(CommandBody::ClearTasks(ask)).refused(RefusalCode::TaskNotFound, []);
    world.clear("etl", "r1", true);
    world.clear("etl", "r1", true).unchanged();
}

#[test]
fn a_deleted_run_leaves_its_id_and_date_free() {
    let mut world = failed();
    world.trigger_as("etl", "r2");
    world.delete("etl", "r2").refused(RefusalCode::RunActive, []);
    world.delete("etl", "r1").is(["RunDeleted"]);
    world.delete("etl", "r1").refused(RefusalCode::RunNotFound, []);
    world.clear("etl", "r1", true).refused(RefusalCode::RunNotFound, []);
    world.trigger_as("etl", "r1").run_id();
}

#[test]
fn a_fold_from_the_start_goes_the_same_way() {
    let mut world = failed();
    world.clear("etl", "r1", true);
    world.settle();
    world.succeed("e1", "etl/r1/b/2");
    world.settle();
    let live = world.state();
    let mut again = World::new();
    for record in world.log.clone() {
        again.append(&record);
    }
    assert_eq!(again.state(), live);
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.state(), live);
    world.succeed("e1", "etl/r1/c/1").is(["TrySucceeded c 1", "RunSucceeded"]);
}

#[test]
fn a_run_named_after_a_date_that_is_anothers_leaves_it_taken() {
    let mut world = World::with([dag("etl").task("a", &[]).with(|dag| dag.era = 3)]);
    world.trigger_as("etl", "manual__2024-01-01T00:00:00+00:00");
    world.settle();
    world.cancel("etl", "manual__2024-01-01T00:00:00+00:00");
    let dated = |run_id: &str| TriggerRun {
        run_id: Some(dagbok_events::RunId::new(run_id).expect("a run id")),
        logical_date: Some(at("2024-01-01")),
        ..ask("etl")
    };
    world.send(CommandBody::TriggerRun(dated("r1"))).run_id();
    world.delete("etl", "manual__2024-01-01T00:00:00+00:00").is(["RunDeleted"]);
    let twice = world.send(CommandBody::TriggerRun(dated("r2")));
    twice.refused(RefusalCode::LogicalDateTaken, []);
}

#[test]
fn a_run_made_by_a_clock_ahead_goes_on_at_once_by_the_clock_as_it_is() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    let start = world.now;
    world.pass(secs(3_600));
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.now = start;
    world.settle();
    world.clear("etl", "r1", true).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
}

#[test]
fn tries_of_a_run_go_on_from_those_of_a_deleted_one_of_its_id() {
    let mut world = failed();
    world.clear("etl", "r1", true);
    world.settle();
    world.start("e1", "etl/r1/b/2");
    world.cancel("etl", "r1");
    world.delete("etl", "r1").is(["RunDeleted"]);
    world.trigger_as("etl", "r1").run_id();
    assert_eq!(world.settle(), ["TaskQueued a 3"]);
    // Whoever still runs something of the run that is gone is not believed, and told to end.
    world
        .succeed("e1", "etl/r1/a/1")
        .refused(RefusalCode::StaleReport, ["ReportRefused a 1 Succeeded: NotInFlight"]);
    assert!(world.namespace.is_over(&try_key("etl/r1/b/2")));
    world.fail("e2", "etl/r1/a/3");
    assert_eq!(world.pass(secs(300)), ["TaskQueued a 4"], "with all of its retries");
    world.fail("e2", "etl/r1/a/4");
    world.clear("etl", "r1", true);
    assert_eq!(world.settle(), ["TaskQueued a 5"]);
}
