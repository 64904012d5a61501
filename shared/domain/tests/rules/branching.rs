//! Branches and short circuits: what a task decided against is skipped, and stays so while the decision does.
use std::collections::BTreeMap;

use dagbok_events::{DagSpec, Expand, Interval, TaskId, TriggerRule, Usage};
use dagbok_protocol::{ClearTasks, CommandBody, ReportBody};

use super::support::{DagExt as _, Sent, World, at, brief_all, clearing, dag, secs, task_id};

/// An executor's word that a try succeeded and decided against these tasks.
fn decide(world: &mut World, key: &str, against: &[&str]) -> Sent {
    world.start("e1", key);
    let skips: Vec<TaskId> = against.iter().map(|name| task_id(name)).collect();
    let (xcoms, usage) = (Vec::new(), Usage::default());
    world.report(
        "e1",
        key,
        ReportBody::Succeeded { xcoms, usage, log: None, skips, outlets: vec![] },
    )
}

fn ruled(spec: DagSpec, name: &str, upstream: &[&str], rule: TriggerRule) -> DagSpec {
    spec.add(name, upstream, |task| task.trigger_rule = rule)
}

fn clear(world: &mut World, names: &[&str]) -> Sent {
    let task_ids = names.iter().map(|name| task_id(name)).collect();
    world.send(CommandBody::ClearTasks(ClearTasks { task_ids, ..clearing("d", "r1", false) }))
}

fn begin(spec: DagSpec) -> World {
    let mut world = World::with([spec]);
    world.trigger_as("d", "r1");
    world.settle();
    world
}

/// branch → a, b → join, which runs where nothing failed and something succeeded.
fn forked() -> DagSpec {
    let spec = dag("d").task("branch", &[]).task("a", &["branch"]).task("b", &["branch"]);
    ruled(spec, "join", &["a", "b"], TriggerRule::NoneFailedMinOneSuccess)
}

#[test]
fn the_branch_that_was_not_taken_is_skipped_and_the_join_runs() {
    let mut world = begin(forked());
    decide(&mut world, "d/r1/branch/1", &["b"])
        .is(["TrySucceeded branch 1", "TaskRuledOut b Skipped"]);
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
    world.succeed("e1", "d/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued join 1"]);
    world.succeed("e1", "d/r1/join/1").is(["TrySucceeded join 1", "RunSucceeded"]);
}

#[test]
fn a_skip_goes_on_below_by_the_trigger_rules_and_may_end_the_run() {
    let mut world = begin(forked());
    decide(&mut world, "d/r1/branch/1", &["a", "b"]).is([
        "TrySucceeded branch 1",
        "TaskRuledOut a Skipped",
        "TaskRuledOut b Skipped",
        "TaskRuledOut join Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn a_short_circuit_skips_what_any_trigger_rule_would_let_run() {
    let spec = dag("d").task("check", &[]).task("a", &["check"]);
    let mut world = begin(ruled(spec, "told", &["a"], TriggerRule::AllDone));
    decide(&mut world, "d/r1/check/1", &["a", "told"]).is([
        "TrySucceeded check 1",
        "TaskRuledOut a Skipped",
        "TaskRuledOut told Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn what_begins_at_once_is_skipped_only_where_it_has_not_begun() {
    let spec = ruled(dag("d").task("check", &[]), "always", &["check"], TriggerRule::Always);
    let mut world = begin(spec.clone());
    world.start("e1", "d/r1/always/1");
    decide(&mut world, "d/r1/check/1", &["always"]).is(["TrySucceeded check 1"]);
    world.succeed("e1", "d/r1/always/1").is(["TrySucceeded always 1", "RunSucceeded"]);
    let mut world = begin(spec.clone());
    decide(&mut world, "d/r1/check/1", &["always"]).is([
        "TrySucceeded check 1",
        "TryCancelled always 1 skipped",
        "RunSucceeded",
    ]);
    let mut world = World::with([spec]);
    world.set_limits(1, 3);
    world.trigger_as("d", "r1");
    assert_eq!(world.settle(), ["TaskQueued check 1"], "there is room for one");
    decide(&mut world, "d/r1/check/1", &["always"]).is([
        "TrySucceeded check 1",
        "TaskRuledOut always Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn what_waits_for_a_retry_is_skipped_too() {
    let spec = dag("d").task("check", &[]).add("eager", &["check"], |task| {
        (task.trigger_rule, task.retries) = (TriggerRule::Always, 1);
    });
    let mut world = begin(spec);
    world.fail("e1", "d/r1/eager/1");
    decide(&mut world, "d/r1/check/1", &["eager"]).is([
        "TrySucceeded check 1",
        "TaskRuledOut eager Skipped",
        "RunSucceeded",
    ]);
    assert_eq!(world.pass(secs(3_600)), [] as [&str; 0]);
}

#[test]
fn what_had_begun_is_skipped_before_it_goes_on() {
    let spec = dag("d").task("check", &[]).add("eager", &["check"], |task| {
        (task.trigger_rule, task.retries) = (TriggerRule::Always, 1);
    });
    let decided = |task: &str| {
        let mut world = begin(spec.clone());
        world.start("e1", &format!("d/r1/{task}/1"));
        decide(&mut world, "d/r1/check/1", &["eager"]).is(["TrySucceeded check 1"]);
        world
    };
    let mut world = decided("eager");
    let sent = world.fail("e1", "d/r1/eager/1");
    let told = brief_all(&sent.records);
    assert_eq!(told[1..], ["TaskRuledOut eager Skipped", "RunSucceeded"], "{told:?}");
    let mut world = decided("eager");
    let told = brief_all(&world.reschedule("e1", "d/r1/eager/1", secs(60)).records);
    assert_eq!(told[1..], ["TaskRuledOut eager Skipped", "RunSucceeded"], "{told:?}");
    let mut world = decided("eager");
    let told = world.gone("e1");
    assert_eq!(told[1..3], ["TaskRuledOut eager Skipped", "RunSucceeded"], "{told:?}");
    let mut world = decided("eager");
    world.succeed("e1", "d/r1/eager/1").is(["TrySucceeded eager 1", "RunSucceeded"]);
}

/// A run that took `a` and not `b`, and is over.
fn decided_and_over() -> World {
    let mut world = begin(forked());
    decide(&mut world, "d/r1/branch/1", &["b"]);
    world.settle();
    world.succeed("e1", "d/r1/a/1");
    world.settle();
    world.succeed("e1", "d/r1/join/1");
    world
}

#[test]
fn a_skipped_task_that_is_cleared_is_skipped_again() {
    let mut world = decided_and_over();
    clear(&mut world, &["b"]).is([
        "RunCleared",
        "TaskCleared b",
        "TaskRuledOut b Skipped",
        "RunSucceeded",
    ]);
    // With all that is below, too: only what was taken runs again.
    let cleared = clear(&mut world, &["a", "b", "join"]);
    cleared.is([
        "RunCleared",
        "TaskCleared a",
        "TaskCleared b",
        "TaskCleared join",
        "TaskRuledOut b Skipped",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
}

#[test]
fn a_branch_that_is_cleared_may_decide_otherwise() {
    let mut world = decided_and_over();
    clear(&mut world, &["branch"]).is(["RunCleared", "TaskCleared branch", "TaskCleared b"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued branch 2"]);
    decide(&mut world, "d/r1/branch/2", &["a"]).is(["TrySucceeded branch 2"]);
    assert_eq!(world.settle(), ["TaskQueued b 1"], "what ran stays as it is, as in Airflow");
    clear(&mut world, &["a"]).is(["TaskCleared a", "TaskRuledOut a Skipped"]);
}

#[test]
fn a_cleared_short_circuit_clears_all_that_it_had_skipped() {
    let spec = ruled(dag("d").task("check", &[]), "eager", &["check"], TriggerRule::Always);
    let mut world = begin(ruled(spec, "late", &["eager"], TriggerRule::AllDone));
    world.start("e1", "d/r1/eager/1");
    decide(&mut world, "d/r1/check/1", &["eager", "late"])
        .is(["TrySucceeded check 1", "TaskRuledOut late Skipped"]);
    world.succeed("e1", "d/r1/eager/1");
    clear(&mut world, &["check"]).is(["RunCleared", "TaskCleared check", "TaskCleared late"]);
}

#[test]
fn below_what_was_skipped_by_decision_the_rules_judge_a_cleared_task_anew() {
    let spec = dag("d").task("check", &[]).task("a", &["check"]);
    let mut world = begin(ruled(spec, "told", &["a"], TriggerRule::AllDone));
    decide(&mut world, "d/r1/check/1", &["a", "told"]);
    clear(&mut world, &["told"]).is(["RunCleared", "TaskCleared told"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued told 1"]);
}

#[test]
fn every_copy_of_a_mapped_task_is_skipped_in_one_fact() {
    let spec = dag("d").task("branch", &[]).add("m", &["branch"], |task| {
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length: 500 }));
    });
    let mut world = begin(spec);
    decide(&mut world, "d/r1/branch/1", &["m"]).is([
        "TrySucceeded branch 1",
        "TaskRuledOut m[0..=499] Skipped",
        "RunSucceeded",
    ]);
    clear(&mut world, &["m"]).is([
        "RunCleared",
        "TaskCleared m[0..=499]",
        "TaskRuledOut m[0..=499] Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn a_copy_decides_about_the_copy_of_its_own_index_alone() {
    let mapped = |spec: DagSpec, name: &str, upstream: &[&str]| {
        spec.add(name, upstream, |task| {
            (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length: 2 }));
        })
    };
    let spec = mapped(mapped(dag("d"), "branch", &[]), "m", &["branch"]).task("one", &["branch"]);
    let mut world = begin(spec);
    decide(&mut world, "d/r1/branch[1]/1", &["m", "one"])
        .is(["TrySucceeded branch 1", "TaskRuledOut m[1] Skipped"]);
    decide(&mut world, "d/r1/branch[0]/1", &[]);
    assert_eq!(world.settle(), ["TaskQueued one 1", "TaskQueued m 1"]);
    assert!(world.offered().contains(&"d/r1/m[0]/1".to_owned()));
}

#[test]
fn names_that_the_dag_does_not_have_are_left_out() {
    let mut world = begin(forked());
    let sent = decide(&mut world, "d/r1/branch/1", &["b", "nowhere", "branch", "b"]);
    let dagbok_events::Fact::TrySucceeded(fact) = &sent.records[0].facts[0] else {
        panic!("{:?}", brief_all(&sent.records))
    };
    assert_eq!(fact.skips, [task_id("b")]);
}

#[test]
fn a_task_that_asks_is_told_the_data_interval_after_its_runs() {
    let spec = dag("d").daily("2024-01-01").task("plain", &[]);
    let mut world = World::with([spec.add("latest", &[], |task| task.wants_next_interval = true)]);
    world.go_to("2024-01-02");
    let items = world.namespace.queued_tries().into_iter();
    let told: BTreeMap<String, Option<Interval>> = items
        .filter_map(|it| world.namespace.work_item(it))
        .map(|item| (item.key.task_id.to_string(), item.next_interval))
        .collect();
    let next = Interval { start: at("2024-01-02"), end: at("2024-01-03") };
    assert_eq!(
        told,
        BTreeMap::from([("latest".to_owned(), Some(next)), ("plain".to_owned(), None)])
    );
}
