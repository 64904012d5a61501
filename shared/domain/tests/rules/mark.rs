//! Marking tasks and runs, clearing what runs, notes: each with what was before.
use dagbok_domain::{namespace::Outcome, run::Ending};
use dagbok_events::{
    Expand, Fact, MapIndex, Record, RunMark, RunWas, TaskMark, TaskWas, TasksWere, TriggerRule,
};
use dagbok_protocol::{ClearTasks, CommandBody, MarkTasks, OnRunning, RefusalCode, TaskCopy};

use super::support::{DagExt as _, Sent, World, clearing, dag, dag_id, run_key, task_id};

fn marking(tasks: &[&str], state: TaskMark) -> MarkTasks {
    let key = run_key("etl", "r1");
    MarkTasks {
        dag_id: key.dag_id,
        run_id: key.run_id,
        task_ids: tasks.iter().map(|name| task_id(name)).collect(),
        copies: vec![],
        state,
        upstream: false,
        downstream: false,
        dry_run: false,
    }
}

fn mark(world: &mut World, tasks: &[&str], state: TaskMark) -> Sent {
    world.send(CommandBody::MarkTasks(marking(tasks, state)))
}

fn mark_run(world: &mut World, state: RunMark) -> Sent {
    let key = run_key("etl", "r1");
    world.send(CommandBody::MarkRun { dag_id: key.dag_id, run_id: key.run_id, state })
}

fn ending(world: &World) -> Option<Ending> {
    world.namespace.ending(&run_key("etl", "r1"))
}

/// a → b → c; a runs.
fn running() -> World {
    let spec = dag("etl").task("a", &[]).task("b", &["a"]).task("c", &["b"]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world
}

/// The same; a failed.
fn failed() -> World {
    let mut world = running();
    world.fail("e1", "etl/r1/a/1");
    assert_eq!(ending(&world), Some(Ending::Failed));
    world
}

fn was(record: &Record) -> Vec<Vec<TasksWere>> {
    let of = |fact: &Fact| match fact {
        Fact::TaskMarked(f) => Some(f.was.clone()),
        Fact::TaskCleared(f) => Some(f.was.clone()),
        _ => None,
    };
    record.facts.iter().filter_map(of).collect()
}

#[test]
fn a_failed_task_marked_as_success_lets_what_it_ruled_out_run() {
    let mut world = failed();
    let sent = mark(&mut world, &["a"], TaskMark::Success);
    sent.is(["RunCleared", "TaskMarked a success", "TaskCleared b", "TaskCleared c"]);
    let were = |state| vec![TasksWere { state, count: 1 }];
    let (ruled_out, failed) = (TaskWas::UpstreamFailed, TaskWas::Failed);
    assert_eq!(was(&sent.records[0]), [were(failed), were(ruled_out), were(ruled_out)]);
    assert!(
        matches!(&sent.records[0].facts[0], Fact::RunCleared(f) if f.was == Some(RunWas::Failed))
    );
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued b 1"]);
}

#[test]
fn a_run_of_which_nothing_is_left_to_do_is_over_anew_in_the_same_record() {
    let mut world = failed();
    mark(&mut world, &["a", "b", "c"], TaskMark::Success).is([
        "RunCleared",
        "TaskMarked a success",
        "TaskMarked b success",
        "TaskMarked c success",
        "RunSucceeded",
    ]);
    assert_eq!(ending(&world), Some(Ending::Success));
    assert_eq!(world.settle(), [""; 0]);
    mark(&mut world, &["c"], TaskMark::Failed).is([
        "RunCleared",
        "TaskMarked c failed",
        "RunFailed c",
    ]);
    assert_eq!(ending(&world), Some(Ending::Failed));
    mark(&mut world, &["c"], TaskMark::Failed).unchanged();
}

#[test]
fn a_task_that_runs_is_ended_and_its_run_goes_on() {
    let mut world = running();
    mark(&mut world, &["a"], TaskMark::Success).is(["TryCancelled a 1", "TaskMarked a success"]);
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
    world
        .succeed("e1", "etl/r1/a/1")
        .refused(RefusalCode::StaleReport, ["ReportRefused a 1 Succeeded: NotInFlight"]);
}

#[test]
fn what_is_marked_as_failed_rules_out_what_waits_for_it() {
    let mut world = running();
    mark(&mut world, &["a"], TaskMark::Failed).is([
        "TryCancelled a 1",
        "TaskMarked a failed",
        "TaskRuledOut b UpstreamFailed",
        "TaskRuledOut c UpstreamFailed",
        "RunFailed c",
    ]);
}

#[test]
fn what_ran_and_failed_below_runs_again_and_a_success_stays() {
    let rule = |task: &mut dagbok_events::TaskSpec| task.trigger_rule = TriggerRule::AllDone;
    let spec = dag("etl").task("a", &[]).add("b", &["a"], rule).add("c", &["a"], rule);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    world.settle();
    world.fail("e1", "etl/r1/b/1");
    world.succeed("e1", "etl/r1/c/1");
    mark(&mut world, &["a"], TaskMark::Success).is([
        "RunCleared",
        "TaskMarked a success",
        "TaskCleared b",
    ]);
}

#[test]
fn relatives_are_marked_too_and_only_told_where_only_asked() {
    let mut world = failed();
    let ask = MarkTasks { upstream: true, downstream: true, ..marking(&["b"], TaskMark::Skipped) };
    let sent = world.send(CommandBody::MarkTasks(MarkTasks { dry_run: true, ..ask.clone() }));
    assert!(sent.records.is_empty());
    let Outcome::WouldMark { run_goes_on: true, tasks, cleared } = sent.outcome else {
        panic!("{:?}", sent.outcome)
    };
    let names: Vec<&str> = tasks.iter().map(|it| it.task_id.as_str()).collect();
    assert_eq!((names, cleared), (vec!["a", "b", "c"], vec![]));
    world.send(CommandBody::MarkTasks(ask)).is([
        "RunCleared",
        "TaskMarked a skipped",
        "TaskMarked b skipped",
        "TaskMarked c skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn what_is_not_there_can_not_be_marked() {
    let mut world = failed();
    mark(&mut world, &["x"], TaskMark::Success).refused(RefusalCode::TaskNotFound, []);
    mark(&mut world, &[], TaskMark::Success).refused(RefusalCode::Invalid, []);
    let copies = vec![TaskCopy { task_id: task_id("a"), map_index: MapIndex(3) }];
    let ask = MarkTasks { copies, ..marking(&[], TaskMark::Success) };
    world.send(CommandBody::MarkTasks(ask)).refused(RefusalCode::TaskNotFound, []);
}

#[test]
fn a_run_marked_as_success_ends_what_runs_as_that_and_skips_the_rest() {
    let mut world = running();
    mark_run(&mut world, RunMark::Success).is([
        "RunMarked success",
        "TryCancelled a 1",
        "TaskMarked a success",
        "TaskRuledOut b Skipped",
        "TaskRuledOut c Skipped",
    ]);
    assert_eq!(ending(&world), Some(Ending::Success));
    assert_eq!(world.settle(), [""; 0]);
}

#[test]
fn a_run_marked_as_success_tears_down_first() {
    let spec = dag("etl").add("up", &[], |task| task.is_setup = true).task("job", &["up"]).add(
        "down",
        &["up", "job"],
        |task| {
            task.is_teardown = true;
            task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        },
    );
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/up/1");
    world.settle();
    world.start("e1", "etl/r1/job/1");
    mark_run(&mut world, RunMark::Success).is([
        "RunMarked success teardowns",
        "TryCancelled job 1",
        "TaskMarked job success",
    ]);
    let frozen = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&frozen).unwrap();
    assert_eq!(world.settle(), ["TaskQueued down 1"]);
    world.succeed("e1", "etl/r1/down/1").is(["TrySucceeded down 1", "RunSucceeded"]);
}

/// up (a setup) → job → after → down (its teardown); job runs.
fn torn_down() -> World {
    let spec = dag("etl")
        .add("up", &[], |task| task.is_setup = true)
        .task("job", &["up"])
        .task("after", &["job"])
        .add("down", &["up", "after"], |task| {
            task.is_teardown = true;
            task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        });
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.succeed("e1", "etl/r1/up/1");
    world.settle();
    world.start("e1", "etl/r1/job/1");
    world
}

/// The tasks that a record marks, and those that it clears.
fn marked_and_cleared(sent: &Sent) -> (Vec<(&str, i32, u32)>, Vec<&str>) {
    let (mut marked, mut cleared) = (Vec::new(), Vec::new());
    for fact in sent.records.iter().flat_map(|record| &record.facts) {
        match fact {
            Fact::TaskMarked(f) => marked.push((f.task_id.as_str(), f.map_index.0, f.further)),
            Fact::TaskCleared(f) => cleared.push(f.task_id.as_str()),
            _ => {}
        }
    }
    (marked, cleared)
}

#[test]
fn what_is_downstream_is_marked_but_for_teardowns() {
    let mut world = torn_down();
    let ask = MarkTasks { downstream: true, ..marking(&["job"], TaskMark::Success) };
    let sent = world.send(CommandBody::MarkTasks(ask));
    assert_eq!(marked_and_cleared(&sent), (vec![("job", -1, 0), ("after", -1, 0)], vec![]));
    assert_eq!(world.settle(), ["TaskQueued down 1"]);
}

#[test]
fn a_mark_in_a_run_that_only_tears_down_lets_nothing_else_run() {
    let mut world = torn_down();
    let key = run_key("etl", "r1");
    world.send(CommandBody::CancelRun { dag_id: key.dag_id, run_id: key.run_id });
    let sent = mark(&mut world, &["job"], TaskMark::Success);
    assert_eq!(marked_and_cleared(&sent), (vec![("job", -1, 0)], vec![]));
    assert_eq!(world.settle(), ["TaskQueued down 1"]);
}

#[test]
fn what_stands_so_already_would_let_nothing_go_on() {
    let mut world = failed();
    let ask = MarkTasks { dry_run: true, ..marking(&["a"], TaskMark::Failed) };
    let sent = world.send(CommandBody::MarkTasks(ask));
    let Outcome::WouldMark { run_goes_on: false, tasks, .. } = sent.outcome else {
        panic!("{:?}", sent.outcome)
    };
    assert_eq!(tasks, []);
    // And of a run that is called otherwise the fact says how it was.
    let sent = mark_run(&mut world, RunMark::Success);
    let Some(Fact::RunMarked(f)) = sent.records[0].facts.first() else { panic!() };
    assert_eq!(f.was, RunWas::Failed);
}

#[test]
fn copies_that_are_removed_are_not_marked() {
    let mapped = |length| {
        dag("etl").add("m", &[], |task| {
            (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length }));
        })
    };
    let mut world = World::with([mapped(3)]);
    world.trigger_as("etl", "r1");
    world.settle();
    (0..3).for_each(|n| drop(world.succeed("e1", &format!("etl/r1/m[{n}]/1"))));
    world.read(&mapped(1));
    let ask = ClearTasks {
        on_latest_version: true,
        copies: vec![TaskCopy { task_id: task_id("m"), map_index: MapIndex(0) }],
        ..clearing("etl", "r1", false)
    };
    world.send(CommandBody::ClearTasks(ask));
    world.settle();
    world.succeed("e1", "etl/r1/m[0]/2");
    let sent = mark(&mut world, &["m"], TaskMark::Failed);
    assert_eq!(marked_and_cleared(&sent), (vec![("m", 0, 0)], vec![]));
}

#[test]
fn a_run_that_is_over_stands_as_somebody_says() {
    let mut world = failed();
    mark_run(&mut world, RunMark::Success).is(["RunMarked success"]);
    assert_eq!(ending(&world), Some(Ending::Success));
    mark_run(&mut world, RunMark::Success).unchanged();
    // Its tasks are as they were, and taken up again it is what was said of it.
    let ask = ClearTasks { dry_run: true, ..clearing("etl", "r1", true) };
    let Outcome::WouldClear { tasks, .. } = world.send(CommandBody::ClearTasks(ask)).outcome else {
        panic!("nothing was told")
    };
    assert_eq!(tasks.len(), 3);
    mark_run(&mut world, RunMark::Failed).is(["RunMarked failed"]);
    assert_eq!(ending(&world), Some(Ending::Failed));
}

#[test]
fn a_run_that_goes_on_is_marked_failed_as_it_is_cancelled() {
    let mut world = running();
    mark_run(&mut world, RunMark::Failed).is([
        "RunCancelled",
        "TryCancelled a 1",
        "TaskRuledOut b Skipped",
        "TaskRuledOut c Skipped",
    ]);
    // Whoever says so of one that is over meanwhile is not refused.
    mark_run(&mut world, RunMark::Failed).unchanged();
    assert_eq!(ending(&world), Some(Ending::Failed));
}

#[test]
fn what_runs_is_not_cleared_unless_that_is_asked_for() {
    let mut world = running();
    let ask = |running| ClearTasks { running, ..clearing("etl", "r1", false) };
    world.send(CommandBody::ClearTasks(ask(OnRunning::Leave))).unchanged();
    let refuse = CommandBody::ClearTasks(ask(OnRunning::Refuse));
    let why = world.send(refuse);
    assert!(why.refused(RefusalCode::TaskRunning, []).contains("(a)"));
    let sent = world.send(CommandBody::ClearTasks(ask(OnRunning::Restart)));
    sent.is(["TryCancelled a 1", "TaskCleared a"]);
    assert_eq!(was(&sent.records[0]), [[TasksWere { state: TaskWas::Running, count: 1 }]]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
}

#[test]
fn what_waits_for_its_next_try_begins_anew() {
    let spec = dag("etl").add("a", &[], |task| task.retries = 1);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    let ask = ClearTasks { running: OnRunning::Restart, ..clearing("etl", "r1", false) };
    world.send(CommandBody::ClearTasks(ask)).is(["TaskCleared a"]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    world.fail("e1", "etl/r1/a/2");
    assert!(world.is_active("etl", "r1"), "it has its retry again");
}

#[test]
fn relatives_are_cleared_too() {
    let mut world = failed();
    mark(&mut world, &["a", "b", "c"], TaskMark::Success);
    let of = |upstream, downstream| ClearTasks {
        task_ids: vec![task_id("b")],
        upstream,
        downstream,
        dry_run: true,
        ..clearing("etl", "r1", false)
    };
    for (ask, names) in [
        (of(false, false), vec!["b"]),
        (of(true, false), vec!["a", "b"]),
        (of(false, true), vec!["b", "c"]),
    ] {
        let Outcome::WouldClear { tasks, .. } = world.send(CommandBody::ClearTasks(ask)).outcome
        else {
            panic!("nothing was told")
        };
        let found: Vec<&str> = tasks.iter().map(|it| it.task_id.as_str()).collect();
        assert_eq!(found, names);
    }
}

#[test]
fn a_note_is_another_with_the_one_before() {
    let mut world = failed();
    let key = run_key("etl", "r1");
    let note = |world: &mut World, text: Option<&str>| {
        let (dag_id, run_id) = (dag_id("etl"), key.run_id.clone());
        let note = text.map(str::to_owned);
        world.send(CommandBody::NoteRun { dag_id, run_id, note })
    };
    note(&mut world, Some("first")).is(["RunNoted first"]);
    note(&mut world, Some("first")).unchanged();
    let sent = note(&mut world, None);
    sent.is(["RunNoted -"]);
    let Fact::RunNoted(f) = &sent.records[0].facts[0] else { panic!("no note") };
    assert_eq!((f.note.as_deref(), f.was.as_deref()), (None, Some("first")));
    let long = "x".repeat(5_000);
    note(&mut world, Some(&long)).refused(RefusalCode::Invalid, []);
}

#[test]
fn a_copy_that_is_marked_runs_again_by_nothing_that_is_marked_before_it() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], |task| {
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length: 3 }));
    });
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    assert_eq!(ending(&world), Some(Ending::Failed));
    let ask = MarkTasks {
        copies: vec![TaskCopy { task_id: task_id("m"), map_index: MapIndex(1) }],
        upstream: true,
        ..marking(&[], TaskMark::Success)
    };
    let sent = world.send(CommandBody::MarkTasks(ask));
    assert_eq!(marked_and_cleared(&sent).0, [("a", -1, 0), ("m", 1, 0)]);
    let cleared =
        sent.records.iter().flat_map(|record| &record.facts).filter_map(|fact| match fact {
            Fact::TaskCleared(f) => Some((f.map_index.0, f.further)),
            _ => None,
        });
    assert_eq!(cleared.collect::<Vec<_>>(), [(0, 0), (2, 0)]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued m 1", "TaskQueued m 1"]);
}
