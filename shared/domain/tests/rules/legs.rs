//! Tries that go on later: a sensor in reschedule mode.
use dagbok_events::RefusedWhy;
use dagbok_protocol::RefusalCode;

use super::support::{DagExt as _, World, dag, secs};

fn world() -> World {
    let mut world = World::with([dag("etl")
        .add("s", &[], |task| (task.retries, task.retry_delay) = (1, secs(10)))
        .task("z", &["s"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

#[test]
fn a_rescheduled_try_goes_on_as_another_leg_of_itself() {
    let mut world = world();
    world.start("e1", "etl/r1/s/1");
    let until = world.now.plus(secs(60));
    world.reschedule("e1", "etl/r1/s/1", secs(60)).is([&format!("TryRescheduled s 1.0 {until}")]);
    assert_eq!(world.namespace.in_flight(), 0, "its slot is free meanwhile");
    assert_eq!(world.pass(secs(59)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)), ["TaskQueued s 1"]);
    assert_eq!(world.offered(), ["etl/r1/s/1.1"]);
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    assert_eq!(item.first_started_at, Some(item.queued_at.plus(secs(-60))));
    world.succeed("e1", "etl/r1/s/1.1");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
}

#[test]
fn a_leg_that_is_over_is_fenced_off() {
    let mut world = world();
    world.start("e1", "etl/r1/s/1");
    world.reschedule("e1", "etl/r1/s/1", secs(1));
    for key in ["etl/r1/s/1", "etl/r1/s/1.1"] {
        world.succeed("e1", key).refused(
            RefusalCode::StaleReport,
            [&format!("ReportRefused s 1 Succeeded: {:?}", RefusedWhy::NotInFlight)],
        );
    }
    world.pass(secs(1));
    world.succeed("e1", "etl/r1/s/1").refused(
        RefusalCode::StaleReport,
        [&format!("ReportRefused s 1 Succeeded: {:?}", RefusedWhy::NotInFlight)],
    );
    world.fail("e1", "etl/r1/s/1.1");
    assert_eq!(world.pass(secs(10)), ["TaskQueued s 2"], "a failure begins another try");
    assert_eq!(world.offered(), ["etl/r1/s/2"]);
}

#[test]
fn a_leg_that_was_handed_back_is_followed_by_one_of_the_same_try() {
    let mut world = world();
    world.start("e1", "etl/r1/s/1");
    world.reschedule("e1", "etl/r1/s/1", secs(1));
    world.pass(secs(1));
    world.report("e1", "etl/r1/s/1.1", dagbok_protocol::ReportBody::Returned);
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/s/1.2"]);
}

#[test]
fn a_sensor_that_waits_for_no_time_waits_a_second() {
    let mut world = world();
    world.start("e1", "etl/r1/s/1");
    world.reschedule("e1", "etl/r1/s/1", secs(-5));
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)), ["TaskQueued s 1"]);
}

#[test]
fn thousands_of_looks_are_one_try() {
    let mut world = world();
    for leg in 0..5_000 {
        let key = if leg == 0 { "etl/r1/s/1".to_owned() } else { format!("etl/r1/s/1.{leg}") };
        world.start("e1", &key);
        world.reschedule("e1", &key, secs(1));
        world.pass(secs(1));
    }
    assert_eq!(world.offered(), ["etl/r1/s/1.5000"]);
}

#[test]
fn a_leg_put_off_by_a_clock_ahead_waits_as_long_by_the_clock_as_it_is() {
    let mut world = world();
    world.queued_for(secs(0));
    let start = world.now;
    world.pass(secs(3_600));
    world.start("e1", "etl/r1/s/1");
    world.reschedule("e1", "etl/r1/s/1", secs(60));
    world.now = start;
    world.settle();
    assert_eq!(world.pass(secs(59)), [] as [&str; 0]);
    assert_eq!(world.pass(secs(1)), ["TaskQueued s 1"]);
    assert_eq!(world.offered(), ["etl/r1/s/1.1"]);
}
