//! DAGs that change while their runs are active.
use super::support::*;

#[test]
fn a_run_keeps_the_meaning_that_it_was_made_with() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.read(&dag("etl").task("x", &[])).is(["DagRegistered etl v2"]);
    world.trigger_as("etl", "r2");
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/a/1", "etl/r2/x/1"]);
    world.succeed("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
    world.succeed("e1", "etl/r2/x/1").is(["TrySucceeded x 1", "RunSucceeded"]);
    world.succeed("e1", "etl/r1/b/1").is(["TrySucceeded b 1", "RunSucceeded"]);
}

#[test]
fn meanings_are_kept_for_as_long_as_a_run_needs_them() {
    let mut world = World::with([dag("etl").task("v1", &[])]);
    world.trigger_as("etl", "r1");
    for name in ["v2", "v3"] {
        world.read(&dag("etl").task(name, &[]));
    }
    world.trigger_as("etl", "r3");
    world.settle();
    let kept = |world: &World| -> Vec<u32> {
        let dag = world.namespace.dag(&dag_id("etl")).expect("known");
        (1..=4).filter(|number| dag.version(*number).is_some()).collect()
    };
    let restored = |world: &World| {
        let bytes = world.namespace.to_snapshot();
        let again = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
        assert_eq!(again.to_snapshot(), bytes);
    };
    restored(&world);
    world.read(&dag("etl").task("v4", &[]));
    world.succeed("e1", "etl/r3/v3/1");
    assert_eq!(kept(&world), [1, 4]);
    restored(&world);
    world.succeed("e1", "etl/r1/v1/1");
    assert_eq!(kept(&world), [4]);
    restored(&world);
}

#[test]
fn limits_are_those_of_the_meaning_of_now() {
    let spec = |runs, tasks| {
        let spec = dag("etl").task("a", &[]).task("b", &[]);
        spec.with(|dag| (dag.max_active_runs, dag.max_active_tasks) = (runs, tasks))
    };
    let mut world = World::with([spec(2, 4)]);
    for run in ["r1", "r2", "r3"] {
        world.trigger_as("etl", run);
    }
    world.settle();
    assert_eq!(world.offered().len(), 4);
    world.read(&spec(1, 1));
    world.succeed("e1", "etl/r1/a/1");
    world.succeed("e1", "etl/r1/b/1").is(["TrySucceeded b 1", "RunSucceeded"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.read(&spec(3, 100));
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1", "TaskQueued b 1"]);
}

#[test]
fn runs_of_a_dag_that_is_gone_go_on_to_their_end() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.send(dagbok_protocol::CommandBody::DagFileGone { file: "etl.py".to_owned() });
    world.succeed("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
    world.succeed("e1", "etl/r1/b/1").is(["TrySucceeded b 1", "RunSucceeded"]);
}

#[test]
fn a_run_that_is_taken_up_again_goes_by_its_own_dag_and_version() {
    let own = dag("etl").task("a", &[]);
    // The same version number in another DAG, registered later and before the run.
    let mut world = World::with([own, dag("other").task("elsewhere", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.read(&dag("etl").task("later", &[])).is(["DagRegistered etl v2"]);
    world.clear("etl", "r1", true).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
}
