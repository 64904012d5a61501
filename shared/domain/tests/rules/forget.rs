//! What may be forgotten, and what must not be used again of it.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{Expand, Extent, Fact, HistoryForgotten, Micros, Payload, TaskSpec, Timestamp};
use dagbok_protocol::{ClearTasks, CommandBody, RefusalCode, XComValue};

use crate::support::{
    DagExt as _, Sent, World, clearing, dag, dag_id, run_key, secs, succeeded, task_id,
};

fn forget(world: &mut World, name: &str) -> Sent {
    world.send(CommandBody::ForgetDag { dag_id: dag_id(name) })
}

fn forget_versions(world: &mut World, below: u32) -> Sent {
    world.send(CommandBody::ForgetVersions { dag_id: dag_id("etl"), below })
}

/// A DAG with one run that took two tries, out of its file.
fn vanished() -> World {
    let mut world = World::with([dag("etl").task("a", &[]).with(|dag| dag.tasks[0].retries = 1)]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.fail("e1", "etl/r1/a/1");
    world.pass(secs(300));
    world.start("e1", "etl/r1/a/2");
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    world
}

#[test]
fn a_dag_goes_once_no_file_has_it_and_no_run_is_left() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    forget(&mut world, "ghost").refused(RefusalCode::DagNotFound, []);
    forget(&mut world, "etl").refused(RefusalCode::DagInUse, []);
    let mut world = vanished();
    forget(&mut world, "etl").refused(RefusalCode::DagInUse, []);
    world.succeed("e1", "etl/r1/a/2");
    forget(&mut world, "etl").refused(RefusalCode::DagInUse, []);
    world.delete("etl", "r1").is(["RunDeleted"]);
    forget(&mut world, "etl").is(["DagForgotten"]);
    assert!(world.namespace.dag(&dag_id("etl")).is_none());
    forget(&mut world, "etl").refused(RefusalCode::DagNotFound, []);
    world.delete("etl", "r1").refused(RefusalCode::DagNotFound, []);
    world.trigger_as("etl", "r1").refused(RefusalCode::DagNotFound, []);
    assert_eq!(world.settle(), Vec::<String>::new());
}

/// Numbers are not used twice, over a snapshot as well.
#[test]
fn a_dag_that_comes_back_goes_on_from_what_it_was() {
    for over_a_snapshot in [false, true] {
        let mut world = vanished();
        world.succeed("e1", "etl/r1/a/2");
        world.delete("etl", "r1");
        forget(&mut world, "etl");
        if over_a_snapshot {
            let bytes = world.namespace.to_snapshot();
            world.namespace = Namespace::from_snapshot(&bytes).expect("ours");
            assert_eq!(world.namespace.to_snapshot(), bytes);
        }
        world.read(&dag("etl").task("a", &[])).is(["DagRegistered etl v2"]);
        world.trigger_as("etl", "other");
        assert_eq!(world.settle(), ["TaskQueued a 3"], "no try of before is taken for this one");
        world
            .succeed("e1", "etl/other/a/1")
            .refused(RefusalCode::StaleReport, ["ReportRefused a 1 Succeeded: NotInFlight"]);
    }
}

#[test]
fn versions_that_a_run_has_or_gets_stay() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    for n in 2..=4 {
        world.read(&dag("etl").task("a", &[]).with(|dag| dag.max_active_tasks = n));
    }
    forget_versions(&mut world, 2).refused(RefusalCode::DagInUse, []);
    forget_versions(&mut world, 1).unchanged();
    world.start("e1", "etl/r1/a/1");
    world.succeed("e1", "etl/r1/a/1");
    forget_versions(&mut world, 5).refused(RefusalCode::DagInUse, []);
    forget_versions(&mut world, 4).is(["DagVersionsForgotten below 4"]);
    // A run that is over goes on with what it had: the log still has that.
    world.clear("etl", "r1", false).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
}

#[test]
fn what_is_yet_to_come_is_not_forgotten() {
    let mut world = World::new();
    let now = world.now;
    let history = |executors: Option<i64>, reports: Option<i64>| {
        let at = |off: Option<i64>| off.map(|off| now.plus(Micros(off)));
        CommandBody::ForgetHistory(HistoryForgotten {
            executors_left_before: at(executors),
            reports_refused_before: at(reports),
            ..HistoryForgotten::default()
        })
    };
    world.send(history(Some(1), None)).refused(RefusalCode::Invalid, []);
    world.send(history(None, Some(1))).refused(RefusalCode::Invalid, []);
    world.send(history(None, None)).unchanged();
    world.send(history(Some(0), Some(-1)));
    assert_eq!(world.log.len(), 1);
}

/// A run of a task that hands a value on and one after it, over.
fn handed_on(world: &mut World, run: &str) {
    world.trigger_as("etl", run);
    world.settle();
    world.start("e1", &format!("etl/{run}/a/1"));
    let value = Some(Payload::Inline("[1]".to_owned()));
    let value = XComValue { key: "return_value".to_owned(), value, length: None };
    world.report("e1", &format!("etl/{run}/a/1"), succeeded(vec![value]));
    world.settle();
    world.start("e1", &format!("etl/{run}/b/1"));
    world.succeed("e1", &format!("etl/{run}/b/1"));
}

fn forget_values(world: &mut World, before: Timestamp) -> Sent {
    world.send(CommandBody::ForgetHistory(HistoryForgotten {
        xcoms_of_runs_over_before: Some(before),
        ..HistoryForgotten::default()
    }))
}

/// Clears a task; what the fact says of values that are forgotten.
fn clear_one(world: &mut World, run: &str, task: &str) -> Option<Timestamp> {
    let ask = ClearTasks { task_ids: vec![task_id(task)], ..clearing("etl", run, false) };
    let sent = world.send(CommandBody::ClearTasks(ask));
    match &sent.records[0].facts[0] {
        Fact::RunCleared(f) => f.xcoms_kept_until,
        other => panic!("{other:?}"),
    }
}

/// Until when each value of a run was kept, where it is forgotten.
fn kept_until(world: &World, run: &str) -> Vec<Option<Timestamp>> {
    let key = run_key("etl", run);
    let values = world.namespace.xcoms(&key).map(|(.., seq)| seq);
    values.map(|seq| world.namespace.kept_until(&key, seq)).collect()
}

#[test]
fn values_of_a_run_that_was_over_for_long_are_forgotten_and_it_says_so_when_it_goes_on() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.join("e1");
    handed_on(&mut world, "old");
    let ended = world.now;
    world.pass(secs(100));
    handed_on(&mut world, "young");
    let age = secs(60);
    let before = |now: Timestamp| now.plus(Micros(-age.0));
    let now = world.now;
    forget_values(&mut world, before(now)).is(["HistoryForgotten"]);
    assert_eq!(clear_one(&mut world, "young", "b"), None, "it is not over for so long");
    assert_eq!(kept_until(&world, "young"), [None]);
    assert_eq!(clear_one(&mut world, "old", "b"), Some(ended.plus(age)));
    assert_eq!(kept_until(&world, "old"), [Some(ended.plus(age))]);
    // A run that goes on is not one that the next fact is about; what it handed on before stays forgotten.
    world.pass(secs(200));
    let now = world.now;
    forget_values(&mut world, now);
    assert_eq!(kept_until(&world, "young"), [None], "it runs");
    let bytes = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.namespace.to_snapshot(), bytes);
    assert_eq!(kept_until(&world, "old"), [Some(ended.plus(age))]);
}

/// What lapsed is the run's, whatever version it goes on with.
#[test]
fn a_run_that_goes_on_with_another_version_says_what_lapsed() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.join("e1");
    handed_on(&mut world, "r1");
    let ended = world.now;
    world.pass(secs(100));
    let now = world.now;
    forget_values(&mut world, now.plus(Micros(-secs(60).0)));
    world.read(&dag("etl").task("a", &[]).task("b", &["a"]).task("c", &["b"]));
    let latest = |tasks: &[&str]| ClearTasks {
        task_ids: tasks.iter().map(|it| task_id(it)).collect(),
        on_latest_version: true,
        ..clearing("etl", "r1", false)
    };
    let sent = world.send(CommandBody::ClearTasks(latest(&["b"])));
    let until = Some(ended.plus(secs(60)));
    let said = sent.records[0].facts.iter().find_map(|fact| match fact {
        Fact::RunCleared(f) => Some(f.xcoms_kept_until),
        _ => None,
    });
    assert_eq!(said, Some(until));
    assert_eq!(kept_until(&world, "r1"), [until]);
    // And it stays so with the next one.
    world.cancel("etl", "r1");
    world.read(&dag("etl").task("a", &[]).task("b", &["a"]).task("d", &["b"]));
    world.send(CommandBody::ClearTasks(latest(&["b"])));
    assert_eq!(kept_until(&world, "r1"), [until]);
}

#[test]
fn what_is_handed_on_anew_is_there() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.join("e1");
    handed_on(&mut world, "r1");
    world.pass(secs(100));
    let now = world.now;
    forget_values(&mut world, now);
    world.clear("etl", "r1", false);
    assert!(kept_until(&world, "r1").is_empty(), "the task that runs again has handed on nothing");
    world.settle();
    world.start("e1", "etl/r1/a/2");
    let value = Some(Payload::Inline("[2]".to_owned()));
    let value = XComValue { key: "return_value".to_owned(), value, length: None };
    world.report("e1", "etl/r1/a/2", succeeded(vec![value]));
    assert_eq!(kept_until(&world, "r1"), [None]);
}

/// Else a copy would run over nothing, or over no element at all, and succeed.
#[test]
fn how_many_elements_a_forgotten_value_has_is_known() {
    let over = |task: &mut TaskSpec| {
        task.is_mapped = true;
        task.expand = Some(Expand::Product { of: vec![Extent::Of { task: 0 }] });
    };
    let mut world = World::with([dag("etl").task("a", &[]).add("m", &["a"], over)]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    let value = Some(Payload::Inline("[1,2]".to_owned()));
    let value = XComValue { key: "return_value".to_owned(), value, length: Some(2) };
    world.report("e1", "etl/r1/a/1", succeeded(vec![value]));
    world.cancel("etl", "r1");
    world.pass(secs(100));
    let now = world.now;
    forget_values(&mut world, now);
    assert!(clear_one(&mut world, "r1", "m").is_some());
    assert_eq!(kept_until(&world, "r1").len(), 1);
    let queued = world.settle();
    assert_eq!(queued.iter().filter(|it| it.starts_with("TaskQueued m")).count(), 2, "{queued:?}");
}
