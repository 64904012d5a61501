//! What keeps a task from being queued: the first thing in its way.
use dagbok_domain::namespace::Outcome;
use dagbok_events::MapIndex;
use dagbok_protocol::{CommandBody, Obstacle, RefusalCode};

use crate::support::{DagExt as _, Sent, World, dag, dag_id, run_key, secs, task_id};

fn ask(world: &mut World, dag: &str, run: &str, task: &str) -> Sent {
    let run_id = run_key(dag, run).run_id;
    let (dag_id, task_id, map_index) = (dag_id(dag), task_id(task), MapIndex::UNMAPPED);
    world.send(CommandBody::WhyWaits { dag_id, run_id, task_id, map_index })
}

fn why(world: &mut World, dag: &str, run: &str, task: &str) -> Option<Obstacle> {
    match ask(world, dag, run, task).outcome {
        Outcome::Waits(obstacle) => obstacle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_obstacle_is_named_and_nothing_is_written() {
    let retrying = |dag: &mut dagbok_events::DagSpec| {
        dag.max_active_runs = 1;
        dag.tasks[0].retries = 1;
    };
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"]).with(retrying)]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    let written = world.log.len();
    assert_eq!(why(&mut world, "etl", "r1", "a"), None, "it is queued");
    assert_eq!(why(&mut world, "etl", "r1", "b"), Some(Obstacle::Upstream));
    assert_eq!(world.log.len(), written, "a question leaves no record");
    world.start("e1", "etl/r1/a/1");
    world.fail("e1", "etl/r1/a/1");
    let due = world.now.plus(dag("etl").task("a", &[]).tasks[0].retry_delay);
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(Obstacle::NotDue { due }));
    world.trigger_as("etl", "r2");
    world.settle();
    assert_eq!(why(&mut world, "etl", "r2", "a"), Some(Obstacle::RunQueued));
    world.pause("etl");
    world.pass(secs(3_600));
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(Obstacle::Paused));
    world.unpause("etl");
    world.set_pool("default_pool", 0);
    world.settle();
    let pool = dagbok_events::PoolName::new("default_pool").expect("a pool name");
    let small = Obstacle::PoolTooSmall { pool, needs: 1, slots: 0 };
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(small));
    world.set_pool("default_pool", 4);
    assert_eq!(why(&mut world, "etl", "r1", "a"), None, "it goes next");
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
}

#[test]
fn a_pool_that_is_missing_or_too_small_is_named() {
    let pool = dagbok_events::PoolName::new("gpu").expect("a pool name");
    let spec = dag("etl").add("a", &[], |task| (task.pool, task.pool_slots) = (pool.clone(), 3));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    let missing = Obstacle::NoPool { pool: pool.clone() };
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(missing.clone()));
    world.set_pool("gpu", 2);
    let small = Obstacle::PoolTooSmall { pool, needs: 3, slots: 2 };
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(small));
    world.delete_pool("gpu");
    assert_eq!(why(&mut world, "etl", "r1", "a"), Some(missing));
    world.set_pool("gpu", 3);
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
}

#[test]
fn limits_are_named_with_what_they_are() {
    let narrow = |dag: &mut dagbok_events::DagSpec| dag.max_active_tasks = 1;
    let two = dag("etl").task("a", &[]).task("b", &[]).with(narrow);
    let mut world = World::with([two, dag("other").task("a", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    assert_eq!(why(&mut world, "etl", "r1", "b"), Some(Obstacle::MaxActiveTasks { most: 1 }));
    world.set_limits(1, 10);
    world.trigger_as("other", "r1");
    world.settle();
    assert_eq!(why(&mut world, "other", "r1", "a"), Some(Obstacle::Parallelism { most: 1 }));
}

#[test]
fn what_is_not_there_does_not_wait() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    ask(&mut world, "ghost", "r1", "a").refused(RefusalCode::DagNotFound, []);
    ask(&mut world, "etl", "r1", "a").refused(RefusalCode::RunNotFound, []);
    world.trigger_as("etl", "r1");
    ask(&mut world, "etl", "r1", "ghost").refused(RefusalCode::TaskNotFound, []);
    world.cancel("etl", "r1");
    ask(&mut world, "etl", "r1", "a").refused(RefusalCode::RunOver, []);
}
