//! What tasks wait for of the run before: `depends_on_past` and its kin.
use dagbok_events::{DagSpec, Expand, MapIndex, RunId, TaskSpec, Timestamp, TriggerRule};
use dagbok_protocol::{ClearTasks, CommandBody, Reason, TriggerRun};

use super::support::*;

fn past(task: &mut TaskSpec) {
    task.depends_on_past = true;
}

/// Days from 1 January 2024 on, as runs.
fn trigger(world: &mut World, day: u32) {
    let ask = TriggerRun {
        run_id: Some(RunId::new(format!("d{day}")).expect("a run id")),
        logical_date: Some(at(&format!("2024-01-{day:02}"))),
        ..ask("etl")
    };
    world.now = world.now.plus(secs(1));
    world.send(CommandBody::TriggerRun(ask));
}

fn world(spec: DagSpec, days: &[u32]) -> World {
    let mut world = World::with([spec]);
    world.now = at("2024-02-01");
    for day in days {
        trigger(&mut world, *day);
    }
    world.settle();
    world
}

fn waits_for(world: &World, day: u32, task: &str) -> Option<Timestamp> {
    let why = world.why("etl", Some(&format!("d{day}")), Some(task), MapIndex::UNMAPPED);
    why.is.reasons.into_iter().find_map(|reason| match reason {
        Reason::DependsOnPast { logical_date, .. } => Some(logical_date),
        _ => None,
    })
}

fn past_of(date: &str) -> Timestamp {
    at(date)
}

#[test]
fn a_task_waits_for_itself_in_the_run_before() {
    let mut world = world(dag("etl").add("a", &[], past).task("b", &["a"]), &[1, 2, 3]);
    assert_eq!(world.offered(), ["etl/d1/a/1"], "the first of all waits for none");
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    world.succeed("e1", "etl/d1/a/1");
    assert_eq!(world.settle(), ["TaskQueued b 1", "TaskQueued a 1"]);
    assert_eq!(waits_for(&world, 3, "a"), Some(past_of("2024-01-02")));
    world.fail("e1", "etl/d2/a/1");
    assert_eq!(world.settle(), [] as [&str; 0], "over and failed, it goes on holding the next");
    assert!(!world.is_active("etl", "d2"));
    assert_eq!(waits_for(&world, 3, "a"), Some(past_of("2024-01-02")));
    world.clear("etl", "d2", false);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 2"]);
    world.succeed("e1", "etl/d2/a/2");
    assert_eq!(world.settle(), ["TaskQueued a 1", "TaskQueued b 1"]);
}

#[test]
fn a_run_that_is_over_is_remembered_over_a_restart() {
    let mut world = world(dag("etl").add("a", &[], past), &[1]);
    world.fail("e1", "etl/d1/a/1");
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.namespace.to_snapshot(), bytes);
    trigger(&mut world, 2);
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.delete("etl", "d1");
    assert_eq!(world.settle(), ["TaskQueued a 1"], "there is no run before any more");
}

#[test]
fn a_run_in_between_is_the_one_that_is_waited_for() {
    let mut world = world(dag("etl").add("a", &[], past), &[1, 5]);
    world.succeed("e1", "etl/d1/a/1");
    world.settle();
    assert_eq!(world.offered(), ["etl/d5/a/1"]);
    trigger(&mut world, 9);
    trigger(&mut world, 7);
    world.settle();
    assert_eq!(waits_for(&world, 9, "a"), Some(past_of("2024-01-07")));
    assert_eq!(waits_for(&world, 7, "a"), Some(past_of("2024-01-05")));
    world.succeed("e1", "etl/d5/a/1");
    assert_eq!(world.settle(), ["TaskQueued a 1"]);
    assert_eq!(world.offered(), ["etl/d7/a/1"]);
    world.skip("e1", "etl/d7/a/1");
    assert_eq!(world.settle(), ["TaskQueued a 1"], "skipped is as good");
}

#[test]
fn what_comes_right_after_it_there_is_waited_for_too() {
    let spec = dag("etl").add("a", &[], |task| {
        (task.depends_on_past, task.wait_for_downstream) = (true, true);
    });
    let mut world = world(spec.task("b", &["a"]).task("c", &["b"]), &[1, 2]);
    world.succeed("e1", "etl/d1/a/1");
    world.settle();
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    world.succeed("e1", "etl/d1/b/1");
    assert_eq!(world.settle(), ["TaskQueued c 1", "TaskQueued a 1"], "c is not right after it");
}

#[test]
fn where_a_dag_catches_up_runs_by_hand_do_not_count() {
    let spec = dag("etl").daily("2024-01-01").catchup().add("a", &[], past);
    let mut world = World::with([spec]);
    world.queued_for(secs(0));
    world.go_to("2024-01-02T00:00");
    assert_eq!(world.offered(), ["etl/scheduled__2024-01-01T00:00:00+00:00/a/1"]);
    let ask = TriggerRun {
        run_id: Some(RunId::new("mine").expect("a run id")),
        logical_date: Some(at("2024-01-01T12:00")),
        ..ask("etl")
    };
    world.send(CommandBody::TriggerRun(ask));
    world.go_to("2024-01-03T00:00");
    assert_eq!(world.offered().len(), 1, "both wait for the first of the schedule");
    world.succeed("e1", "etl/scheduled__2024-01-01T00:00:00+00:00/a/1");
    world.settle();
    let waiting = ["etl/mine/a/1", "etl/scheduled__2024-01-02T00:00:00+00:00/a/1"];
    assert_eq!(world.offered(), waiting);
}

#[test]
fn a_task_that_is_new_waits_for_nothing_unless_it_says_so() {
    for (ignores, goes) in [(true, 2), (false, 1)] {
        let mut world = world(dag("etl").add("a", &[], past), &[1]);
        world.succeed("e1", "etl/d1/a/1");
        world.read(&dag("etl").add("a", &[], past).add("new", &[], |task| {
            (task.depends_on_past, task.ignore_first_depends_on_past) = (true, ignores);
        }));
        trigger(&mut world, 2);
        world.settle();
        assert_eq!(world.offered().len(), goes, "{ignores}");
    }
}

#[test]
fn a_task_may_wait_for_the_run_before_though_it_is_to_be_skipped() {
    let spec = dag("etl").task("up", &[]).add("a", &["up"], |task| {
        task.depends_on_past = true;
        task.wait_for_past_depends_before_skipping = true;
    });
    let mut world = world(spec.task("b", &["a"]), &[1, 2]);
    world.succeed("e1", "etl/d1/up/1");
    world.settle();
    world.skip("e1", "etl/d2/up/1").is(["TrySkipped up 1"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    world.succeed("e1", "etl/d1/a/1");
    let facts = world.settle();
    assert!(facts.contains(&"TaskRuledOut a Skipped".to_owned()), "{facts:?}");
    assert!(!world.is_active("etl", "d2"), "with it the run ends");
}

/// `a` waits with being skipped, too, and `other` goes on beside it.
fn may_wait_to_be_skipped() -> DagSpec {
    let spec = dag("etl").task("up", &[]).add("a", &["up"], |task| {
        task.depends_on_past = true;
        task.wait_for_past_depends_before_skipping = true;
    });
    spec.task("other", &[])
}

#[test]
fn a_task_that_waited_to_be_skipped_is_skipped_whatever_else_is_told_of_its_run_first() {
    let mut world = world(may_wait_to_be_skipped(), &[1, 2]);
    world.succeed("e1", "etl/d1/up/1");
    world.settle();
    world.skip("e1", "etl/d2/up/1").is(["TrySkipped up 1"]);
    world.succeed("e1", "etl/d1/a/1");
    // Word of the run comes in the same batch, before anybody plans.
    world.start("e1", "etl/d2/other/1");
    assert_eq!(world.settle(), ["TaskRuledOut a Skipped"]);
    world.succeed("e1", "etl/d2/other/1");
    assert!(!world.is_active("etl", "d2"), "and the run ends");
}

#[test]
fn a_task_that_is_to_be_skipped_is_so_after_a_restart_too() {
    let mut world = world(may_wait_to_be_skipped(), &[1, 2]);
    world.succeed("e1", "etl/d1/up/1");
    world.settle();
    world.skip("e1", "etl/d2/up/1");
    world.succeed("e1", "etl/d1/a/1");
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(world.settle(), ["TaskRuledOut a Skipped"]);
}

#[test]
fn a_copy_in_a_mapped_group_that_waited_to_be_skipped_is_skipped_in_the_end() {
    let in_group = |task: &mut TaskSpec| {
        task.expand = Some(Expand::Literal { length: 2 });
        task.mapped_group = Some("g".to_owned());
    };
    let spec = dag("etl").add("up", &[], in_group).add("a", &["up"], |task| {
        in_group(task);
        task.depends_on_past = true;
        task.wait_for_past_depends_before_skipping = true;
    });
    let mut world = world(spec, &[1, 2]);
    for copy in ["up[0]", "up[1]"] {
        world.succeed("e1", &format!("etl/d1/{copy}/1"));
    }
    world.settle();
    world.skip("e1", "etl/d2/up[0]/1").is(["TrySkipped up 1"]);
    world.succeed("e1", "etl/d2/up[1]/1");
    for copy in ["a[0]", "a[1]"] {
        world.succeed("e1", &format!("etl/d1/{copy}/1"));
    }
    assert_eq!(world.settle(), ["TaskRuledOut a[0] Skipped", "TaskQueued a 1"]);
}

#[test]
fn what_was_skipped_and_is_cleared_once_its_run_is_over_waits_for_the_run_before_again() {
    let mut world = world(may_wait_to_be_skipped(), &[1, 2]);
    world.succeed("e1", "etl/d1/up/1");
    world.settle();
    world.skip("e1", "etl/d2/up/1");
    world.succeed("e1", "etl/d1/a/1");
    world.settle();
    world.succeed("e1", "etl/d2/other/1");
    assert!(!world.is_active("etl", "d2"));
    world.clear("etl", "d1", false);
    world.settle();
    let ask = ClearTasks {
        task_ids: vec![task_id("a")],
        ..ClearTasks::of(dag_id("etl"), RunId::new("d2").expect("a run id"))
    };
    world.send(CommandBody::ClearTasks(ask)).is(["RunCleared", "TaskCleared a"]);
    assert_eq!(world.settle(), ["RunStarted"]);
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    world.skip("e1", "etl/d1/up/2");
    world.settle();
    world.succeed("e1", "etl/d1/other/1");
    assert!(!world.is_active("etl", "d1"));
    assert!(!world.is_active("etl", "d2"), "skipped there, it is here");
}

#[test]
fn every_copy_counts_and_a_task_that_runs_at_once_waits_too() {
    let spec = dag("etl").add("a", &[], |task| {
        past(task);
        task.trigger_rule = TriggerRule::Always;
        task.expand = Some(Expand::Literal { length: 2 });
        task.is_mapped = true;
    });
    let mut world = world(spec, &[1, 2]);
    assert_eq!(world.offered().len(), 2);
    world.succeed("e1", "etl/d1/a[0]/1");
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.succeed("e1", "etl/d1/a[1]/1");
    assert_eq!(world.settle(), ["TaskQueued a 1", "TaskQueued a 1"]);
}

/// So many copies of `a`, which depends on the past.
fn copies(length: u32) -> DagSpec {
    dag("etl").add("a", &[], |task| {
        past(task);
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length }));
    })
}

#[test]
fn copies_that_are_there_no_more_keep_nothing() {
    let mut world = world(copies(2), &[1, 2]);
    world.succeed("e1", "etl/d1/a[0]/1");
    world.fail("e1", "etl/d1/a[1]/1");
    assert_eq!(world.settle(), [""; 0]);
    world.read(&copies(1));
    let ask = ClearTasks {
        task_ids: vec![task_id("a")],
        on_latest_version: true,
        ..ClearTasks::of(dag_id("etl"), RunId::new("d1").expect("a run id"))
    };
    world.send(CommandBody::ClearTasks(ask));
    world.settle();
    world.succeed("e1", "etl/d1/a[0]/2");
    assert!(!world.is_active("etl", "d1"));
    assert_eq!(world.settle(), ["TaskQueued a 1", "TaskQueued a 1"], "of the run of day 2");
}

#[test]
fn a_run_that_gets_more_copies_by_another_version_is_waited_for_again() {
    let mut world = world(copies(1).with(|dag| dag.max_active_tasks = 1), &[1, 2]);
    world.succeed("e1", "etl/d1/a[0]/1");
    world.read(&copies(2).with(|dag| dag.max_active_tasks = 1));
    let ask = ClearTasks {
        on_latest_version: true,
        only_failed: true,
        ..ClearTasks::of(dag_id("etl"), RunId::new("d1").expect("a run id"))
    };
    world.send(CommandBody::ClearTasks(ask));
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued a 1"]);
    assert_eq!(world.offered(), ["etl/d1/a[1]/1"]);
    let why = world.why("etl", Some("d2"), Some("a"), MapIndex(0));
    let holds = |it: &Reason| matches!(it, Reason::DependsOnPast { .. });
    assert!(why.is.reasons.iter().any(holds), "{why:?}");
}

/// Else it stands where work is looked for, though it may not go, and its DAG keeps a claim to room that it can't use.
#[test]
fn a_retry_that_waits_for_the_run_before_does_so_after_the_clock_went_back() {
    let spec = dag("etl").add("a", &[], |task| {
        past(task);
        (task.retries, task.retry_delay) = (3, secs(0));
    });
    // Beside it another waits for a time.
    let spec = spec.add("b", &[], |task| (task.retries, task.retry_delay) = (3, secs(600)));
    let mut world = world(spec.clone(), &[1, 2]);
    for day in ["d1", "d2"] {
        world.start("e1", &format!("etl/{day}/b/1"));
        world.fail("e1", &format!("etl/{day}/b/1"));
    }
    world.succeed("e1", "etl/d1/a/1");
    world.settle();
    world.start("e1", "etl/d2/a/1");
    world.clear("etl", "d1", false);
    world.settle();
    world.fail("e1", "etl/d2/a/1");
    world.now = Timestamp(world.now.0 - secs(3_600).0);
    world.settle();
    assert_eq!(waits_for(&world, 2, "a"), Some(past_of("2024-01-01")));
    // Another DAG is served, by which the turns of what waits for nothing but room are kept.
    world.read(&DagSpec { dag_id: dag_id("other"), ..spec });
    world.trigger_as("other", "r1");
    world.settle();
    let bytes = world.namespace.to_snapshot();
    let mut other = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    assert_eq!(other.to_snapshot(), bytes);
    world.succeed("e1", "other/r1/a/1");
    world.trigger_as("other", "r2");
    world.settle();
    let record = world.log.len();
    let folded = usize::try_from(other.last_seq()).expect("small");
    let bytes = world.namespace.to_snapshot();
    for (seq, record) in (other.last_seq() + 1..).zip(&world.log[folded..record]) {
        other.evolve(seq, record);
    }
    assert_eq!(other.to_snapshot(), bytes, "after a restart it is the same");
    world.succeed("e1", "etl/d1/a/2");
    assert!(world.settle().contains(&"TaskQueued a 2".to_owned()));
}
