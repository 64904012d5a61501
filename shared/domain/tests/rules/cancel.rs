//! Ending runs: by hand, and by their own timeout.
use dagbok_domain::{namespace::Outcome, run::Ending};
use dagbok_events::{RunId, RunKey};
use dagbok_protocol::{CommandBody, RefusalCode};

use super::support::*;

fn world() -> World {
    let spec = dag("etl").task("a", &[]).task("b", &[]).task("c", &["a", "b"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

#[test]
fn a_cancelled_run_ends_its_tries_and_skips_the_rest() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let sent = world.cancel("etl", "r1");
    sent.is([
        "RunCancelled",
        "TryCancelled a 1",
        "TryCancelled b 1 skipped",
        "TaskRuledOut c Skipped",
    ]);
    let key = run_key("etl", "r1");
    assert_eq!(world.namespace.ending(&key), Some(Ending::Failed));
    assert!(!world.is_active("etl", "r1"));
    assert_eq!(world.namespace.in_flight(), 0);
    assert_eq!(world.namespace.pool_use("default_pool"), Some((0, 128)));
    assert!(world.namespace.held_by(&executor("e1")).is_empty());
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
}

#[test]
fn a_run_that_waits_can_be_cancelled() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.pause("etl");
    world.trigger_as("etl", "r1");
    world.cancel("etl", "r1").is(["RunCancelled", "TaskRuledOut a Skipped"]);
    world.unpause("etl");
    assert_eq!(world.settle(), [] as [&str; 0]);
}

#[test]
fn a_retry_that_waits_is_cancelled_with_its_run() {
    let mut world = World::with([dag("etl").add("a", &[], |task| task.retries = 1)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.cancel("etl", "r1").is(["RunCancelled", "TaskRuledOut a Skipped"]);
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
}

#[test]
fn what_is_over_or_was_never_there_cannot_be_cancelled() {
    let mut world = world();
    world.cancel("etl", "r2").refused(RefusalCode::RunNotFound, []);
    world.cancel("elt", "r1").refused(RefusalCode::DagNotFound, []);
    world.cancel("etl", "r1");
    let told = world.cancel("etl", "r1").refused(RefusalCode::RunOver, []).to_owned();
    assert!(told.contains("failed"), "{told}");
}

#[test]
fn the_same_cancellation_twice_is_one() {
    let mut world = world();
    let RunKey { dag_id, run_id } = run_key("etl", "r1");
    let command = world.command(CommandBody::CancelRun { dag_id, run_id });
    world.deliver(&command);
    let again = world.deliver(&command);
    assert_eq!(again.outcome, Outcome::Seen { seq: world.log.len() as u64, run_id: None });
}

#[test]
fn a_run_of_a_dag_that_is_gone_can_be_cancelled() {
    let mut world = world();
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    let run_id = RunId::new("r1").expect("a run id");
    world.send(CommandBody::CancelRun { dag_id: dag_id("etl"), run_id });
    assert!(!world.is_active("etl", "r1"));
}

#[test]
fn a_run_past_its_timeout_fails_with_all_that_was_left() {
    let spec = dag("etl").with(|dag| dag.dagrun_timeout = Some(HOUR));
    let spec = spec.add("a", &[], |task| task.retries = 3).task("b", &[]).task("c", &["a", "b"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.start("e1", "etl/r1/b/1");
    assert_eq!(world.namespace.next_due(world.now), Some(world.now.plus(secs(300))));
    assert_eq!(world.pass(secs(3_599)), ["TaskQueued a 2"]);
    assert_eq!(world.namespace.next_due(world.now), Some(world.now.plus(secs(1))));
    let facts = [
        "RunTimedOut",
        "TryCancelled a 2 skipped",
        "TryCancelled b 1 skipped",
        "TaskRuledOut c Skipped",
    ];
    assert_eq!(world.pass(secs(1)), facts);
    let key = run_key("etl", "r1");
    assert_eq!(world.namespace.ending(&key), Some(Ending::Failed));
}

#[test]
fn the_timeout_counts_from_the_start_and_goes_before_what_is_ready() {
    let spec =
        dag("etl").with(|dag| dag.dagrun_timeout = Some(HOUR)).task("a", &[]).task("b", &["a"]);
    let mut world = World::with([spec]);
    world.pause("etl");
    world.trigger_as("etl", "r1");
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
    world.unpause("etl");
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
    world.now = world.now.plus(HOUR);
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
    assert_eq!(world.settle(), ["RunTimedOut", "TaskRuledOut b Skipped"]);
}
