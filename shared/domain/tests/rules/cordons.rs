//! Executors that somebody says take nothing new.
use dagbok_events::{ExecutorName, MapIndex, Resources};
use dagbok_protocol::{CommandBody, CordonExecutor, Reason, RefusalCode};

use super::support::*;

fn cordon(world: &mut World, executor: &str, drain: bool) -> Sent {
    let executor = executor.to_owned();
    world.send(CommandBody::CordonExecutor(CordonExecutor { executor, drain, limit: None }))
}

fn why_of(world: &World, dag: &str, run: &str, task: &str) -> Vec<Reason> {
    world.why(dag, Some(run), Some(task), MapIndex::UNMAPPED).is.reasons
}

fn uncordon(world: &mut World, executor: &str) -> Sent {
    world.send(CommandBody::UncordonExecutor { executor: executor.to_owned() })
}

#[test]
fn a_cordon_is_of_the_name_and_holds_over_a_restart_of_who_has_it() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    cordon(&mut world, "e1", false).refused(RefusalCode::ExecutorNotFound, []);
    world.join("e1");
    // By the id of a life, or by the name, which is the machine's here.
    cordon(&mut world, "e1", false).is(["ExecutorCordoned localhost false"]);
    cordon(&mut world, "localhost", false).unchanged();
    world.trigger_as("etl", "r1");
    world.settle();
    let reasons = why_of(&world, "etl", "r1", "a");
    let [Reason::Cordoned { executors: 1, names, .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!(names, &[ExecutorName::new("localhost").unwrap()]);
    assert_eq!(world.pass(secs(86_400)), [""; 0], "nothing is given up while nobody may take it");
    world.leave("e1");
    let saved = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&saved).expect("ours");
    world.join("e2");
    assert!(matches!(why_of(&world, "etl", "r1", "a")[..], [Reason::Cordoned { .. }]));
    uncordon(&mut world, "localhost").is(["ExecutorUncordoned localhost"]);
    uncordon(&mut world, "localhost").unchanged();
    assert!(matches!(why_of(&world, "etl", "r1", "a")[..], [Reason::Offered { executors: 1, .. }]));
}

#[test]
fn a_drain_is_a_fact_each_time_and_what_runs_goes_on() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    for _ in 0..2 {
        cordon(&mut world, "localhost", true).is(["ExecutorCordoned localhost true"]);
    }
    assert_eq!(world.settle(), [""; 0], "no try is taken away");
    world.succeed("e1", "etl/r1/a/1");
    world.leave("e1").is(["ExecutorLeft Drained"]);
}

#[test]
fn a_label_that_nobody_has_is_named_at_once() {
    let asks = |region: &str| Resources {
        labels: [("region".to_owned(), region.to_owned())].into(),
        ..Resources::default()
    };
    let spec = dag("etl").add("here", &[], |task| task.resources = asks("eu")).add(
        "nowhere",
        &[],
        |task| task.resources = asks("ap"),
    );
    let mut world = World::with([spec]);
    world.join_with("e1", asks("eu"));
    world.trigger_as("etl", "r1");
    world.settle();
    assert!(matches!(why_of(&world, "etl", "r1", "here")[..], [Reason::Offered { .. }]));
    let reasons = why_of(&world, "etl", "r1", "nowhere");
    let [Reason::TooLarge { lacks, .. }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(lacks, "the label `region` to be `ap`, where there is `eu`");
}

#[test]
fn an_executor_of_a_version_too_far_away_is_refused_with_the_reason() {
    let mut world = World::new();
    let refused = world.join_speaking("e1", Some(4));
    let why = refused.refused(RefusalCode::ProtocolTooFar, []);
    assert!(why.contains("speaks version 4") && why.contains("where the scheduler runs"), "{why}");
    world.join_speaking("e1", Some(3)).is(["ExecutorJoined 8"]);
    world.leave("e1");
    world.join_speaking("e1", None).is(["ExecutorJoined 8"]);
}
