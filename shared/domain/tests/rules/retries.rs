//! Tries that failed: whose fault it was, and when the next one is due.
use dagbok_domain::backoff;
use dagbok_events::{DagSpec, Fault, Micros, TaskSpec};
use dagbok_protocol::{ClearTasks, CommandBody};

use super::support::*;

fn world(change: impl FnOnce(&mut TaskSpec)) -> World {
    let mut world = World::with([dag("etl").add("a", &[], change)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

fn retrying(retries: u16, delay: i64) -> impl FnOnce(&mut TaskSpec) {
    move |task| (task.retries, task.retry_delay) = (retries, secs(delay))
}

#[test]
fn a_retry_that_is_due_goes_on_though_what_was_before_it_is_cleared() {
    let spec = dag("etl").task("a", &[]).add("b", &["a"], |task| {
        (task.retries, task.retry_delay) = (1, secs(5));
    });
    let mut world = World::with([spec]);
    world.set_limits(1, 10);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    world.settle();
    world.fail("e1", "etl/r1/b/1");
    world.pause("etl");
    world.pass(secs(60));
    // By this record the retry is ripe; then its upstream waits again.
    let only_a = ClearTasks { task_ids: vec![task_id("a")], ..clearing("etl", "r1", false) };
    world.send(CommandBody::ClearTasks(only_a));
    world.unpause("etl");
    world.settle();
    let key = world.offered().first().expect("one is offered").clone();
    world.succeed("e1", &key);
    world.settle();
    assert_eq!(world.offered().len(), 1, "the other goes on");
}

#[test]
fn a_failure_is_tried_again_after_its_delay_until_retries_are_used_up() {
    let mut world = world(retrying(2, 60));
    world.fail("e1", "etl/r1/a/1").is(["TryFailed a 1 retry 2024-01-01T00:01:00Z"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.namespace.next_due(world.now), Some(at("2024-01-01T00:01:00Z")));
    assert_eq!(world.pass(secs(59)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)), ["TaskQueued a 2"]);
    world.fail("e1", "etl/r1/a/2").is(["TryFailed a 2 retry 2024-01-01T00:02:00Z"]);
    assert_eq!(world.pass(secs(60)), ["TaskQueued a 3"]);
    world.fail("e1", "etl/r1/a/3").is(["TryFailed a 3 retry never", "RunFailed a"]);
}

#[test]
fn a_failure_without_retries_is_the_end() {
    let mut world = world(retrying(0, 60));
    world.fail("e1", "etl/r1/a/1").is(["TryFailed a 1 retry never", "RunFailed a"]);
}

#[test]
fn code_that_says_that_no_retry_helps_gets_none() {
    let mut world = world(retrying(5, 60));
    let mut failure = failure(Fault::User);
    failure.retryable = false;
    world.fail_with("e1", "etl/r1/a/1", failure).is(["TryFailed a 1 retry never", "RunFailed a"]);
}

#[test]
fn a_retry_policy_may_have_the_next_try_wait_for_another_time_and_adds_no_retry() {
    let mut world = world(retrying(1, 60));
    let failure = dagbok_events::Failure {
        retry_delay: Some(secs(7)),
        retry_reason: Some("busy".to_owned()),
        out_of_memory: None,
        ..failure(Fault::User)
    };
    world
        .fail_with("e1", "etl/r1/a/1", failure.clone())
        .is(["TryFailed a 1 retry 2024-01-01T00:00:07Z"]);
    assert_eq!(world.pass(secs(7)), ["TaskQueued a 2"]);
    world.fail_with("e1", "etl/r1/a/2", failure).is(["TryFailed a 2 retry never", "RunFailed a"]);
}

/// The wait that the task has after its failure `number`.
fn backoff_of(world: &World, number: u32) -> Micros {
    let run = world.namespace.active_runs().next().expect("one run");
    backoff::wait(run.spec(0), &run.key().dag_id, run.meta().logical_date, number)
}

#[test]
fn waits_grow_by_the_backoff_are_spread_and_end_at_the_longest() {
    let mut world = world(|task| {
        retrying(5, 10)(task);
        (task.retry_backoff_milli, task.max_retry_delay) = (2_000, Some(secs(60)));
    });
    for (n, least) in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
        let wait = backoff_of(&world, n);
        assert!(secs(least) <= wait && wait < secs(2 * least) && wait <= secs(60), "{wait:?}");
        let due = world.now.plus(wait);
        let sent = world.fail("e1", &format!("etl/r1/a/{n}"));
        sent.is([format!("TryFailed a {n} retry {due}").as_str()]);
        assert_eq!(world.pass(wait), [format!("TaskQueued a {}", n + 1)]);
    }
    world.fail("e1", "etl/r1/a/6").is(["TryFailed a 6 retry never", "RunFailed a"]);
}

#[test]
fn a_backoff_without_a_longest_wait_stops_at_a_day() {
    let mut world = world(|task| {
        retrying(40, 3_600)(task);
        task.retry_backoff_milli = u32::MAX;
    });
    let first = backoff_of(&world, 1);
    world.fail("e1", "etl/r1/a/1");
    world.pass(first);
    let due = world.now.plus(DAY);
    world.fail("e1", "etl/r1/a/2").is([format!("TryFailed a 2 retry {due}").as_str()]);
}

#[test]
fn bad_data_uses_up_retries_as_bad_code_does() {
    let mut world = world(retrying(1, 0));
    world.fail_with("e1", "etl/r1/a/1", failure(Fault::Data));
    world.settle();
    world
        .fail_with("e1", "etl/r1/a/2", failure(Fault::Data))
        .is(["TryFailed a 2 retry never", "RunFailed a"]);
}

#[test]
fn the_systems_faults_use_up_none_of_the_users_retries() {
    let mut world = world(retrying(1, 60));
    world
        .fail_with("e1", "etl/r1/a/1", failure(Fault::System))
        .is(["TryFailed a 1 retry 2024-01-01T00:00:00Z"]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    assert!(item.will_retry);
    assert_eq!((item.max_tries, item.key.try_number.get()), (1, 2));
    world.fail("e1", "etl/r1/a/2").is(["TryFailed a 2 retry 2024-01-01T00:01:00Z"]);
    world.pass(secs(60));
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    assert!(!item.will_retry);
    world.fail("e1", "etl/r1/a/3").is(["TryFailed a 3 retry never", "RunFailed a"]);
}

#[test]
fn a_signal_from_outside_uses_up_retries_whoever_sent_it() {
    let mut world = world(retrying(1, 0));
    let killed = || dagbok_events::Failure {
        kind: dagbok_events::FailureKind::Signal,
        signal: Some(9),
        ..failure(Fault::System)
    };
    world.fail_with("e1", "etl/r1/a/1", killed());
    world.settle();
    world.fail_with("e1", "etl/r1/a/2", killed()).is(["TryFailed a 2 retry never", "RunFailed a"]);
}

#[test]
fn losses_are_made_up_for_with_growing_waits_up_to_their_own_limit() {
    let mut world = world(retrying(0, 60));
    world.set_limits(16, 4);
    for (n, wait) in [(1, 0), (2, 1), (3, 2), (4, 4)] {
        let key = format!("etl/r1/a/{n}");
        world.start("e1", &key);
        let due = world.now.plus(secs(wait));
        assert_eq!(world.gone("e1")[0], format!("TryLost a {n} ExecutorGone retry {due}"));
        assert_eq!(world.pass(secs(wait)), [format!("TaskQueued a {}", n + 1)]);
    }
    world.start("e1", "etl/r1/a/5");
    assert_eq!(
        world.gone("e1"),
        ["TryLost a 5 ExecutorGone retry never", "RunFailed a", "ExecutorLeft Gone"]
    );
}

#[test]
fn losses_and_faults_of_the_system_count_together() {
    let mut world = world(retrying(3, 0));
    world.set_limits(16, 1);
    world.fail_with("e1", "etl/r1/a/1", failure(Fault::System));
    world.settle();
    world.start("e1", "etl/r1/a/2");
    assert_eq!(world.gone("e1")[0], "TryLost a 2 ExecutorGone retry never");
}

#[test]
fn a_retry_begins_with_no_values_of_the_try_before() {
    use dagbok_events::{Fact, Payload};
    use dagbok_protocol::{ReportBody, XComValue};
    let two: DagSpec = dag("etl").add("a", &[], retrying(1, 0)).task("b", &[]);
    let mut world = World::with([two]);
    world.trigger_as("etl", "r1");
    world.settle();
    let value = |text: &str| XComValue {
        key: "k".to_owned(),
        value: Some(Payload::Inline(text.to_owned())),
        length: None,
    };
    let values = |world: &World| -> Vec<String> {
        let run = run_key("etl", "r1");
        let all = world.namespace.xcoms(&run);
        all.map(|(task, _, key, seq)| {
            let record = &world.log[usize::try_from(seq).expect("small") - 1];
            let value = record.facts.iter().find_map(|fact| match fact {
                Fact::XComPushed(f) if f.task_id == *task && f.key == key => f.value.as_ref(),
                _ => None,
            });
            format!("{task} {key} {:?}", value.expect("the record has it"))
        })
        .collect()
    };
    world.report("e1", "etl/r1/a/1", ReportBody::XCom(value("1"))).is(["XComPushed a k"]);
    world.report("e1", "etl/r1/b/1", ReportBody::XCom(value("2"))).is(["XComPushed b k"]);
    world.fail("e1", "etl/r1/a/1");
    assert_eq!(values(&world).len(), 2, "a failed try's values can be looked at");
    world.settle();
    assert_eq!(values(&world), [r#"b k Inline("2")"#]);
    world.report("e1", "etl/r1/a/2", succeeded(vec![value("3")]));
    assert_eq!(values(&world), [r#"a k Inline("3")"#, r#"b k Inline("2")"#]);
    let gone = XComValue { key: "k".to_owned(), value: None, length: None };
    world.report("e1", "etl/r1/b/1", ReportBody::XCom(gone));
    assert_eq!(values(&world), [r#"a k Inline("3")"#]);
}

#[test]
fn a_count_of_tries_that_is_used_up_ends_the_task() {
    use dagbok_events::{Fact, Leg, MapIndex, TaskQueued, TryNumber};
    use dagbok_protocol::ReportBody;
    for end in ["fail", "lose", "return"] {
        let mut world = world(retrying(u16::MAX, 0));
        let TaskSpec { pool, queue, .. } = plain_task("a", Vec::new());
        let queued = Fact::TaskQueued(TaskQueued {
            task_id: task_id("a"),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::new(u16::MAX).expect("not zero"),
            leg: Leg::FIRST,
            pool,
            pool_slots: 1,
            queue,
        });
        let mut record = world.log.last().expect("queued before").clone();
        record.facts = vec![queued];
        world.append(&record);
        let key = format!("etl/r1/a/{}", u16::MAX);
        match end {
            "fail" => drop(world.fail("e1", &key)),
            "lose" => {
                world.start("e1", &key);
                world.gone("e1");
            }
            _ => drop(world.report("e1", &key, ReportBody::Returned)),
        }
        assert!(!world.is_active("etl", "r1"), "{end}");
    }
}
