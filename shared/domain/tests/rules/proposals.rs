//! What was called for is checked again when it is carried out: the world may have moved on.
use dagbok_domain::namespace::Proposal;

use super::support::*;

/// The one thing that is called for at `time`.
fn called_for(world: &World, time: &str) -> Proposal {
    let mut proposals = world.namespace.plan(at(time));
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    proposals.remove(0)
}

/// It is carried out at `time`, and not before nor twice.
fn holds_from(world: &mut World, early: &str, time: &str) {
    let proposal = called_for(world, time);
    assert_eq!(world.namespace.carry_out(at(early), &proposal), None, "too early: {proposal:?}");
    let record = world.namespace.carry_out(at(time), &proposal).expect("it holds");
    world.append(&record);
    assert_eq!(world.namespace.carry_out(at(time), &proposal), None, "twice: {proposal:?}");
}

#[test]
fn a_retry_is_not_offered_before_its_time() {
    let mut world = World::with([dag("etl").add("a", &[], |task| task.retries = 1)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    holds_from(&mut world, "2024-01-01T00:04:59Z", "2024-01-01T00:05:00Z");
}

#[test]
fn a_run_is_not_made_before_it_is_due() {
    let mut world = World::with([dag("etl").daily("2024-01-01")]);
    holds_from(&mut world, "2024-01-01T23:59:59Z", "2024-01-02T00:00:00Z");
}

#[test]
fn a_run_is_not_failed_before_its_timeout() {
    let spec = dag("etl").task("a", &[]).with(|dag| dag.dagrun_timeout = Some(HOUR));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    holds_from(&mut world, "2024-01-01T00:59:59Z", "2024-01-01T01:00:00Z");
}

#[test]
fn a_run_does_not_start_where_its_dag_was_paused_or_is_full() {
    let mut world = World::with([dag("etl").task("a", &[]).with(|dag| dag.max_active_runs = 1)]);
    world.pause("etl");
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.unpause("etl");
    let first = called_for(&world, "2024-01-01");
    world.pause("etl");
    assert_eq!(world.namespace.carry_out(world.now, &first), None);
    world.unpause("etl");
    let record = world.namespace.carry_out(world.now, &first).expect("there is room");
    world.append(&record);
    let Proposal::StartRun(number) = first else { panic!("{first:?}") };
    let second = Proposal::StartRun(number + 1);
    assert_eq!(world.namespace.carry_out(world.now, &second), None, "max_active_runs is 1");
}

#[test]
fn tasks_are_offered_as_far_as_there_is_still_room() {
    let spec = (0..6).fold(dag("etl"), |dag, n| dag.task(&format!("t{n}"), &[]));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    let proposal = called_for(&world, "2024-01-01");
    world.set_pool("default_pool", 2);
    let record = world.namespace.carry_out(world.now, &proposal).expect("two fit");
    assert_eq!(brief_all(&[record]), ["TaskQueued t0 1", "TaskQueued t1 1"]);
    world.set_limits(1, 10);
    let record = world.namespace.carry_out(world.now, &proposal).expect("one fits");
    assert_eq!(brief_all(&[record]), ["TaskQueued t0 1"]);
    world.pause("etl");
    assert_eq!(world.namespace.carry_out(world.now, &proposal), None);
    world.cancel("etl", "r1");
    assert_eq!(world.namespace.carry_out(world.now, &proposal), None);
}

#[test]
fn a_task_named_twice_or_not_ready_is_offered_once_or_not() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    let Proposal::QueueTasks(number, tasks) = called_for(&world, "2024-01-01") else { panic!() };
    assert_eq!(tasks, [0]);
    let odd = Proposal::QueueTasks(number, vec![0, 0, 1, 7]);
    let record = world.namespace.carry_out(world.now, &odd).expect("one may go");
    assert_eq!(brief_all(std::slice::from_ref(&record)), ["TaskQueued a 1"]);
    world.append(&record);
    assert_eq!(world.namespace.carry_out(world.now, &odd), None);
}
