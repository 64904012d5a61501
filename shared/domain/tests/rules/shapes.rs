//! Graphs of all shapes, and how a run's end follows from its tasks'.
use dagbok_events::{DagSpec, TriggerRule};
use dagbok_protocol::limits::{self, FAILED_NAMED};

use super::support::*;

fn diamond() -> DagSpec {
    dag("d").task("a", &[]).task("l", &["a"]).task("r", &["a"]).task("z", &["l", "r"])
}

fn run(spec: DagSpec) -> World {
    let name = spec.dag_id.to_string();
    let mut world = World::with([spec]);
    world.trigger_as(&name, "r1");
    world.settle();
    world
}

#[test]
fn a_diamond_waits_for_both_its_sides() {
    let mut world = run(diamond());
    world.succeed("e", "d/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued l 1", "TaskQueued r 1"]);
    world.succeed("e", "d/r1/r/1").is(["TrySucceeded r 1"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.succeed("e", "d/r1/l/1");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
    world.succeed("e", "d/r1/z/1").is(["TrySucceeded z 1", "RunSucceeded"]);
}

#[test]
fn a_failure_and_all_that_follows_from_it_is_one_record() {
    let mut world = run(diamond());
    let sent = world.fail("e", "d/r1/a/1");
    sent.is([
        "TryFailed a 1 retry never",
        "TaskRuledOut l UpstreamFailed",
        "TaskRuledOut r UpstreamFailed",
        "TaskRuledOut z UpstreamFailed",
        "RunFailed z",
    ]);
    assert_eq!(sent.records.len(), 1);
}

#[test]
fn a_failure_on_one_side_lets_the_other_end() {
    let mut world = run(diamond());
    world.succeed("e", "d/r1/a/1");
    world.settle();
    world.fail("e", "d/r1/l/1").is(["TryFailed l 1 retry never", "TaskRuledOut z UpstreamFailed"]);
    world.succeed("e", "d/r1/r/1").is(["TrySucceeded r 1", "RunFailed z"]);
}

#[test]
fn only_leaves_decide_how_a_run_ends() {
    let rule = |rule| move |task: &mut dagbok_events::TaskSpec| task.trigger_rule = rule;
    let spec = dag("d").task("a", &[]).add("clean", &["a"], rule(TriggerRule::AllDone));
    let mut world = run(spec);
    world.fail("e", "d/r1/a/1").is(["TryFailed a 1 retry never"]);
    world.settle();
    world.succeed("e", "d/r1/clean/1").is(["TrySucceeded clean 1", "RunSucceeded"]);
    let spec =
        dag("d").task("a", &[]).task("b", &[]).add("watch", &["a"], rule(TriggerRule::OneFailed));
    let mut world = run(spec);
    world.succeed("e", "d/r1/b/1");
    world.succeed("e", "d/r1/a/1").is([
        "TrySucceeded a 1",
        "TaskRuledOut watch Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn a_leaf_that_failed_is_not_forgotten_when_others_succeed_later() {
    let mut world = run(dag("d").task("a", &[]).task("b", &[]).task("c", &[]));
    world.fail("e", "d/r1/a/1").is(["TryFailed a 1 retry never"]);
    world.succeed("e", "d/r1/b/1").is(["TrySucceeded b 1"]);
    world.succeed("e", "d/r1/c/1").is(["TrySucceeded c 1", "RunFailed a"]);
}

#[test]
fn a_wide_fan_out_is_queued_and_gathered() {
    let width: usize = 1_000;
    let mut spec = dag("d").task("first", &[]);
    spec.max_active_tasks = 10_000;
    for n in 0..width {
        spec.tasks.push(plain_task(&format!("m{n:04}"), vec![0]));
    }
    let all = (1..=u32::try_from(width).expect("few")).collect();
    spec.tasks.push(plain_task("last", all));
    let mut world = run(spec);
    world.set_pool("default_pool", 10_000);
    let before = world.log.len();
    world.succeed("e", "d/r1/first/1");
    assert_eq!(world.settle().len(), width);
    // In records of bounded size.
    assert!(world.log[before..].iter().all(|record| record.facts.len() <= 256));
    for n in 0..width {
        world.succeed("e", &format!("d/r1/m{n:04}/1"));
    }
    assert_eq!(world.settle(), ["TaskQueued last 1"]);
    world.succeed("e", "d/r1/last/1").is(["TrySucceeded last 1", "RunSucceeded"]);
}

#[test]
fn a_run_names_so_many_of_its_failures_and_no_more() {
    let spec = (0..FAILED_NAMED + 5).fold(dag("d"), |dag, n| dag.task(&format!("t{n:03}"), &[]));
    let mut world = run(spec.with(|dag| dag.max_active_tasks = 1_000));
    for n in 0..FAILED_NAMED + 5 {
        world.fail("e", &format!("d/r1/t{n:03}/1"));
    }
    let ended = world.log.last().expect("the run's end");
    let dagbok_events::Fact::RunFailed(failed) = ended.facts.last().expect("an end") else {
        panic!("{ended:?}")
    };
    assert_eq!(failed.failed.len(), FAILED_NAMED);
    assert_eq!(failed.failed[0].as_str(), "t000");
}

#[test]
fn an_edge_said_twice_counts_twice_on_both_ends() {
    let spec = dag("d").task("a", &[]).add("b", &["a"], |task| task.upstream = vec![0, 0]);
    let mut world = run(spec);
    world.succeed("e", "d/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}

#[test]
fn a_cascade_goes_through_rules_that_care_for_it_and_stops_at_those_that_do_not() {
    let rule = |rule| move |task: &mut dagbok_events::TaskSpec| task.trigger_rule = rule;
    let spec = dag("d")
        .task("a", &[])
        .task("b", &["a"])
        .add("c", &["b"], rule(TriggerRule::AllFailed))
        .add("e", &["b"], rule(TriggerRule::NoneFailed))
        .add("f", &["c", "e"], rule(TriggerRule::AllDone));
    let mut world = run(spec);
    world.fail("x", "d/r1/a/1").is([
        "TryFailed a 1 retry never",
        "TaskRuledOut b UpstreamFailed",
        "TaskRuledOut e UpstreamFailed",
    ]);
    assert_eq!(world.settle(), ["TaskQueued c 1"]);
    world.succeed("x", "d/r1/c/1");
    assert_eq!(world.settle(), ["TaskQueued f 1"]);
    world.succeed("x", "d/r1/f/1").is(["TrySucceeded f 1", "RunSucceeded"]);
}

#[test]
fn a_failure_is_not_hidden_by_a_skip_found_before_it() {
    let rule = |rule| move |task: &mut dagbok_events::TaskSpec| task.trigger_rule = rule;
    // The skip is found first, the failure second, and a third one only by way of another task.
    let spec = dag("d")
        .task("a", &[])
        .add("skipped", &["a"], rule(TriggerRule::AllSkipped))
        .task("broken", &["a"])
        .task("far", &["broken"])
        .task("x", &["skipped", "broken"])
        .task("y", &["skipped", "far"]);
    let mut world = run(spec);
    world.fail("e", "d/r1/a/1").is([
        "TryFailed a 1 retry never",
        "TaskRuledOut skipped Skipped",
        "TaskRuledOut broken UpstreamFailed",
        "TaskRuledOut far UpstreamFailed",
        "TaskRuledOut x UpstreamFailed",
        "TaskRuledOut y UpstreamFailed",
        "RunFailed x,y",
    ]);
}

#[test]
fn the_end_of_the_largest_run_fits_one_record() {
    // Names that compress badly, as many as are let through.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut name = || {
        let mut part = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", seed.rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        [part(), part(), part(), part(), part()].concat()
    };
    let mut spec = dag("d").with(|dag| dag.max_active_tasks = 1_024).task("first", &[]);
    while dagbok_protocol::too_large(&spec).is_none() {
        (0..200).for_each(|_| spec.tasks.push(plain_task(&name(), vec![0])));
    }
    while dagbok_protocol::too_large(&spec).is_some() {
        spec.tasks.truncate(spec.tasks.len() - 20);
    }
    assert!(spec.tasks.len() > 8_000, "{} tasks", spec.tasks.len());
    for end in ["cancel", "fail"] {
        let mut world = run(spec.clone());
        world.set_pool("default_pool", 10_000);
        if end == "cancel" {
            world.succeed("e", "d/r1/first/1");
            world.settle();
            world.cancel("d", "r1");
        } else {
            world.fail("e", "d/r1/first/1");
        }
        assert!(!world.is_active("d", "r1"));
        for record in &world.log {
            let size = dagbok_events::encode(record).len();
            assert!(size <= limits::RECORD_BYTES, "{size} bytes, {} facts", record.facts.len());
        }
    }
}
