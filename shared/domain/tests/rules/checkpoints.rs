//! What tasks keep for their next try: over which ends it stands, and when it is gone.
use std::collections::BTreeMap;

use dagbok_domain::namespace::Namespace;
use dagbok_events::{Checkpoint, CheckpointFiles, TaskMark};
use dagbok_protocol::{
    ClearTasks, CommandBody, MarkTasks, RefusalCode, ReportBody, limits::PROGRESS_TEXT_BYTES,
};

use super::support::{
    DagExt as _, Sent, World, clearing, dag, digest, run_key, secs, task_id, try_key,
};

fn files(n: u64) -> CheckpointFiles {
    CheckpointFiles { pieces: vec![digest(n)], files: 1, bytes: n }
}

fn keep(world: &mut World, key: &str, n: u64, values: &[(&str, Option<&str>)]) -> Sent {
    let values: BTreeMap<String, Option<String>> =
        values.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
    let files = (n > 0).then(|| files(n));
    world.report("e1", key, ReportBody::Checkpoint { files, values })
}

/// What the next try of a task gets.
fn offered(world: &World, key: &str) -> Option<Checkpoint> {
    let key = try_key(key);
    let run = run_key(key.dag_id.as_str(), key.run_id.as_str());
    let item = world.namespace.work_item_of(&run, &key.task_id, key.map_index)?;
    assert_eq!(item.key, key);
    item.checkpoint.map(|kept| *kept)
}

fn restart(world: &mut World) {
    let snapshot = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&snapshot).expect("ours");
    assert_eq!(world.namespace.to_snapshot(), snapshot);
}

/// first → train → last; train runs, and keeps something.
fn training(retries: u16) -> World {
    let spec = dag("etl")
        .task("first", &[])
        .add("train", &["first"], |task| task.retries = retries)
        .task("last", &["train"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/first/1");
    world.settle();
    world.start("e1", "etl/r1/train/1");
    keep(&mut world, "etl/r1/train/1", 7, &[("step", Some("4")), ("best", Some("1"))]);
    keep(&mut world, "etl/r1/train/1", 0, &[("step", Some("5")), ("best", None)]);
    world
}

fn of_step_5() -> Checkpoint {
    let values = BTreeMap::from([("step".to_owned(), "5".to_owned())]);
    Checkpoint { files: Some(files(7)), values }
}

fn clear(world: &mut World, names: &[&str]) -> Sent {
    let task_ids = names.iter().map(|name| task_id(name)).collect();
    world.send(CommandBody::ClearTasks(ClearTasks { task_ids, ..clearing("etl", "r1", false) }))
}

#[test]
fn the_next_try_gets_what_the_last_one_kept_over_restarts_of_the_scheduler() {
    let mut world = training(1);
    restart(&mut world);
    world.fail("e1", "etl/r1/train/1");
    world.pass(secs(300));
    assert_eq!(offered(&world, "etl/r1/train/2"), Some(of_step_5()));
    let sent = keep(&mut world, "etl/r1/train/1", 8, &[]);
    sent.refused(RefusalCode::StaleReport, ["ReportRefused train 1 Checkpoint: NotInFlight"]);
    assert_eq!(
        offered(&world, "etl/r1/train/2"),
        Some(of_step_5()),
        "whoever held it says no more"
    );
}

#[test]
fn a_task_that_is_done_well_keeps_nothing() {
    let mut world = training(0);
    world.succeed("e1", "etl/r1/train/1");
    world.settle();
    clear(&mut world, &["train"]);
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
}

#[test]
fn a_clear_of_what_failed_goes_on_unless_something_before_it_runs_again() {
    let mut world = training(0);
    world.fail("e1", "etl/r1/train/1");
    world.settle();
    clear(&mut world, &["train"]);
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/2"), Some(of_step_5()));
    world.start("e1", "etl/r1/train/2");
    world.fail("e1", "etl/r1/train/2");
    world.settle();
    clear(&mut world, &["first"]).is([
        "RunCleared",
        "TaskCleared first",
        "CheckpointDropped train",
    ]);
    clear(&mut world, &["train"]);
    world.settle();
    world.succeed("e1", "etl/r1/first/2");
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/3"), None, "its input is another one");
}

#[test]
fn a_task_that_is_marked_and_cleared_begins_anew() {
    let mut world = training(0);
    let key = run_key("etl", "r1");
    world.send(CommandBody::MarkTasks(MarkTasks {
        dag_id: key.dag_id,
        run_id: key.run_id,
        task_ids: vec![task_id("train")],
        copies: vec![],
        state: TaskMark::Failed,
        upstream: false,
        downstream: false,
        dry_run: false,
    }));
    world.settle();
    clear(&mut world, &["train"]);
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
}

#[test]
fn progress_is_told_within_its_bounds() {
    let mut world = training(0);
    let text = "ö".repeat(PROGRESS_TEXT_BYTES);
    let sent = world.report("e1", "etl/r1/train/1", ReportBody::Progress { done: 20_000, text });
    let dagbok_events::Fact::TryProgressed(said) = &sent.records[0].facts[0] else {
        panic!("{:?}", sent.records)
    };
    assert_eq!(said.done, 10_000);
    assert!(said.text.len() <= PROGRESS_TEXT_BYTES, "{} bytes", said.text.len());
}
