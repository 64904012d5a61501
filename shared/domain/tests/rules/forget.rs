//! What may be forgotten, and what must not be used again of it.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{HistoryForgotten, Micros};
use dagbok_protocol::{CommandBody, RefusalCode};

use crate::support::{DagExt as _, Sent, World, dag, dag_id, secs};

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
            backfills_over_before: None,
        })
    };
    world.send(history(Some(1), None)).refused(RefusalCode::Invalid, []);
    world.send(history(None, Some(1))).refused(RefusalCode::Invalid, []);
    world.send(history(None, None)).unchanged();
    world.send(history(Some(0), Some(-1)));
    assert_eq!(world.log.len(), 1);
}
