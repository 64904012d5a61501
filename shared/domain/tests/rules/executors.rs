//! Executors that come, go, and are found to be gone.
use dagbok_events::LostWhy;

use super::support::*;

fn wide(tasks: usize) -> World {
    let spec = (0..tasks).fold(dag("etl"), |dag, n| dag.task(&format!("t{n:03}"), &[]));
    let spec = spec.with(|dag| dag.max_active_tasks = 1_000).task("last", &[]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.set_pool("default_pool", 10_000);
    world.settle();
    world
}

fn known(world: &World) -> Vec<String> {
    world.namespace.executors().map(ToString::to_string).collect()
}

#[test]
fn an_executor_joins_and_leaves_once() {
    let mut world = World::new();
    world.join("e1").is(["ExecutorJoined 8"]);
    world.join("e1").unchanged();
    assert_eq!(known(&world), ["e1"]);
    world.leave("e1").is(["ExecutorLeft Drained"]);
    world.leave("e1").unchanged();
    assert_eq!(known(&world), [] as [&str; 0]);
    assert_eq!(world.gone("e1"), [] as [&str; 0]);
}

#[test]
fn an_executor_that_starts_a_try_is_known_though_it_never_said_so() {
    let mut world = wide(1);
    world.start("ghost", "etl/r1/t000/1");
    assert_eq!(known(&world), ["ghost"]);
    assert_eq!(world.gone("ghost").len(), 2);
    assert_eq!(known(&world), [] as [&str; 0]);
}

#[test]
fn every_try_of_an_executor_that_is_gone_is_lost_and_no_other() {
    let mut world = wide(200);
    for n in 0..200 {
        world.start(if n % 4 == 0 { "e2" } else { "e1" }, &format!("etl/r1/t{n:03}/1"));
        world.start("e1", &format!("etl/r2/t{n:03}/1"));
    }
    world.join("e1").unchanged();
    assert_eq!(world.namespace.held_by(&executor("e1")).len(), 350);
    let facts = world.gone("e1");
    assert_eq!(facts.iter().filter(|fact| fact.starts_with("TryLost")).count(), 350);
    assert_eq!(facts.last().map(String::as_str), Some("ExecutorLeft Gone"));
    assert_eq!(world.namespace.held_by(&executor("e2")).len(), 50);
    let again = world.settle();
    assert_eq!(again.iter().filter(|fact| fact.ends_with(" 2")).count(), 350);
    world.start("e3", "etl/r2/t000/2").is(["TryStarted t000 2 by e3"]);
}

#[test]
fn the_last_loss_that_is_borne_ends_tasks_and_their_run() {
    let spec = dag("etl").task("a", &[]).task("b", &[]).task("c", &["a", "b"]);
    let mut world = World::with([spec]);
    world.set_limits(16, 0);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.start("e1", "etl/r1/b/1");
    assert_eq!(
        world.gone("e1"),
        [
            "TryLost a 1 ExecutorGone retry never",
            "TaskRuledOut c UpstreamFailed",
            "TryLost b 1 ExecutorGone retry never",
            "RunFailed c",
            "ExecutorLeft Gone",
        ]
    );
}

#[test]
fn an_executor_that_leaves_with_tries_in_hand_loses_them() {
    let mut world = wide(0);
    world.join("e1");
    world.start("e1", "etl/r1/last/1");
    world
        .leave("e1")
        .is(["TryLost last 1 Drained retry 2024-01-01T00:00:00Z", "ExecutorLeft Drained"]);
}

#[test]
fn one_try_can_be_given_up_for_an_executor() {
    let mut world = wide(0);
    world.start("e1", "etl/r1/last/1");
    let key = try_key("etl/r1/last/1");
    let record = world.namespace.give_up(world.now, &key, LostWhy::NotHeld).expect("in flight");
    assert_eq!(
        brief_all(std::slice::from_ref(&record))[0],
        "TryLost last 1 NotHeld retry 2024-01-01T00:00:00Z"
    );
    world.append(&record);
    assert_eq!(world.namespace.give_up(world.now, &key, LostWhy::NotHeld), None);
    assert!(!world.namespace.is_in_flight(&key));
    world.settle();
    assert!(world.namespace.is_in_flight(&try_key("etl/r1/last/2")));
}

#[test]
fn an_executor_taken_for_gone_may_come_back_and_work() {
    let mut world = wide(0);
    world.join("e1");
    world.start("e1", "etl/r1/last/1");
    world.gone("e1");
    world.settle();
    world.start("e1", "etl/r1/last/2").is(["TryStarted last 2 by e1"]);
    assert_eq!(known(&world), ["e1"]);
    world.succeed("e1", "etl/r1/last/2").is(["TrySucceeded last 2", "RunSucceeded"]);
}

#[test]
fn a_try_is_over_only_where_the_log_says_so() {
    let mut world = wide(0);
    let over = |world: &World, key: &str| world.namespace.is_over(&try_key(key));
    let (first, second) = ("etl/r1/last/1", "etl/r1/last/2");
    assert!(!over(&world, first) && !over(&world, second));
    world.start("e1", first);
    assert!(!over(&world, first));
    world.gone("e1");
    assert!(over(&world, first) && !over(&world, second), "a try to come is not over");
    world.settle();
    assert!(over(&world, first) && !over(&world, second));
    world.succeed("e1", second);
    assert!(over(&world, first) && over(&world, second) && !over(&world, "etl/never/last/1"));
}

fn lost(why: LostWhy) -> dagbok_protocol::ReportBody {
    dagbok_protocol::ReportBody::Lost { why, usage: None, log: None }
}

#[test]
fn a_loss_that_a_neighbour_caused_counts_against_nobody_and_has_a_bound() {
    let mut world = wide(2);
    world.set_limits(1_000, 0);
    let mut waits = std::collections::BTreeSet::new();
    for n in 1..=100 {
        let key = format!("etl/r1/t000/{n}");
        world.start("e1", &key);
        let sent = world.report("e1", &key, lost(LostWhy::ParentDied));
        let told = brief_all(&sent.records);
        assert!(!told[0].ends_with("never"), "{told:?}");
        waits.insert(told[0].clone());
        world.pass(secs(2));
    }
    assert_eq!(waits.len(), 100);
    world.start("e1", "etl/r1/t000/101");
    let sent = world.report("e1", "etl/r1/t000/101", lost(LostWhy::ParentDied));
    assert!(brief_all(&sent.records)[0].ends_with("never"), "no accident any more");
    world.start("e1", "etl/r1/t001/1");
    let sent = world.report("e1", "etl/r1/t001/1", lost(LostWhy::NotHeld));
    assert!(brief_all(&sent.records)[0].ends_with("never"), "what counts does so at once");
}

/// The answer may get lost, and the same command come again: it must not be leave to begin then.
#[test]
fn a_start_that_used_its_number_up_is_refused_however_often_it_is_sent() {
    let mut world = wide(1);
    let mut body = started();
    let dagbok_protocol::ReportBody::Started { again, .. } = &mut body else { unreachable!() };
    *again = true;
    let report = report("e2", "etl/r1/t000/1", world.now, body);
    let command = world.command(dagbok_protocol::CommandBody::Report(Box::new(report)));
    for time in 0..3 {
        let sent = world.deliver(&command);
        let is_refused = matches!(sent.outcome, dagbok_domain::namespace::Outcome::Refused(_));
        assert!(is_refused, "time {time}: {:?}", sent.outcome);
        assert_eq!(sent.records.len(), usize::from(time == 0));
    }
}

#[test]
fn a_start_that_was_offered_before_uses_its_number_up() {
    let mut world = wide(1);
    let again = |by: &mut World, who: &str, key: &str| {
        let mut body = started();
        let dagbok_protocol::ReportBody::Started { again, .. } = &mut body else { unreachable!() };
        *again = true;
        brief_all(&by.report(who, key, body).records)
    };
    let told = again(&mut world, "e2", "etl/r1/t000/1");
    assert!(told[0].starts_with("TryLost t000 1 MayHaveBegun"), "{told:?}");
    // Whoever had begun it is told to end it, and the next number is nobody's yet.
    let late = brief_all(&world.report("e1", "etl/r1/t000/1", started()).records);
    assert!(late[0].starts_with("ReportRefused"), "{late:?}");
    world.settle();
    world.start("e2", "etl/r1/t000/2").is(["TryStarted t000 2 by e2"]);
    // One that is known to run is only refused.
    let told = again(&mut world, "e1", "etl/r1/t000/2");
    assert!(told[0].starts_with("ReportRefused"), "{told:?}");
}
