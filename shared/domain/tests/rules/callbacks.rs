//! Callbacks of DAGs: called for by a run's end, and offered until somebody has called them.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{
    Fact, Failure, FailureKind, Fault, Micros, Record, RefusedWhy, TaskSpec, TriggerRule, TryNumber,
};
use dagbok_protocol::{
    ClearTasks, CommandBody, RefusalCode, ReportBody, WorkItem,
    limits::{DAG_CALLBACK_LOSSES, DAG_CALLBACK_UNBEGUN_US, DAG_CALLBACK_US},
};

use super::support::{
    DagExt as _, World, clearing, dag, failure, run_key, secs, started, succeeded, try_key,
};

const FIRST: &str = "etl/r1/__dag_callback__/1";

fn world() -> World {
    let mut spec = dag("etl").task("a", &[]).task("b", &["a"]);
    (spec.on_success_callback, spec.on_failure_callback) = (true, true);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

/// The first task fails, which ends the run.
fn fail(world: &mut World) -> Vec<String> {
    world.start("e1", "etl/r1/a/1");
    world.fail("e1", "etl/r1/a/1");
    world.settle()
}

fn item(world: &World, number: u16) -> WorkItem {
    world.namespace.callback_item(&run_key("etl", "r1"), number).expect("offered")
}

#[test]
fn an_end_calls_for_the_callback_of_its_kind() {
    let mut world = world();
    assert_eq!(fail(&mut world), ["on_failure_callback 1.0 ordered: task_failure of a"]);
    let offered = item(&world, 1);
    assert_eq!(offered.execution_timeout, Some(Micros(DAG_CALLBACK_US)));
    let call = offered.dag_callback.expect("a call");
    assert_eq!((call.state.as_str(), call.try_number), ("failed", TryNumber::FIRST));
    assert!(offered.run.start_date.is_some(), "the run's own, though it is over");
    assert_eq!(world.settle(), [] as [&str; 0], "it is ordered once");
    world.report("e1", FIRST, started()).is(["callback 1.0 started"]);
    world.report("e1", FIRST, started()).unchanged();
    assert_eq!(world.namespace.held_by(&super::support::executor("e1")), [try_key(FIRST)]);
    world.report("e1", FIRST, succeeded(Vec::new())).is(["callback 1.0 succeeded"]);
    assert!(world.namespace.is_over(&try_key(FIRST)));
    assert!(world.namespace.offered_callbacks().is_empty());

    // The run goes on, and ends well this time: another number, so that nothing old is taken for it.
    let clear = ClearTasks { only_failed: false, ..clearing("etl", "r1", false) };
    world.revive(&run_key("etl", "r1"));
    world.send(CommandBody::ClearTasks(clear));
    world.settle();
    for (task, number) in [("a", 2), ("b", 1)] {
        let key = format!("etl/r1/{task}/{number}");
        world.start("e1", &key);
        world.succeed("e1", &key);
        world.settle();
    }
    assert_eq!(item(&world, 2).dag_callback.expect("a call").reason, "success");
}

#[test]
fn who_says_how_a_run_ended_is_not_told_of_it() {
    let mut world = world();
    world.cancel("etl", "r1");
    assert_eq!(world.settle(), [] as [&str; 0]);
    let mut quiet = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    quiet.trigger_as("etl", "r1");
    quiet.settle();
    assert_eq!(fail(&mut quiet), [] as [&str; 0], "there is none");
}

#[test]
fn a_run_that_takes_too_long_is_told_of_at_once() {
    let mut spec = dag("etl").task("a", &[]);
    (spec.on_failure_callback, spec.dagrun_timeout) = (true, Some(secs(60)));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    let told = world.pass(secs(61));
    assert!(
        told.contains(&"on_failure_callback 1.0 ordered: timed_out of a".to_owned()),
        "{told:?}"
    );
}

#[test]
fn one_whose_executor_is_gone_is_ordered_again() {
    let mut world = world();
    fail(&mut world);
    world.join("e1");
    world.report("e1", FIRST, started());
    assert_eq!(world.gone("e1"), ["callback 1.0 lost", "ExecutorLeft Gone"]);
    assert_eq!(world.settle(), ["on_failure_callback 1.1 ordered: task_failure of a"]);
    // What the dead still says is of another attempt.
    let refused =
        format!("ReportRefused __dag_callback__ 1 Succeeded: {:?}", RefusedWhy::NotInFlight);
    let said = world.report("e1", FIRST, succeeded(Vec::new()));
    said.refused(RefusalCode::StaleReport, [refused.as_str()]);
    let second = format!("{FIRST}.1");
    world.report("e2", &second, ReportBody::Returned).is(["callback 1.1 lost"]);
    assert_eq!(world.settle(), ["on_failure_callback 1.2 ordered: task_failure of a"]);
    assert!(world.namespace.is_over(&try_key(&second)));
}

#[test]
fn one_that_is_lost_again_and_again_has_failed() {
    let mut world = world();
    fail(&mut world);
    for attempt in 0..=DAG_CALLBACK_LOSSES {
        let key = format!("{FIRST}.{attempt}");
        world.report("e1", &key, started());
        let none = Failure { kind: FailureKind::CouldNotStart, ..failure(Fault::System) };
        world.fail_with("e1", &key, none);
        let told = world.settle();
        let last = attempt == DAG_CALLBACK_LOSSES;
        assert_eq!(told[0].ends_with("failed"), last, "{told:?}");
    }
    assert_eq!(world.settle(), [] as [&str; 0]);
}

#[test]
fn one_that_raises_is_not_called_again() {
    let mut world = world();
    fail(&mut world);
    world.report("e1", FIRST, started());
    let other = world.fail("e2", FIRST);
    let refused =
        format!("ReportRefused __dag_callback__ 1 Failed: {:?}", RefusedWhy::HeldByAnother);
    other.refused(RefusalCode::StaleReport, [refused.as_str()]);
    world.fail("e1", FIRST).is(["callback 1.0 failed"]);
    assert_eq!(world.pass(secs(10_000)), [] as [&str; 0]);
}

#[test]
fn one_that_nobody_takes_is_told_of_once_and_stays_on_offer() {
    let mut world = world();
    fail(&mut world);
    let due = world.namespace.next_due(world.now).expect("when it is told of");
    assert_eq!(due.since(world.now).0, DAG_CALLBACK_UNBEGUN_US);
    world.now = due;
    assert_eq!(world.settle(), ["callback 1.0 unbegun"]);
    assert_eq!(world.namespace.offered_callbacks().len(), 1);
    assert_eq!(world.pass(secs(100_000)), [] as [&str; 0]);
    world.report("e1", FIRST, started()).is(["callback 1.0 started"]);
}

#[test]
fn what_is_called_for_survives_a_snapshot() {
    let mut world = world();
    fail(&mut world);
    let offered = world.namespace.offered_callbacks();
    let mut restored = Namespace::from_snapshot(&world.namespace.to_snapshot()).expect("ours");
    assert_eq!(restored.offered_callbacks(), offered);
    world.report("e1", FIRST, started());
    restored.evolve(world.log.len() as u64, world.log.last().expect("a record"));
    assert!(restored.offered_callbacks().is_empty());
    world.report("e1", FIRST, succeeded(Vec::new()));
    world.delete("etl", "r1");
    assert!(!world.namespace.has_callbacks(&run_key("etl", "r1")));
}

#[test]
fn a_tasks_callback_that_fails_is_told_and_changes_nothing() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let callback = "on_success_callback".to_owned();
    let body = ReportBody::CallbackFailed { callback, message: "no".to_owned() };
    world.report("e1", "etl/r1/a/1", body).is(["on_success_callback of a failed"]);
    world.succeed("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}

/// The numbers of the ends that callbacks were ordered for, in order.
fn ordered(world: &World) -> Vec<u16> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    facts
        .filter_map(|fact| match fact {
            Fact::DagCallbackOrdered(f) => Some(f.number),
            _ => None,
        })
        .collect()
}

#[test]
fn a_run_that_is_cleared_while_its_teardowns_run_ends_by_another_number() {
    let down = |task: &mut TaskSpec| {
        (task.is_teardown, task.trigger_rule) = (true, TriggerRule::AllDoneSetupSuccess);
    };
    let mut spec = dag("etl").task("a", &[]).add("down", &["a"], down);
    (spec.on_failure_callback, spec.dagrun_timeout) = (true, Some(secs(60)));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.pass(secs(61));
    assert_eq!(ordered(&world), [1], "it is told of before its teardowns have run");
    world.clear("etl", "r1", false);
    world.settle();
    world.pass(secs(61));
    assert_eq!(ordered(&world), [1, 2]);
}

/// Else whoever called for the first is taken to have called for this one too.
#[test]
fn a_run_that_goes_on_with_another_version_ends_by_another_number() {
    let mut world = world();
    fail(&mut world);
    let mut newer = dag("etl").task("a", &[]).task("c", &["a"]);
    (newer.on_success_callback, newer.on_failure_callback) = (true, true);
    world.read(&newer);
    world.revive(&run_key("etl", "r1"));
    let ask = ClearTasks { on_latest_version: true, ..clearing("etl", "r1", false) };
    world.send(CommandBody::ClearTasks(ask));
    world.settle();
    world.start("e1", "etl/r1/a/2");
    world.fail("e1", "etl/r1/a/2");
    world.settle();
    assert_eq!(ordered(&world), [1, 2]);
}

#[test]
fn a_deleted_run_that_is_made_again_ends_by_another_number() {
    let mut world = world();
    fail(&mut world);
    world.report("e1", FIRST, started());
    world.report("e1", FIRST, succeeded(Vec::new()));
    world.delete("etl", "r1");
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/2");
    world.fail("e1", "etl/r1/a/2");
    world.settle();
    assert_eq!(ordered(&world), [1, 2]);
    let late = world.report("e1", FIRST, succeeded(Vec::new()));
    let why = format!("ReportRefused __dag_callback__ 1 Succeeded: {:?}", RefusedWhy::NotInFlight);
    late.refused(RefusalCode::StaleReport, [why.as_str()]);
}

/// Takes out of facts what writers did not say who are older than it.
fn as_written_before(record: &Record) -> Record {
    let mut record = record.clone();
    for fact in &mut record.facts {
        match fact {
            Fact::RunDeleted(f) => f.ends = 0,
            Fact::RunCleared(f) => f.ended = false,
            _ => {}
        }
    }
    record
}

#[test]
fn an_older_log_names_the_end_of_a_run_that_is_made_again_by_its_old_number() {
    let mut world = world();
    fail(&mut world);
    world.report("e1", FIRST, started());
    world.report("e1", FIRST, succeeded(Vec::new()));
    let command = world.command(CommandBody::DeleteRun {
        dag_id: super::support::dag_id("etl"),
        run_id: run_key("etl", "r1").run_id,
    });
    world.revive(&run_key("etl", "r1"));
    let decided = world.namespace.decide(world.now, &command);
    for record in &decided.records {
        assert!(matches!(&record.facts[..], [Fact::RunDeleted(f)] if (f.tries, f.ends) == (1, 1)));
        world.append(&as_written_before(record));
    }
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/2");
    world.fail("e1", "etl/r1/a/2");
    world.settle();
    assert_eq!(ordered(&world), [1, 1], "as the facts have it that followed");
    world.report("e1", FIRST, started());
    world.report("e1", FIRST, succeeded(Vec::new()));
    assert!(!world.namespace.has_callbacks(&run_key("etl", "r1")), "and is called once");
}

#[test]
fn an_older_log_names_the_end_of_a_run_that_was_cleared_at_its_teardowns_by_its_old_number() {
    let down = |task: &mut TaskSpec| {
        (task.is_teardown, task.trigger_rule) = (true, TriggerRule::AllDoneSetupSuccess);
    };
    let mut spec = dag("etl").task("a", &[]).add("down", &["a"], down);
    (spec.on_failure_callback, spec.dagrun_timeout) = (true, Some(secs(60)));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.pass(secs(61));
    let command = world.command(CommandBody::ClearTasks(clearing("etl", "r1", false)));
    for record in &world.namespace.decide(world.now, &command).records {
        assert!(record.facts.iter().any(|it| matches!(it, Fact::RunCleared(f) if f.ended)));
        world.append(&as_written_before(record));
    }
    world.settle();
    world.pass(secs(61));
    assert_eq!(ordered(&world), [1, 1]);
}

#[test]
fn many_that_nobody_takes_are_told_of_in_bounded_batches() {
    let mut spec = dag("etl").task("a", &[]);
    spec.on_failure_callback = true;
    spec.max_active_runs = 1_000;
    let mut world = World::with([spec]);
    for n in 0..300 {
        world.trigger_as("etl", &format!("r{n}"));
        world.settle();
        world.start("e1", &format!("etl/r{n}/a/1"));
        world.fail("e1", &format!("etl/r{n}/a/1"));
        world.settle();
    }
    world.now = world.namespace.next_due(world.now).expect("when they are told of");
    let planned = world.namespace.plan(world.now).len();
    assert!((1..=256).contains(&planned), "{planned}");
    assert_eq!(world.settle().len(), 300, "and none is left out");
}

#[test]
fn the_name_of_a_tasks_callback_is_cut_between_letters() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let body = ReportBody::CallbackFailed { callback: "xä".repeat(100), message: "no".to_owned() };
    world.report("e1", "etl/r1/a/1", body);
    let Some(Fact::TaskCallbackFailed(f)) = world.log.last().and_then(|it| it.facts.first()) else {
        panic!("no fact of it: {:?}", world.log.last())
    };
    assert_eq!(f.callback, format!("{}x", "xä".repeat(21)));
}
