//! Tries that are queued and that nobody begins.
use dagbok_events::{DagSpec, LostWhy, MapIndex, Micros};
use dagbok_protocol::{Reason, RefusalCode, ReportBody, limits::QUEUED_TOO_LONG_RETRIES};

use super::support::*;

const TIMEOUT: Micros = Micros::from_secs(600);

fn world(spec: DagSpec) -> World {
    let mut world = World::with([spec]);
    world.queued_for(TIMEOUT);
    world.trigger_as("d", "r1");
    world.settle();
    world
}

#[test]
fn a_try_that_nobody_begins_is_followed_by_another_twice_and_then_its_task_fails() {
    let mut world = world(dag("d").add("a", &[], |task| task.retries = 5));
    world.join("e1");
    assert_eq!(world.namespace.next_due(world.now), Some(world.now.plus(TIMEOUT)));
    assert_eq!(world.pass(secs(599)), [] as [&str; 0]);
    let lost = world.pass(secs(1));
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].starts_with("TryLost a 1 QueuedTooLong"), "{lost:?}");
    assert_eq!(
        lost[1], "TaskQueued a 2",
        "under another number: somebody may have begun the first"
    );
    world
        .start("e1", "d/r1/a/1")
        .refused(RefusalCode::StaleReport, ["ReportRefused a 1 Started: NotInFlight"]);
    let lost = world.pass(TIMEOUT);
    assert!(lost[0].starts_with("TryLost a 2 QueuedTooLong"), "{lost:?}");
    assert_eq!(lost[1], "TaskQueued a 3");
    assert_eq!(QUEUED_TOO_LONG_RETRIES, 2, "as many followed");
    let lost = world.pass(TIMEOUT);
    assert_eq!(lost, ["TryLost a 3 QueuedTooLong retry never", "RunFailed a"]);
}

#[test]
fn one_that_was_begun_begins_the_count_anew() {
    let mut world = world(dag("d").add("a", &[], |task| task.retries = 1));
    world.join("e1");
    world.pass(TIMEOUT);
    world.pass(TIMEOUT);
    world.start("e1", "d/r1/a/3");
    assert_eq!(world.pass(DAY), [] as [&str; 0], "what runs may run");
    world.fail("e1", "d/r1/a/3");
    assert_eq!(
        world.pass(secs(300)),
        ["TaskQueued a 4"],
        "no retry was used up but by the failure"
    );
    for _ in 0..2 {
        assert_eq!(world.pass(TIMEOUT).len(), 2);
    }
    let lost = world.pass(TIMEOUT);
    assert_eq!(lost, ["TryLost a 6 QueuedTooLong retry never", "RunFailed a"]);
}

#[test]
fn time_counts_only_while_somebody_could_begin_it() {
    let mut spec = dag("d").with(|dag| dag.max_active_tasks = 64);
    for n in 0..9 {
        spec = spec.task(&format!("t{n}"), &[]);
    }
    let mut world = world(spec);
    world.join("e1");
    for n in 0..8 {
        world.start("e1", &format!("d/r1/t{n}/1"));
    }
    assert_eq!(world.pass(DAY), [] as [&str; 0], "all eight slots are taken");
    assert_eq!(world.namespace.next_due(world.now), None);
    world.succeed("e1", "d/r1/t0/1");
    assert_eq!(world.pass(secs(599)), [] as [&str; 0], "now somebody has time for it");
    world.succeed("e1", "d/r1/t1/1");
    let lost = world.pass(secs(1));
    assert!(lost[0].starts_with("TryLost t8 1 QueuedTooLong"), "{lost:?}");
}

#[test]
fn while_an_executor_is_full_of_what_has_not_begun_nobody_s_time_counts() {
    let mut spec = dag("d").with(|dag| dag.max_active_tasks = 64);
    for n in 0..9 {
        spec = spec.task(&format!("t{n}"), &[]);
    }
    let mut world = world(spec);
    world.full("maker", true).unchanged();
    // Called by its machine's name.
    world.join("maker");
    for n in 0..3 {
        let part = format!("pod{n}");
        world.join_part(&part, "localhost");
        world.start(&part, &format!("d/r1/t{n}/1"));
    }
    // Five more wait for a node.
    world.full("maker", true).is(["ExecutorFull true"]);
    world.full("maker", true).unchanged();
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
    assert_eq!(world.namespace.next_due(world.now), None);
    let why = world.why("d", Some("r1"), Some("t8"), MapIndex::UNMAPPED).is.reasons;
    let [Reason::ExecutorsFull { executors: 1, holders, .. }] = &why[..] else { panic!("{why:?}") };
    assert_eq!(holders.named.len() + holders.more as usize, 3, "those in its parts");
    let bytes = world.namespace.to_snapshot();
    let restored = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("its own");
    assert_eq!(restored.next_due(world.now), None, "a snapshot knows that it is full");
    assert_eq!(restored.to_snapshot(), bytes);
    world.full("maker", false).is(["ExecutorFull false"]);
    assert_eq!(world.pass(secs(599)), [] as [&str; 0], "now there is room for them");
    let lost = world.pass(secs(1));
    assert_eq!(lost.iter().filter(|it| it.starts_with("TryLost")).count(), 6, "{lost:?}");
    world.full("maker", true).is(["ExecutorFull true"]);
    world.leave("maker");
    world.join("maker");
    assert!(world.namespace.next_due(world.now).is_some(), "another life says so itself");
}

#[test]
fn where_no_executor_pulls_from_its_queue_time_counts_and_one_that_comes_is_given_as_long() {
    let mut world = world(dag("d").task("a", &[]));
    assert_eq!(world.pass(secs(500)), [] as [&str; 0]);
    world.join("e1");
    assert_eq!(world.pass(secs(599)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)).len(), 2);
    world.leave("e1");
    assert_eq!(world.pass(TIMEOUT).len(), 2, "nobody is there");
    let lost = world.pass(TIMEOUT);
    assert_eq!(lost, ["TryLost a 3 QueuedTooLong retry never", "RunFailed a"]);
}

#[test]
fn without_a_timeout_it_waits_for_ever_and_in_doubt_nobody_gives_up() {
    let mut world = world(dag("d").task("a", &[]));
    world.now = world.now.plus(DAY);
    assert_eq!(world.namespace.plan_in_doubt(world.now), []);
    assert!(world.namespace.next_due(world.now).is_none());
    assert!(!world.namespace.plan(world.now).is_empty());
    world.queued_for(Micros(0));
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
}

#[test]
fn an_executor_can_not_say_that_a_try_was_queued_for_too_long() {
    let mut world = world(dag("d").task("a", &[]));
    let said = ReportBody::Lost { why: LostWhy::QueuedTooLong, usage: None, log: None };
    let sent = world.report("e1", "d/r1/a/1", said);
    assert!(brief_all(&sent.records)[0].starts_with("TryLost a 1 NotHeld"), "{sent:?}");
}

#[test]
fn a_snapshot_has_since_when_it_could_have_been_begun() {
    let mut world = world(dag("d").task("a", &[]).task("b", &[]));
    world.join("e1");
    world.start("e1", "d/r1/b/1");
    world.pass(secs(300));
    let bytes = world.namespace.to_snapshot();
    let restored = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("its own");
    assert_eq!(restored.next_due(world.now), world.namespace.next_due(world.now));
    let later = world.now.plus(secs(300));
    assert_eq!(restored.plan(later), world.namespace.plan(later));
    assert!(!restored.plan(later).is_empty());
    assert_eq!(restored.to_snapshot(), bytes);
}

#[test]
fn a_clock_that_goes_back_makes_no_one_wait_for_longer() {
    let mut world = world(dag("d").task("a", &[]));
    world.join("e1");
    world.now = world.now.plus(Micros(-HOUR.0));
    world.settle();
    assert_eq!(world.pass(secs(599)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)).len(), 2);
}

#[test]
fn a_try_s_item_has_the_pod_that_its_task_shares_with_others() {
    let mut spec = dag("d")
        .add("a", &[], |task| task.pod_override = Some(1))
        .add("b", &[], |task| task.pod_override = Some(1))
        .add("c", &[], |_| ())
        .add("wrong", &[], |task| task.pod_override = Some(7));
    spec.pod_overrides = vec!["{}".to_owned(), r#"{"spec":{}}"#.to_owned()];
    let world = world(spec);
    let items = world.namespace.queued_tries().into_iter();
    let items = items.map(|it| world.namespace.work_item(it).expect("an offered try has an item"));
    let pods: std::collections::BTreeMap<_, _> =
        items.map(|item| (item.key.task_id.to_string(), item.pod_override)).collect();
    let shared = || Some(r#"{"spec":{}}"#.to_owned());
    let of = |name: &str| pods[name].clone();
    assert_eq!((of("a"), of("b"), of("c"), of("wrong")), (shared(), shared(), None, None));
}
