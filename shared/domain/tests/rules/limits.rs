//! Limits that span tasks and runs: how many at once, and who goes first.
use dagbok_events::{DagSpec, Fact, PoolName, PoolSet};
use dagbok_protocol::{CommandBody, PoolChange, PoolIs, RefusalCode};

use super::support::*;

fn wide(name: &str, tasks: usize) -> DagSpec {
    (0..tasks).fold(dag(name), |dag, n| dag.task(&format!("t{n}"), &[]))
}

fn in_pool(pool: &str, slots: u32) -> impl FnOnce(&mut dagbok_events::TaskSpec) {
    let pool = PoolName::new(pool).expect("a pool");
    move |task| (task.pool, task.pool_slots) = (pool, slots)
}

#[test]
fn max_active_runs_holds_triggered_runs_back() {
    let mut world = World::with([dag("etl").task("a", &[]).with(|dag| dag.max_active_runs = 2)]);
    for run in ["r1", "r2", "r3", "r4"] {
        world.trigger_as("etl", run);
    }
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/a/1", "etl/r2/a/1"]);
    world.succeed("e1", "etl/r2/a/1");
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
    assert_eq!(world.offered(), ["etl/r1/a/1", "etl/r3/a/1"]);
    world.cancel("etl", "r3");
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
}

#[test]
fn max_active_runs_holds_the_schedule_back() {
    let spec = dag("etl").daily("2024-01-01").catchup().task("a", &[]);
    let mut world = World::with([spec.with(|dag| dag.max_active_runs = 1)]);
    world.trigger_as("etl", "r1");
    assert_eq!(world.go_to("2024-01-03"), ["TaskQueued a 1"]);
    world.succeed("e1", "etl/r1/a/1");
    let facts = world.settle();
    assert_eq!(facts[0], "RunCreated Scheduled 2024-01-01T00:00:00Z");
    assert_eq!(world.namespace.active_runs().count(), 1);
}

#[test]
fn no_limit_of_runs_is_written_as_zero() {
    let mut world = World::with([dag("etl").task("a", &[]).with(|dag| dag.max_active_runs = 0)]);
    (0..30).for_each(|_| drop(world.trigger("etl")));
    world.settle();
    assert!(world.namespace.active_runs().all(|run| run.in_flight_count() <= 1));
    assert_eq!(world.offered().len(), 16, "max_active_tasks still holds");
}

#[test]
fn max_active_tasks_counts_over_all_runs_of_the_dag() {
    let mut world =
        World::with([wide("etl", 3).with(|dag| dag.max_active_tasks = 4), wide("b", 2)]);
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.trigger_as("b", "r1");
    world.settle();
    assert_eq!(world.offered().len(), 4 + 2);
    world.succeed("e1", "etl/r1/t0/1");
    assert_eq!(world.settle(), ["TaskQueued t1 1"]);
    assert_eq!(world.namespace.in_flight(), 6);
}

#[test]
fn a_pool_is_shared_by_slots() {
    let spec = dag("etl")
        .add("big", &[], in_pool("gpu", 3))
        .add("one", &[], in_pool("gpu", 1))
        .add("two", &[], in_pool("gpu", 2));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    assert_eq!(world.settle(), [] as [&str; 0], "there is no such pool yet");
    world.set_pool("gpu", 4).is(["PoolSet gpu 4"]);
    world.set_pool("gpu", 4).unchanged();
    assert_eq!(world.settle(), ["TaskQueued big 1", "TaskQueued one 1"]);
    assert_eq!(world.namespace.pool_use("gpu"), Some((4, 4)));
    world.succeed("e1", "etl/r1/one/1");
    assert_eq!(world.settle(), [] as [&str; 0], "one slot is free and two are asked for");
    world.succeed("e1", "etl/r1/big/1");
    assert_eq!(world.settle(), ["TaskQueued two 1"]);
    assert_eq!(world.namespace.pool_use("gpu"), Some((2, 4)));
}

#[test]
fn a_pool_without_a_limit_holds_nothing_back() {
    let wide = (0..40).fold(dag("etl").with(|dag| dag.max_active_tasks = 100), |dag, n| {
        dag.add(&format!("t{n}"), &[], in_pool("gpu", 3))
    });
    let mut world = World::with([wide]);
    world.set_pool("gpu", 10);
    world.trigger_as("etl", "r1");
    world.settle();
    assert_eq!(world.namespace.in_flight(), 3);
    world.set_pool("gpu", PoolSet::UNLIMITED);
    world.settle();
    assert_eq!(world.namespace.pool_use("gpu"), Some((120, PoolSet::UNLIMITED)));
}

#[test]
fn a_pool_that_is_deleted_lets_go_on_what_runs_and_lets_nothing_in() {
    let spec = dag("etl").add("a", &[], in_pool("gpu", 1)).add("b", &["a"], in_pool("gpu", 1));
    let mut world = World::with([spec]);
    world.set_pool("gpu", 1);
    world.trigger_as("etl", "r1");
    world.settle();
    world.delete_pool("gpu").is(["PoolDeleted gpu"]);
    world.delete_pool("gpu").refused(RefusalCode::PoolNotFound, []);
    assert_eq!(world.namespace.pool_use("gpu"), Some((1, 0)), "a try holds a slot of it");
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.namespace.pool_use("gpu"), None);
    world.set_pool("gpu", 1).is(["PoolSet gpu 1"]);
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
    let told = world.delete_pool("default_pool");
    assert!(told.refused(RefusalCode::Invalid, []).contains("can't be deleted"));
}

#[test]
fn a_pool_is_made_or_changed_as_is_asked() {
    let mut world = World::new();
    let change = |only, slots, description: Option<&str>| PoolChange {
        description: description.map(str::to_owned),
        slots,
        only,
        ..PoolChange::sized(PoolName::new("gpu").expect("a pool"), 0)
    };
    let ask = |world: &mut World, change| world.send(CommandBody::SetPool(change));
    let (new, there) = (Some(PoolIs::Missing), Some(PoolIs::There));
    ask(&mut world, change(there, Some(2), None)).refused(RefusalCode::PoolNotFound, []);
    ask(&mut world, change(None, None, None)).refused(RefusalCode::Invalid, []);
    ask(&mut world, change(new, Some(2), Some("models"))).is(["PoolSet gpu 2"]);
    ask(&mut world, change(new, Some(2), None)).refused(RefusalCode::PoolAlreadyExists, []);
    ask(&mut world, change(there, None, None)).unchanged();
    ask(&mut world, change(there, Some(2), Some("models"))).unchanged();
    let sent = ask(&mut world, change(there, None, Some("")));
    let Fact::PoolSet(made) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!((made.slots, &made.description), (2, &None));
    let long = "x".repeat(4_097);
    ask(&mut world, change(there, None, Some(&long))).refused(RefusalCode::Invalid, []);
    let slash = PoolChange::sized(PoolName::new("a/b").expect("a name that a log may have"), 1);
    let told = ask(&mut world, slash);
    assert!(told.refused(RefusalCode::Invalid, []).contains("can't have a `/`"));
}

#[test]
fn a_task_without_slots_is_no_task() {
    let mut world = World::new();
    world.read(&dag("etl").add("a", &[], in_pool("default_pool", 0)));
    assert!(world.namespace.dag(&dag_id("etl")).is_none());
}

#[test]
fn a_small_task_passes_one_that_finds_no_room() {
    let spec = dag("etl")
        .add("first", &[], in_pool("gpu", 1))
        .add("large", &[], |task| {
            in_pool("gpu", 2)(task);
            task.priority_weight = 5;
        })
        .add("small", &[], in_pool("gpu", 1));
    let mut world = World::with([spec]);
    world.set_pool("gpu", 1);
    world.trigger_as("etl", "r1");
    assert_eq!(world.settle(), ["TaskQueued first 1"]);
    world.set_pool("gpu", 2);
    assert_eq!(world.settle(), ["TaskQueued small 1"]);
}

#[test]
fn a_task_larger_than_its_pool_waits_until_the_pool_grows() {
    let spec = dag("etl").add("large", &[], in_pool("gpu", 8)).add("small", &[], in_pool("gpu", 1));
    let mut world = World::with([spec]);
    world.set_pool("gpu", 4);
    world.trigger_as("etl", "r1");
    assert_eq!(world.settle(), ["TaskQueued small 1"]);
    world.succeed("e1", "etl/r1/small/1");
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
    world.set_pool("gpu", 8);
    assert_eq!(world.settle(), ["TaskQueued large 1"]);
}

#[test]
fn a_pool_made_smaller_takes_nothing_away() {
    let mut world = World::with([wide("etl", 4)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.set_pool("default_pool", 1);
    assert_eq!(world.namespace.pool_use("default_pool"), Some((4, 1)));
    world.trigger_as("etl", "r2");
    assert_eq!(world.settle(), [] as [&str; 0]);
    for n in 0..4 {
        world.succeed("e1", &format!("etl/r1/t{n}/1"));
    }
    assert_eq!(world.settle(), ["TaskQueued t0 1"]);
}

#[test]
fn parallelism_holds_over_all_dags() {
    let mut world = World::with([wide("a", 3), wide("b", 3)]);
    world.set_limits(4, 10).is(["LimitsSet 4 10"]);
    world.set_limits(4, 10).unchanged();
    world.trigger_as("a", "r1");
    world.trigger_as("b", "r1");
    world.settle();
    assert_eq!(world.offered(), ["a/r1/t0/1", "a/r1/t1/1", "b/r1/t0/1", "b/r1/t1/1"]);
    world.succeed("e1", "b/r1/t0/1");
    assert_eq!(world.settle(), ["TaskQueued t2 1"]);
    assert_eq!(world.offered(), ["a/r1/t0/1", "a/r1/t1/1", "a/r1/t2/1", "b/r1/t1/1"], "a's turn");
    world.set_limits(0, 10).refused(RefusalCode::Invalid, []);
}

#[test]
fn the_heavier_goes_first_then_the_older_run_then_the_dags_order() {
    let weigh = |weight| move |task: &mut dagbok_events::TaskSpec| task.priority_weight = weight;
    let spec = dag("etl").task("p", &[]).add("q", &[], weigh(1)).add("r", &[], weigh(9));
    let mut world = World::with([spec, dag("late").add("s", &[], weigh(5))]);
    world.set_limits(1, 10);
    for (dag, run) in [("etl", "r1"), ("etl", "r2"), ("late", "r1")] {
        world.trigger_as(dag, run);
    }
    let mut order = Vec::new();
    for _ in 0..7 {
        world.settle();
        let [key] = &world.offered()[..] else { panic!("one at a time") };
        order.push(key.trim_end_matches("/1").to_owned());
        world.succeed("e1", key);
    }
    let expected =
        ["etl/r1/r", "etl/r2/r", "late/r1/s", "etl/r1/p", "etl/r1/q", "etl/r2/p", "etl/r2/q"];
    assert_eq!(order, expected);
}

#[test]
fn a_retry_takes_its_turn_by_weight() {
    let spec = dag("etl").add("a", &[], |task| {
        (task.retries, task.retry_delay, task.priority_weight) = (1, secs(0), 2);
    });
    let mut world = World::with([spec.task("b", &[])]);
    world.set_limits(1, 10);
    world.trigger_as("etl", "r1");
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
    world.fail("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    world.succeed("e1", "etl/r1/a/2");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}
