//! Tries that wait for a trigger.
use dagbok_events::{
    MapIndex, Payload, PoolName, RefusedWhy, TriggerCall, TriggerFailedWhy, Usage,
};
use dagbok_protocol::{
    ClearTasks, CommandBody, OnRunning, PoolChange, RefusalCode, ReportBody, ResumedBy, Stands,
    TriggerEnd, XComValue,
};

use super::support::{DagExt as _, World, brief_all, clearing, dag, secs};

fn world() -> World {
    let mut world = World::with([dag("etl")
        .add("s", &[], |task| (task.retries, task.retry_delay) = (1, secs(10)))
        .task("z", &["s"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

fn text(text: &str) -> Payload {
    Payload::Inline(text.to_owned())
}

/// That a leg waits for a trigger, for so many seconds at most.
fn deferred(world: &World, within: Option<i64>) -> ReportBody {
    ReportBody::Deferred {
        trigger: TriggerCall { class_path: "a.B".to_owned(), kwargs: text("{}") },
        next_method: "go_on".to_owned(),
        next_kwargs: Some(text(r#"{"n":1}"#)),
        timeout_at: within.map(|within| world.now.plus(secs(within))),
        ask: None,
        xcoms: Vec::new(),
        usage: Usage::default(),
        log: None,
    }
}

fn fired(ends: Option<TriggerEnd>) -> ReportBody {
    let value = XComValue { key: "return_value".to_owned(), value: Some(text("7")), length: None };
    let xcoms = if ends.is_some() { vec![value] } else { Vec::new() };
    ReportBody::TriggerFired { event: text("7"), ends, xcoms, log: None }
}

fn wait(world: &mut World, within: Option<i64>) {
    world.start("e1", "etl/r1/s/1");
    let body = deferred(world, within);
    world.report("e1", "etl/r1/s/1", body);
}

#[test]
fn a_deferred_try_takes_up_nothing_and_goes_on_with_the_event() {
    let mut world = world();
    wait(&mut world, None);
    assert_eq!(world.namespace.in_flight(), 0);
    assert_eq!(world.namespace.pool_use("default_pool").expect("there").0, 0);
    assert_eq!(world.pass(secs(100_000)), [] as [&str; 0], "it waits for as long as it takes");
    let tries = world.namespace.deferred_tries();
    let item = world.namespace.work_item(tries[0]).expect("for triggerers");
    assert_eq!(item.trigger.expect("a trigger").class_path, "a.B");
    assert_eq!(item.key.leg.0, 1);
    world.report("t1", "etl/r1/s/1.1", fired(None)).is(["TriggerFired s 1.1"]);
    assert_eq!(world.settle(), ["TaskQueued s 1"]);
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    let resume = item.resume.expect("how it goes on");
    assert_eq!((resume.next_method.as_str(), resume.by), ("go_on", ResumedBy::Event(text("7"))));
    assert!(item.trigger.is_none());
    world.start("e2", "etl/r1/s/1.1");
    world.fail("e2", "etl/r1/s/1.1");
    assert_eq!(world.pass(secs(10)), ["TaskQueued s 2"]);
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    assert!(item.resume.is_none(), "another try begins anew");
}

#[test]
fn only_the_first_word_of_a_trigger_counts() {
    let mut world = world();
    wait(&mut world, None);
    let refused = format!("ReportRefused s 1 TriggerFired: {:?}", RefusedWhy::NotInFlight);
    let refused = [refused.as_str()];
    // Another leg's.
    world.report("t1", "etl/r1/s/1", fired(None)).refused(RefusalCode::StaleReport, refused);
    world.report("t1", "etl/r1/s/1.1", fired(None));
    world.report("t2", "etl/r1/s/1.1", fired(None)).refused(RefusalCode::StaleReport, refused);
    world.settle();
    world.report("t2", "etl/r1/s/1.1", fired(None)).refused(RefusalCode::StaleReport, refused);
    world.start("e1", "etl/r1/s/1.1");
    world.succeed("e1", "etl/r1/s/1.1");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
}

#[test]
fn a_trigger_that_takes_too_long_is_over() {
    let mut world = world();
    wait(&mut world, Some(60));
    assert_eq!(world.pass(secs(59)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)), ["TriggerFailed s 1.1 Timeout", "TaskQueued s 1"]);
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    let by = item.resume.expect("how it goes on").by;
    let why = TriggerFailedWhy::Timeout;
    assert_eq!(by, ResumedBy::Failure { why, traceback: String::new() });
}

#[test]
fn an_event_may_end_the_task() {
    for (end, then) in [
        (TriggerEnd::Success, "TrySucceeded s 1"),
        (TriggerEnd::Failed, "TryFailed s 1 retry never"),
        (TriggerEnd::Skipped, "TrySkipped s 1"),
    ] {
        let mut world = world();
        wait(&mut world, None);
        let facts = world.report("t1", "etl/r1/s/1.1", fired(Some(end))).records;
        let facts = brief_all(&facts);
        assert_eq!(facts[0], "TriggerFired s 1.1 ends it");
        assert!(facts.iter().any(|fact| fact == then), "{facts:?}");
        assert!(world.namespace.deferred_tries().is_empty());
    }
}

#[test]
fn people_end_the_wait() {
    let mut world = world();
    wait(&mut world, None);
    assert_eq!(
        world.why("etl", Some("r1"), Some("s"), MapIndex::UNMAPPED).is.stands,
        Stands::Deferred
    );
    let clearing = clearing("etl", "r1", false);
    world.send(CommandBody::ClearTasks(ClearTasks { running: OnRunning::Restart, ..clearing }));
    assert!(world.namespace.deferred_tries().is_empty());
    assert_eq!(world.settle(), ["TaskQueued s 2"]);
    let refused = format!("ReportRefused s 1 TriggerFired: {:?}", RefusedWhy::NotInFlight);
    let refused = [refused.as_str()];
    world.report("t1", "etl/r1/s/1.1", fired(None)).refused(RefusalCode::StaleReport, refused);
}

#[test]
fn a_pool_may_count_what_is_deferred() {
    let slots = |task: &mut dagbok_events::TaskSpec| {
        task.pool = PoolName::new("narrow").expect("a name");
    };
    let mut world = World::with([dag("etl").add("s", &[], slots).add("t", &[], slots)]);
    let pool = PoolName::new("narrow").expect("a name");
    let change = |include_deferred| {
        let (pool, slots) = (pool.clone(), Some(1));
        let include_deferred = Some(include_deferred);
        CommandBody::SetPool(PoolChange {
            pool,
            slots,
            description: None,
            include_deferred,
            only: None,
        })
    };
    world.send(change(true));
    world.trigger_as("etl", "r1");
    world.settle();
    wait(&mut world, Some(600));
    assert_eq!(world.settle(), [] as [&str; 0], "its slot is counted still");
    world.send(change(false));
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.send(change(true));
    world.succeed("e1", "etl/r1/t/1");
    // A pool that is full of what is deferred must not keep that from going on.
    assert_eq!(world.pass(secs(600)), ["TriggerFailed s 1.1 Timeout", "TaskQueued s 1"]);
}
