//! Runs that are over and go on with the newest version of their DAG.
use dagbok_domain::{namespace::Outcome, run::Ending};
use dagbok_events::{DagSpec, Expand, Fact, MapIndex, TaskWas, TriggerRule};
use dagbok_protocol::{
    ClearTasks, ClearedTask, CommandBody, NoteTask, OnRunning, RefusalCode, TaskCopy,
    limits::{NOTE_BYTES, NOTED_AT_ONCE},
};

use super::support::{
    DagExt as _, Sent, World, clearing, dag, dag_id, digest, file_of, run_key, secs, task_id,
};

fn latest(only_failed: bool) -> ClearTasks {
    ClearTasks { on_latest_version: true, ..clearing("etl", "r1", only_failed) }
}

fn clear(world: &mut World, ask: ClearTasks) -> Sent {
    world.send(CommandBody::ClearTasks(ask))
}

/// a → b → c, of which b failed.
fn failed() -> World {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"]).task("c", &["b"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    world.settle();
    world.fail("e1", "etl/r1/b/1").is([
        "TryFailed b 1 retry never",
        "TaskRuledOut c UpstreamFailed",
        "RunFailed c",
    ]);
    world
}

/// a → new → b → d: c is gone.
fn second() -> DagSpec {
    dag("etl").task("a", &[]).task("new", &["a"]).task("b", &["new"]).task("d", &["b"])
}

fn mapped(length: u32) -> DagSpec {
    dag("etl").add("m", &[], |task| {
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length }));
    })
}

/// Runs the copies of `m`, of which the last fails.
fn run_copies(world: &mut World, number: u16, copies: std::ops::Range<u32>) {
    world.settle();
    let last = copies.end - 1;
    for copy in copies {
        let key = format!("etl/r1/m[{copy}]/{number}");
        if copy == last {
            world.fail("e1", &key)
        } else {
            world.succeed("e1", &key)
        };
    }
}

#[test]
fn what_is_kept_stays_what_is_new_runs_and_what_is_gone_is_removed() {
    let mut world = failed();
    world.read(&second());
    let sent = clear(&mut world, latest(true));
    sent.is(["RunVersionChanged v2 +new +d -c", "RunCleared", "TaskCleared b"]);
    let Fact::RunVersionChanged(f) = &sent.records[0].facts[0] else { panic!("no version") };
    assert_eq!((f.was, f.removed[0].was[0].state), (1, TaskWas::UpstreamFailed));
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued new 1"], "a is not run again");
    world.succeed("e1", "etl/r1/new/1");
    assert_eq!(world.settle(), ["TaskQueued b 2"], "b waits for what is new before it");
    world.succeed("e1", "etl/r1/b/2");
    assert_eq!(world.settle(), ["TaskQueued d 1"]);
    world.succeed("e1", "etl/r1/d/1").is(["TrySucceeded d 1", "RunSucceeded"]);
    assert_eq!(world.namespace.ending(&run_key("etl", "r1")), Some(Ending::Success));
    // What is gone has no part in it any more.
    let ask = ClearTasks { task_ids: vec![task_id("c")], ..clearing("etl", "r1", false) };
    let sent = clear(&mut world, ask);
    let why = sent.refused(RefusalCode::TaskNotFound, []);
    assert!(why.contains("is removed") && why.contains("version 2"), "{why}");
}

#[test]
fn rules_and_retries_are_those_of_the_new_version() {
    let mut world = failed();
    let again = dag("etl").task("a", &[]).add("b", &["a"], |task| task.retries = 1).add(
        "c",
        &["b"],
        |task| task.trigger_rule = TriggerRule::AllDone,
    );
    world.read(&again);
    clear(&mut world, latest(true)).is([
        "RunVersionChanged v2",
        "RunCleared",
        "TaskCleared b",
        "TaskCleared c",
    ]);
    world.settle();
    world.fail("e1", "etl/r1/b/2");
    assert_eq!(world.pass(secs(300)), ["TaskQueued b 3"]);
    world.fail("e1", "etl/r1/b/3");
    assert_eq!(world.settle(), ["TaskQueued c 1"]);
    world.succeed("e1", "etl/r1/c/1").is(["TrySucceeded c 1", "RunSucceeded"]);
}

#[test]
fn what_would_run_is_told_as_it_then_does() {
    let mut world = failed();
    world.read(&second());
    let sent = clear(&mut world, ClearTasks { dry_run: true, ..latest(false) });
    let Outcome::WouldClear { run_goes_on, tasks, version } = &sent.outcome else {
        panic!("{:?}", sent.outcome)
    };
    let names = |tasks: &[ClearedTask]| -> Vec<String> {
        tasks.iter().map(|it| it.task_id.to_string()).collect()
    };
    let version = version.as_deref().expect("another version");
    assert!(*run_goes_on);
    assert_eq!((version.from, version.to), (1, 2));
    assert_eq!(
        (names(tasks), names(&version.added)),
        (vec!["a".into(), "b".into()], vec!["new".into(), "d".into()])
    );
    assert_eq!(names(&version.removed), ["c"]);
    assert!(sent.records.is_empty());
    let sent = clear(&mut world, latest(false));
    sent.is(["RunVersionChanged v2 +new +d -c", "RunCleared", "TaskCleared a", "TaskCleared b"]);
}

#[test]
fn a_run_that_has_the_newest_version_is_cleared_as_ever() {
    let mut world = failed();
    clear(&mut world, latest(true)).is(["RunCleared", "TaskCleared b", "TaskCleared c"]);
}

#[test]
fn newer_code_alone_is_taken_too() {
    let mut world = failed();
    world.send(CommandBody::PublishBundle { bundle: digest(77), folder: None });
    let sent = clear(&mut world, latest(true));
    sent.is(["RunVersionChanged v1", "RunCleared", "TaskCleared b", "TaskCleared c"]);
    world.settle();
    let queued = world.namespace.queued_tries()[0];
    assert_eq!(world.namespace.work_item(queued).expect("offered").bundle, digest(77));
}

#[test]
fn a_run_that_is_not_over_keeps_its_version() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.read(&second());
    let ask = ClearTasks { running: OnRunning::Restart, ..latest(false) };
    let sent = clear(&mut world, ask);
    let why = sent.refused(RefusalCode::RunActive, []);
    assert!(why.contains("is not over") && why.contains("version 1"), "{why}");
}

#[test]
fn nothing_goes_on_with_a_dag_that_is_gone() {
    let mut world = failed();
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    clear(&mut world, latest(true)).refused(RefusalCode::DagNotFound, []);
}

#[test]
fn a_version_that_only_takes_tasks_out_lets_nothing_run() {
    let mut world = failed();
    world.read(&dag("etl").task("a", &[]));
    clear(&mut world, latest(true)).unchanged();
    clear(&mut world, latest(false)).is([
        "RunVersionChanged v2 -b -c",
        "RunCleared",
        "TaskCleared a",
    ]);
}

#[test]
fn what_is_new_runs_though_nothing_is_to_be_cleared() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/a/1");
    world.read(&dag("etl").task("a", &[]).task("z", &["a"]));
    clear(&mut world, latest(true)).is(["RunVersionChanged v2 +z", "RunCleared"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued z 1"]);
}

#[test]
fn what_can_not_run_under_the_new_rules_is_ruled_out_at_once() {
    let mut world = failed();
    world.read(&dag("etl").task("a", &[]).task("b", &["a"]).task("z", &["b"]));
    let ask = ClearTasks { task_ids: vec![task_id("z")], ..latest(false) };
    clear(&mut world, ask).is([
        "RunVersionChanged v2 +z -c",
        "RunCleared",
        "TaskRuledOut z UpstreamFailed",
        "RunFailed z",
    ]);
}

#[test]
fn what_was_ruled_out_below_what_is_new_is_judged_anew() {
    let mut world = failed();
    // c waits for nothing that failed any more.
    world
        .read(&dag("etl").task("a", &[]).task("b", &["a"]).task("new", &["a"]).task("c", &["new"]));
    let ask = ClearTasks { task_ids: vec![task_id("a")], ..latest(false) };
    clear(&mut world, ask).is([
        "RunVersionChanged v2 +new",
        "RunCleared",
        "TaskCleared a",
        "TaskCleared c",
    ]);
}

#[test]
fn a_task_that_comes_back_goes_on_from_its_tries() {
    let mut world = failed();
    world.read(&dag("etl").task("a", &[]));
    clear(&mut world, latest(false));
    world.settle();
    world.succeed("e1", "etl/r1/a/2").is(["TrySucceeded a 2", "RunSucceeded"]);
    world.read(&dag("etl").task("a", &[]).task("b", &["a"]));
    clear(&mut world, latest(true)).is(["RunVersionChanged v3 +b", "RunCleared"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued b 2"]);
    // A word of the old try is no word of this one.
    let sent = world.succeed("e1", "etl/r1/b/1");
    let facts = ["ReportRefused b 1 Succeeded: NotInFlight"];
    assert_eq!(super::support::brief_all(&sent.records), facts);
    world.succeed("e1", "etl/r1/b/2").is(["TrySucceeded b 2", "RunSucceeded"]);
    let sent = world.delete("etl", "r1");
    let Fact::RunDeleted(f) = &sent.records[0].facts[0] else { panic!("not deleted") };
    assert_eq!(f.tries, 2);
}

#[test]
fn a_task_that_is_mapped_from_now_on_begins_anew() {
    let mut world = World::with([dag("etl").task("m", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/m/1");
    world.read(&mapped(2));
    clear(&mut world, latest(true)).is(["RunVersionChanged v2 +m -m", "RunCleared"]);
    let expected = ["RunStarted", "TaskExpanded m 2", "TaskQueued m 2", "TaskQueued m 2"];
    assert_eq!(world.settle(), expected);
    world.succeed("e1", "etl/r1/m[0]/2");
    world.succeed("e1", "etl/r1/m[1]/2").is(["TrySucceeded m 2", "RunSucceeded"]);
    world.read(&dag("etl").task("m", &[]));
    clear(&mut world, latest(true)).is(["RunVersionChanged v3 +m -m[0..=1]", "RunCleared"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued m 3"]);
}

#[test]
fn copies_come_and_go_with_what_stands_in_the_file() {
    let mut world = World::with([mapped(2)]);
    world.trigger_as("etl", "r1");
    run_copies(&mut world, 1, 0..2);
    world.read(&mapped(4));
    let sent = clear(&mut world, ClearTasks { dry_run: true, ..latest(true) });
    let Outcome::WouldClear { version: Some(version), .. } = &sent.outcome else {
        panic!("{:?}", sent.outcome)
    };
    let added = &version.added[0];
    assert_eq!((added.map_index, added.further), (MapIndex(2), 1));
    let sent = clear(&mut world, latest(true));
    sent.is(["RunVersionChanged v2", "TaskExpanded m 4", "RunCleared", "TaskCleared m[1]"]);
    assert_eq!(
        world.settle(),
        ["RunStarted", "TaskQueued m 2", "TaskQueued m 1", "TaskQueued m 1"]
    );
    for key in ["m[1]/2", "m[2]/1", "m[3]/1"] {
        world.succeed("e1", &format!("etl/r1/{key}"));
    }
    assert!(!world.is_active("etl", "r1"));
    world.read(&mapped(1));
    let ask = ClearTasks { copies: vec![copy("m", 0)], ..latest(false) };
    let sent = clear(&mut world, ask);
    sent.is([
        "RunVersionChanged v3",
        "TaskRuledOut m[1..=3] Removed",
        "RunCleared",
        "TaskCleared m[0]",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued m 2"]);
    world.succeed("e1", "etl/r1/m[0]/2").is(["TrySucceeded m 2", "RunSucceeded"]);
    // Those that are there again run, and go on from their tries.
    world.read(&mapped(3));
    clear(&mut world, latest(true)).is([
        "RunVersionChanged v4",
        "RunCleared",
        "TaskCleared m[1..=2]",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued m 3", "TaskQueued m 2"]);
}

#[test]
fn copies_go_where_the_file_has_nothing_to_map_over_any_more() {
    let mut world = World::with([mapped(2)]);
    world.trigger_as("etl", "r1");
    run_copies(&mut world, 1, 0..2);
    world.read(&mapped(0));
    let sent = clear(&mut world, latest(false));
    let Some(Fact::RunVersionChanged(f)) = sent.records[0].facts.first() else { panic!() };
    assert_eq!(f.added, [task_id("m")]);
    let [gone] = &f.removed[..] else { panic!("{:?}", f.removed) };
    assert_eq!((gone.map_index, gone.further), (MapIndex(0), 1));
}

fn copy(task: &str, map_index: i32) -> TaskCopy {
    TaskCopy { task_id: task_id(task), map_index: MapIndex(map_index) }
}

#[test]
fn what_a_branch_decided_against_stays_so_by_name() {
    let spec = |front: bool| {
        let spec = dag("etl");
        let spec = if front { spec.task("front", &[]) } else { spec };
        spec.task("branch", &[]).task("left", &["branch"]).task("right", &["branch"])
    };
    let mut world = World::with([spec(false)]);
    world.trigger_as("etl", "r1");
    world.settle();
    let mut body = super::support::succeeded(vec![]);
    if let dagbok_protocol::ReportBody::Succeeded { skips, .. } = &mut body {
        *skips = vec![task_id("right")];
    }
    world.report("e1", "etl/r1/branch/1", body);
    world.settle();
    world.fail("e1", "etl/r1/left/1");
    world.read(&spec(true));
    let ask = ClearTasks { task_ids: vec![task_id("left"), task_id("right")], ..latest(false) };
    clear(&mut world, ask).is([
        "RunVersionChanged v2 +front",
        "RunCleared",
        "TaskCleared left",
        "TaskCleared right",
        "TaskRuledOut right Skipped",
    ]);
}

#[test]
fn a_snapshot_of_a_run_that_went_on_is_the_run() {
    let mut world = failed();
    world.read(&second());
    clear(&mut world, latest(true));
    world.settle();
    let bytes = world.namespace.to_snapshot();
    let mut again = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(again.to_snapshot(), bytes);
    std::mem::swap(&mut world.namespace, &mut again);
    world.succeed("e1", "etl/r1/new/1");
    assert_eq!(world.settle(), ["TaskQueued b 2"]);
    // Nothing runs version 1 any more.
    let dag = world.namespace.dag(&dag_id("etl")).expect("known");
    assert!(dag.version(1).is_none());
}

#[test]
fn a_note_on_a_task_is_another_with_the_one_before() {
    let mut world = failed();
    let note = |world: &mut World, text: Option<&str>, task: &str| {
        world.send(CommandBody::NoteTask(NoteTask {
            dag_id: dag_id("etl"),
            run_id: run_key("etl", "r1").run_id,
            task_id: task_id(task),
            map_index: None,
            note: text.map(str::to_owned),
        }))
    };
    note(&mut world, Some("first"), "b").is(["TaskNoted b first"]);
    note(&mut world, Some("first"), "b").unchanged();
    let sent = note(&mut world, None, "b");
    sent.is(["TaskNoted b -"]);
    let Fact::TaskNoted(f) = &sent.records[0].facts[0] else { panic!("no note") };
    assert_eq!((f.note.as_deref(), f.was.as_deref()), (None, Some("first")));
    note(&mut world, Some("x"), "nobody").refused(RefusalCode::TaskNotFound, []);
    note(&mut world, Some(&"x".repeat(NOTE_BYTES + 1)), "b").refused(RefusalCode::Invalid, []);
    assert_eq!(note(&mut world, Some(&"x".repeat(NOTE_BYTES)), "b").records.len(), 1);
    // A run that goes on with another version keeps what was noted of its tasks, those that are gone too.
    note(&mut world, Some("of a"), "a").is(["TaskNoted a of a"]);
    note(&mut world, Some("of c"), "c").is(["TaskNoted c of c"]);
    world.read(&second());
    clear(&mut world, latest(true));
    note(&mut world, Some("of a"), "a").unchanged();
    note(&mut world, Some("of c"), "c").refused(RefusalCode::TaskNotFound, []);
}

#[test]
fn a_mapped_task_is_noted_whole_or_copy_by_copy() {
    let mut world = World::with([mapped(2)]);
    world.trigger_as("etl", "r1");
    world.settle();
    let note = |world: &mut World, map_index: Option<i32>| {
        world.send(CommandBody::NoteTask(NoteTask {
            dag_id: dag_id("etl"),
            run_id: run_key("etl", "r1").run_id,
            task_id: task_id("m"),
            map_index: map_index.map(MapIndex),
            note: Some("seen".to_owned()),
        }))
    };
    note(&mut world, Some(1)).is(["TaskNoted m[1] seen"]);
    note(&mut world, None).is(["TaskNoted m[0] seen"]);
    note(&mut world, Some(7)).refused(RefusalCode::TaskNotFound, []);
    let mut of_many = |copies: usize, run_id: &str, map_index: Option<i32>| {
        let file = file_of(&mapped(u32::try_from(copies).expect("some")));
        world.read_file(&file);
        world.trigger_as("etl", run_id);
        world.settle();
        world.send(CommandBody::NoteTask(NoteTask {
            dag_id: dag_id("etl"),
            run_id: run_key("etl", run_id).run_id,
            task_id: task_id("m"),
            map_index: map_index.map(MapIndex),
            note: Some("seen".to_owned()),
        }))
    };
    of_many(NOTED_AT_ONCE + 1, "r2", None).refused(RefusalCode::Invalid, []);
    of_many(NOTED_AT_ONCE + 1, "r3", Some(7)).is(["TaskNoted m[7] seen"]);
    let whole = of_many(NOTED_AT_ONCE, "r4", None);
    assert_eq!(whole.records[0].facts.len(), NOTED_AT_ONCE);
}
