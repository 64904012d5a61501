//! What tasks keep for their next try: over which ends it stands, and when it is gone.
use std::collections::BTreeMap;

use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{Checkpoint, CheckpointFiles, Expand, MapIndex, TaskMark, TaskSpec};
use dagbok_protocol::{
    ClearTasks, CommandBody, MarkTasks, RefusalCode, ReportBody, TaskCopy,
    limits::{CHECKPOINT_PIECES, CHECKPOINT_VALUES_BYTES, LINEAGE_BYTES, PROGRESS_TEXT_BYTES},
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

#[test]
fn what_an_operator_says_of_its_data_is_told_within_its_bound() {
    let mut world = training(0);
    let lineage = |bytes: usize| ReportBody::Lineage { lineage: "x".repeat(bytes) };
    let sent = world.report("e1", "etl/r1/train/1", lineage(LINEAGE_BYTES));
    let dagbok_events::Fact::LineageTold(said) = &sent.records[0].facts[0] else {
        panic!("{:?}", sent.records)
    };
    assert_eq!(said.lineage.len(), LINEAGE_BYTES);
    let sent = world.report("e1", "etl/r1/train/1", lineage(LINEAGE_BYTES + 1));
    let why = sent.refused(RefusalCode::Invalid, []);
    assert!(why.contains("has 65537 bytes, and the limit is 65536"), "{why}");
}

/// A mapped group of prep → train, of three copies; all train, and the first two keep something.
fn group() -> World {
    let in_group = |task: &mut TaskSpec| {
        task.expand = Some(Expand::Literal { length: 3 });
        task.mapped_group = Some("g".to_owned());
    };
    let spec = dag("fan").add("prep", &[], in_group).add("train", &["prep"], |task| {
        in_group(task);
        task.retries = 1;
    });
    let mut world = World::with([spec]);
    world.trigger_as("fan", "r1");
    world.settle();
    for copy in 0..3 {
        world.succeed("e1", &format!("fan/r1/prep[{copy}]/1"));
    }
    world.settle();
    for copy in 0..3 {
        world.start("e1", &format!("fan/r1/train[{copy}]/1"));
    }
    for copy in 0..2 {
        keep(&mut world, &format!("fan/r1/train[{copy}]/1"), 7 + copy, &[]);
    }
    world
}

#[test]
fn a_clear_of_one_copy_takes_what_its_own_followers_keep_and_no_others() {
    let mut world = group();
    let run = run_key("fan", "r1");
    let copies = vec![TaskCopy { task_id: task_id("prep"), map_index: MapIndex(0) }];
    let ask = ClearTasks { copies, ..ClearTasks::of(run.dag_id, run.run_id) };
    world
        .send(CommandBody::ClearTasks(ask))
        .is(["TaskCleared prep[0]", "CheckpointDropped train[0]"]);
    for copy in 0..2 {
        world.fail("e1", &format!("fan/r1/train[{copy}]/1"));
    }
    world.succeed("e1", "fan/r1/prep[0]/2");
    world.pass(secs(300));
    assert_eq!(offered(&world, "fan/r1/train[0]/2"), None);
    let stands = Checkpoint { files: Some(files(8)), ..Checkpoint::default() };
    assert_eq!(offered(&world, "fan/r1/train[1]/2"), Some(stands));
}

#[test]
fn a_try_whose_input_is_made_anew_keeps_nothing_more_and_the_next_one_does() {
    let mut world = training(2);
    clear(&mut world, &["first"]).is(["TaskCleared first", "CheckpointDropped train"]);
    restart(&mut world);
    let sent = keep(&mut world, "etl/r1/train/1", 8, &[("step", Some("6"))]);
    assert!(sent.records.is_empty(), "it is of the input before: {:?}", sent.records);
    world.settle();
    world.succeed("e1", "etl/r1/first/2");
    keep(&mut world, "etl/r1/train/1", 9, &[]);
    world.fail("e1", "etl/r1/train/1");
    world.pass(secs(300));
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
    world.start("e1", "etl/r1/train/2");
    keep(&mut world, "etl/r1/train/2", 5, &[]);
    world.fail("e1", "etl/r1/train/2");
    world.pass(secs(300));
    let stands = Checkpoint { files: Some(files(5)), ..Checkpoint::default() };
    assert_eq!(offered(&world, "etl/r1/train/3"), Some(stands));
}

#[test]
fn a_try_that_has_kept_nothing_yet_is_told_from_later_ones_too() {
    let spec = dag("etl").task("first", &[]).add("train", &["first"], |task| task.retries = 1);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/first/1");
    world.settle();
    world.start("e1", "etl/r1/train/1");
    clear(&mut world, &["first"]).is(["TaskCleared first", "CheckpointDropped train"]);
    keep(&mut world, "etl/r1/train/1", 8, &[]);
    world.fail("e1", "etl/r1/train/1");
    world.settle();
    world.succeed("e1", "etl/r1/first/2");
    world.pass(secs(300));
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
}

#[test]
fn a_task_that_skips_itself_keeps_nothing() {
    let mut world = training(0);
    world.skip("e1", "etl/r1/train/1");
    world.settle();
    clear(&mut world, &["train"]);
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
}

#[test]
fn a_version_that_adds_something_before_a_task_takes_what_it_kept() {
    let mut world = training(0);
    world.fail("e1", "etl/r1/train/1");
    world.settle();
    let newer = dag("etl")
        .task("first", &[])
        .task("clean", &["first"])
        .task("train", &["clean"])
        .task("last", &["train"]);
    world.read(&newer);
    let ask = ClearTasks {
        task_ids: vec![task_id("train")],
        on_latest_version: true,
        ..clearing("etl", "r1", false)
    };
    world.send(CommandBody::ClearTasks(ask));
    world.settle();
    world.succeed("e1", "etl/r1/clean/2");
    world.settle();
    assert_eq!(offered(&world, "etl/r1/train/2"), None);
}

#[test]
fn more_than_a_checkpoint_may_be_is_refused_whoever_says_it() {
    let mut world = training(0);
    let (key, long) = ("etl/r1/train/1", "x".repeat(CHECKPOINT_VALUES_BYTES - 20));
    let sent = keep(&mut world, key, 0, &[("long", Some(&long))]);
    assert!(matches!(sent.outcome, Outcome::Accepted { .. }), "{:?}", sent.outcome);
    // With the key `step` and its 5.
    let sent = keep(&mut world, key, 0, &[("more", Some("1234567"))]);
    assert!(matches!(sent.outcome, Outcome::Accepted { .. }), "{:?}", sent.outcome);
    let sent = keep(&mut world, key, 0, &[("more", Some("12345678"))]);
    let why = sent.refused(RefusalCode::Invalid, []);
    assert!(why.contains("come to 65537 bytes, and the limit is 65536"), "{why}");
    // What is gone makes room.
    let sent = keep(&mut world, key, 0, &[("long", None), ("more", Some("12"))]);
    assert!(matches!(sent.outcome, Outcome::Accepted { .. }), "{:?}", sent.outcome);
    for (pieces, fits) in [(CHECKPOINT_PIECES, true), (CHECKPOINT_PIECES + 1, false)] {
        let files = CheckpointFiles { pieces: vec![digest(1); pieces], files: 1, bytes: 1 };
        let (files, values) = (Some(files), BTreeMap::new());
        let sent = world.report("e1", key, ReportBody::Checkpoint { files, values });
        assert_eq!(matches!(sent.outcome, Outcome::Accepted { .. }), fits, "{pieces} pieces");
    }
}
