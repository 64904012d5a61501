//! A DAG whose newest runs have all failed is paused, as Airflow counts it.
use dagbok_events::{DagSpec, Fact, RunId};
use dagbok_protocol::{CommandBody, RefusalCode, TriggerRun};

use super::support::*;

/// One task; paused after so many failed runs.
fn spec(most: u32) -> DagSpec {
    dag("d").task("a", &[]).with(|dag| dag.max_consecutive_failed_dag_runs = most)
}

fn run(world: &mut World, run_id: &str, good: bool) -> Vec<String> {
    world.trigger_as("d", run_id);
    world.settle();
    let key = format!("d/{run_id}/a/1");
    if good {
        world.succeed("e1", &key)
    } else {
        world.fail("e1", &key)
    };
    world.pass(secs(1))
}

#[test]
fn a_dag_is_paused_once_so_many_of_its_newest_runs_failed_in_a_row() {
    let mut world = World::with([spec(3)]);
    for (run_id, good) in [("r1", false), ("r2", false), ("r3", true), ("r4", false), ("r5", false)]
    {
        assert_eq!(run(&mut world, run_id, good), [] as [&str; 0], "{run_id}");
    }
    assert_eq!(run(&mut world, "r6", false), ["DagPaused r6 r5 r4"]);
    let record = world.log.last().expect("just written");
    assert_eq!(record.by, dagbok_events::Actor::Scheduler);
    let why = "max_consecutive_failed_dag_runs: the newest 3 runs failed: r6, r5, r4";
    assert_eq!(record.reason.as_deref(), Some(why));
    assert!(
        world.namespace.dag(&dag_id("d")).is_some_and(dagbok_domain::namespace::Dag::is_paused)
    );
    world.trigger_as("d", "r7");
    assert_eq!(world.pass(DAY), [] as [&str; 0], "it is paused as by hand");
}

#[test]
fn unpausing_lets_it_go_on_until_the_next_one_fails() {
    let mut world = World::with([spec(2)]);
    run(&mut world, "r1", false);
    assert_eq!(run(&mut world, "r2", false), ["DagPaused r2 r1"]);
    world.unpause("d").is(["DagUnpaused"]);
    assert_eq!(world.pass(DAY), [] as [&str; 0], "that they failed is no news");
    assert_eq!(run(&mut world, "r3", true), [] as [&str; 0]);
    assert_eq!(run(&mut world, "r4", false), [] as [&str; 0]);
    world.pause("d");
    world.unpause("d");
    assert_eq!(run(&mut world, "r5", false), ["DagPaused r5 r4"]);
    world.unpause("d");
    assert_eq!(run(&mut world, "r6", false), ["DagPaused r6 r5"], "each failure is looked at");
}

#[test]
fn a_newer_run_that_is_not_over_keeps_it_from_being_paused() {
    let mut world = World::with([spec(2)]);
    for run_id in ["r1", "r2", "r3"] {
        world.trigger_as("d", run_id);
        world.pass(secs(1));
    }
    world.fail("e1", "d/r1/a/1");
    world.fail("e1", "d/r2/a/1");
    assert_eq!(world.settle(), [] as [&str; 0], "of the newest two one runs");
    world.fail("e1", "d/r3/a/1");
    assert_eq!(world.settle(), ["DagPaused r3 r2"]);
}

#[test]
fn a_run_that_was_cancelled_counts_and_is_not_looked_at() {
    let mut world = World::with([spec(2)]);
    for run_id in ["r1", "r2"] {
        world.trigger_as("d", run_id);
        world.pass(secs(1));
        world.cancel("d", run_id);
    }
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(run(&mut world, "r3", false), ["DagPaused r3 r2"]);
}

#[test]
fn cleared_and_deleted_runs_are_as_if_they_had_not_failed_and_had_not_been() {
    let mut world = World::with([spec(2)]);
    run(&mut world, "r1", false);
    world.clear("d", "r1", false);
    world.settle();
    assert_eq!(run(&mut world, "r2", false), [] as [&str; 0], "the first runs again");
    world.fail("e1", "d/r1/a/2");
    assert_eq!(world.settle(), ["DagPaused r2 r1"]);
    world.unpause("d");
    world.delete("d", "r2");
    assert_eq!(run(&mut world, "r3", false), ["DagPaused r3 r1"]);
}

#[test]
fn the_newest_are_those_of_the_latest_dates_whenever_they_were_made() {
    for era in [2, 3] {
        let mut world = World::with([spec(2).with(|dag| dag.era = era)]);
        // The last run was triggered for a date before the others'.
        let dates = [("r1", "2023-06-02"), ("r2", "2023-06-03"), ("r3", "2023-06-01")];
        for (run_id, date) in dates {
            let (run_id, logical_date) = (Some(RunId::new(run_id).expect("an id")), Some(at(date)));
            let ask = TriggerRun { run_id, logical_date, ..ask("d") };
            world.send(CommandBody::TriggerRun(ask));
            world.pass(secs(1));
        }
        world.fail("e1", "d/r1/a/1");
        world.succeed("e1", "d/r3/a/1");
        world.fail("e1", "d/r2/a/1");
        assert_eq!(world.settle(), ["DagPaused r2 r1"], "era {era}");
    }
}

#[test]
fn the_namespace_has_a_limit_for_dags_that_do_not_say() {
    let mut world = World::with([spec(0)]);
    let limits = |most| CommandBody::SetLimits {
        parallelism: 16,
        max_losses: 10,
        max_consecutive_failed_dag_runs: Some(most),
        task_queued_timeout: None,
    };
    world.send(limits(1_001)).refused(RefusalCode::Invalid, []);
    run(&mut world, "r0", false);
    world.send(limits(2));
    assert_eq!(run(&mut world, "r1", false), [] as [&str; 0], "nothing was kept before");
    assert_eq!(run(&mut world, "r2", false), ["DagPaused r2 r1"]);
}

#[test]
fn a_snapshot_has_what_the_count_goes_by() {
    let mut world = World::with([spec(2)]);
    run(&mut world, "r1", false);
    world.trigger_as("d", "r2");
    world.settle();
    world.fail("e1", "d/r2/a/1");
    let bytes = world.namespace.to_snapshot();
    let restored = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("its own");
    assert_eq!(restored.plan(world.now), world.namespace.plan(world.now));
    assert_eq!(restored.to_snapshot(), bytes);
    assert_eq!(world.settle(), ["DagPaused r2 r1"]);
    let paused = |fact: &Fact| matches!(fact, Fact::DagPaused(_));
    assert!(world.log.iter().flat_map(|record| &record.facts).any(paused));
}
