//! Mapped tasks: copies made when a run begins, and what follows from each.
use dagbok_domain::run::{Ending, InstanceNo};
use dagbok_events::{DagSpec, Expand, MapIndex, TriggerRule};
use dagbok_protocol::{ClearTasks, CommandBody};

use super::support::{DagExt as _, World, clearing, dag, run_key, secs, task_id};

fn mapped(dag: DagSpec, name: &str, upstream: &[&str], length: u32) -> DagSpec {
    dag.add(name, upstream, |task| {
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length }));
    })
}

#[test]
fn a_mapped_task_gets_its_copies_when_the_run_begins() {
    let spec = mapped(dag("etl").task("a", &[]), "m", &["a"], 3).task("z", &["m"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1").is(["RunCreated Manual never", "RunStarted", "TaskExpanded m 3"]);
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
    world.succeed("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued m 1", "TaskQueued m 1", "TaskQueued m 1"]);
    assert_eq!(world.offered(), ["etl/r1/m[0]/1", "etl/r1/m[1]/1", "etl/r1/m[2]/1"]);
    world.succeed("e1", "etl/r1/m[1]/1").is(["TrySucceeded m 1"]);
    world.succeed("e1", "etl/r1/m[2]/1");
    assert_eq!(world.settle(), [] as [&str; 0], "the last copy is missing");
    world.succeed("e1", "etl/r1/m[0]/1");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
    world.succeed("e1", "etl/r1/z/1").is(["TrySucceeded z 1", "RunSucceeded"]);
}

#[test]
fn a_copy_that_fails_rules_out_what_needs_all_of_them() {
    let spec = mapped(dag("etl"), "m", &[], 2).task("z", &["m"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
        .fail("e1", "etl/r1/m[0]/1")
        .is(["TryFailed m 1 retry never", "TaskRuledOut z UpstreamFailed"]);
    world.succeed("e1", "etl/r1/m[1]/1").is(["TrySucceeded m 1", "RunFailed z"]);
}

#[test]
fn an_upstream_that_fails_rules_out_every_copy_in_one_fact() {
    let spec = mapped(dag("etl").task("a", &[]), "m", &["a"], 1_000).task("z", &["m"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1").is([
        "TryFailed a 1 retry never",
        "TaskRuledOut m[0..=999] UpstreamFailed",
        "TaskRuledOut z UpstreamFailed",
        "RunFailed z",
    ]);
}

#[test]
fn nothing_to_map_over_skips_the_task_and_what_needs_it() {
    let spec = mapped(dag("etl"), "m", &[], 0).task("z", &["m"]);
    let mut world = World::with([spec.clone().add("end", &["z"], |task| {
        task.trigger_rule = TriggerRule::AllDone;
    })]);
    world.trigger_as("etl", "r1").is(["RunCreated Manual never", "RunStarted"]);
    assert_eq!(
        world.settle(),
        [
            "TaskExpanded m 0",
            "TaskRuledOut m Skipped",
            "TaskRuledOut z Skipped",
            "TaskQueued end 1"
        ]
    );
    world.succeed("e1", "etl/r1/end/1").is(["TrySucceeded end 1", "RunSucceeded"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    assert_eq!(world.namespace.ending(&run_key("etl", "r1")), Some(Ending::Success));
}

#[test]
fn a_mapped_task_below_a_skipped_one_is_skipped_with_its_copies() {
    let spec = mapped(mapped(dag("etl"), "none", &[], 0), "m", &["none"], 5);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1").is(["RunCreated Manual never", "RunStarted", "TaskExpanded m 5"]);
    assert_eq!(
        world.settle(),
        [
            "TaskExpanded none 0",
            "TaskRuledOut none Skipped",
            "TaskRuledOut m[0..=4] Skipped",
            "RunSucceeded"
        ]
    );
}

#[test]
fn an_end_from_outside_takes_few_words() {
    let spec = mapped(dag("etl"), "m", &[], 100).task("z", &["m"]);
    let mut world = World::with([spec.with(|dag| dag.max_active_tasks = 2)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/m[0]/1");
    world.settle();
    world.cancel("etl", "r1").is([
        "RunCancelled",
        "TryCancelled m 1 skipped",
        "TryCancelled m 1 skipped",
        "TaskRuledOut m[3..=99] Skipped",
        "TaskRuledOut z Skipped",
    ]);
}

#[test]
fn each_copy_has_tries_of_its_own() {
    let spec = dag("etl").add("m", &[], |task| {
        task.expand = Some(Expand::Literal { length: 2 });
        (task.retries, task.retry_delay) = (1, secs(5));
    });
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/m[1]/1");
    world.succeed("e1", "etl/r1/m[0]/1");
    assert_eq!(world.pass(secs(5)), ["TaskQueued m 2"]);
    assert_eq!(world.offered(), ["etl/r1/m[1]/2"]);
    world.succeed("e1", "etl/r1/m[1]/2").is(["TrySucceeded m 2", "RunSucceeded"]);
}

#[test]
fn a_hundred_thousand_copies_cost_the_same_each() {
    let spec = mapped(dag("etl"), "m", &[], 100_000);
    let mut world = World::with([spec.with(|dag| dag.max_active_tasks = 1_000)]);
    world.trigger_as("etl", "r1");
    world.settle();
    let run = world.namespace.active_run(&run_key("etl", "r1")).expect("it runs");
    assert_eq!(run.instance_count(), 100_000);
    assert_eq!(run.find(&task_id("m"), MapIndex(99_999)), Some(InstanceNo::from(100_000_u32)));
    assert_eq!(run.find(&task_id("m"), MapIndex(100_000)), None);
    assert_eq!(run.find(&task_id("m"), MapIndex::UNMAPPED), None);
}

#[test]
fn a_mapped_task_cleared_while_its_run_goes_on_gets_its_copies_then() {
    let spec = mapped(mapped(dag("etl").task("goes_on", &[]), "none", &[], 0), "m", &["none"], 2);
    let spec = spec.add("last", &["m"], |task| task.trigger_rule = TriggerRule::AllDone);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    assert_eq!(
        world.settle(),
        [
            "TaskExpanded none 0",
            "TaskRuledOut none Skipped",
            "TaskRuledOut m[0..=1] Skipped",
            "TaskQueued goes_on 1",
            "TaskQueued last 1"
        ]
    );
    // Nothing to map over is nothing to run, however often it is cleared; what it ruled out is so again.
    world.clear("etl", "r1", false).is([
        "TaskCleared none",
        "TaskCleared m[0..=1]",
        // It is in flight, over what is made anew.
        "CheckpointDropped last",
    ]);
    assert_eq!(
        world.settle(),
        ["TaskExpanded none 0", "TaskRuledOut none Skipped", "TaskRuledOut m[0..=1] Skipped"]
    );
    world.read(&mapped(dag("more").task("a", &[]), "m", &[], 2));
    world.pause("more");
    world.trigger_as("more", "r1");
    world.cancel("more", "r1");
    world.unpause("more");
    let clear = |name: &str| {
        let task_ids = vec![task_id(name)];
        CommandBody::ClearTasks(ClearTasks { task_ids, ..clearing("more", "r1", false) })
    };
    world.send(clear("a"));
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
    world.send(clear("m")).is(["TaskCleared m", "TaskExpanded m 2"]);
    assert_eq!(world.settle(), ["TaskQueued m 1", "TaskQueued m 1"]);
}
