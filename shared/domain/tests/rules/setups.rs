//! Setups and teardowns, and runs that stop at their first failure.
use dagbok_domain::run::Ending;
use dagbok_events::{DagSpec, TriggerRule};
use dagbok_protocol::{ClearTasks, CommandBody};

use super::support::{DagExt as _, World, clearing, dag, run_key, secs, task_id};

trait Kinds {
    fn setup(self, name: &str, upstream: &[&str]) -> Self;
    fn teardown(self, name: &str, upstream: &[&str]) -> Self;
}

impl Kinds for DagSpec {
    fn setup(self, name: &str, upstream: &[&str]) -> Self {
        self.add(name, upstream, |task| task.is_setup = true)
    }

    fn teardown(self, name: &str, upstream: &[&str]) -> Self {
        self.add(name, upstream, |task| {
            (task.is_teardown, task.trigger_rule) = (true, TriggerRule::AllDoneSetupSuccess);
        })
    }
}

/// setup → work → more → teardown, with an edge from the setup to the teardown.
fn scoped() -> DagSpec {
    dag("d")
        .setup("s", &[])
        .task("job", &["s"])
        .task("more", &["job"])
        .teardown("t", &["s", "more"])
}

fn begin(spec: DagSpec) -> World {
    let mut world = World::with([spec]);
    world.trigger_as("d", "r1");
    world.settle();
    world
}

fn ending(world: &World) -> Option<Ending> {
    world.namespace.ending(&run_key("d", "r1"))
}

#[test]
fn a_teardown_runs_whatever_the_work_did_and_says_nothing_of_the_run() {
    let mut world = begin(scoped());
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world
        .fail("e1", "d/r1/job/1")
        .is(["TryFailed job 1 retry never", "TaskRuledOut more UpstreamFailed"]);
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunFailed more"]);
    let mut world = begin(scoped());
    for task in ["s", "job", "more"] {
        world.succeed("e1", &format!("d/r1/{task}/1"));
        world.settle();
    }
    world.fail("e1", "d/r1/t/1").is(["TryFailed t 1 retry never", "RunSucceeded"]);
}

#[test]
fn a_teardown_may_fail_its_run_where_it_is_asked_to() {
    let spec = dag("d").setup("s", &[]).task("job", &["s"]).teardown("t", &["s", "job"]);
    let mut world = begin(spec.with(|dag| dag.tasks[2].on_failure_fail_dagrun = true));
    for task in ["s", "job"] {
        world.succeed("e1", &format!("d/r1/{task}/1"));
        world.settle();
    }
    world.fail("e1", "d/r1/t/1").is(["TryFailed t 1 retry never", "RunFailed t"]);
}

#[test]
fn after_a_failed_setup_neither_the_work_nor_the_teardown_runs() {
    let mut world = begin(scoped());
    world.fail("e1", "d/r1/s/1").is([
        "TryFailed s 1 retry never",
        "TaskRuledOut job UpstreamFailed",
        "TaskRuledOut more UpstreamFailed",
        "TaskRuledOut t UpstreamFailed",
        "RunFailed more",
    ]);
    let mut world = begin(scoped());
    world.skip("e1", "d/r1/s/1").is([
        "TrySkipped s 1",
        "TaskRuledOut job Skipped",
        "TaskRuledOut more Skipped",
        "TaskRuledOut t Skipped",
        "RunSucceeded",
    ]);
}

#[test]
fn one_setup_that_succeeded_is_enough_for_a_teardown_and_not_for_the_work() {
    let spec = dag("d").setup("s1", &[]).setup("s2", &[]).task("job", &["s1", "s2"]);
    let mut world = begin(spec.teardown("t", &["s1", "s2", "job"]));
    world.fail("e1", "d/r1/s1/1");
    world.succeed("e1", "d/r1/s2/1");
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunFailed job"]);
}

#[test]
fn work_needs_setups_further_above_whatever_its_rule_says() {
    let spec = dag("d").setup("s", &[]).task("other", &[]).task("first", &["s"]);
    let spec =
        spec.add("late", &["first", "other"], |task| task.trigger_rule = TriggerRule::AllDone);
    let mut world = begin(spec.teardown("t", &["s", "late"]));
    world.fail("e1", "d/r1/s/1").is([
        "TryFailed s 1 retry never",
        "TaskRuledOut first UpstreamFailed",
        "TaskRuledOut late UpstreamFailed",
        "TaskRuledOut t UpstreamFailed",
    ]);
    // Once the work was begun by a setup that succeeded, the rule alone counts.
    let spec = dag("d").setup("s", &[]).task("first", &["s"]);
    let spec = spec.add("late", &["first"], |task| task.trigger_rule = TriggerRule::AllDone);
    let mut world = begin(spec.teardown("t", &["s", "late"]));
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.fail("e1", "d/r1/first/1").is(["TryFailed first 1 retry never"]);
    assert_eq!(world.settle(), ["TaskQueued late 1"]);
}

#[test]
fn a_teardown_waits_for_all_that_runs_between_its_setup_and_itself() {
    let spec = dag("d").setup("s", &[]).task("quick", &["s"]).task("slow", &["s"]);
    let mut world = begin(spec.task("both", &["quick", "slow"]).teardown("t", &["s", "both"]));
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world
        .fail("e1", "d/r1/quick/1")
        .is(["TryFailed quick 1 retry never", "TaskRuledOut both UpstreamFailed"]);
    assert_eq!(world.settle(), [] as [&str; 0], "the slow one still uses what was set up");
    world.succeed("e1", "d/r1/slow/1");
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
}

#[test]
fn what_comes_after_a_teardown_is_a_leaf_as_any_other() {
    let mut world = begin(scoped().task("after", &["t"]));
    for task in ["s", "job", "more"] {
        world.succeed("e1", &format!("d/r1/{task}/1"));
        world.settle();
    }
    world.fail("e1", "d/r1/t/1").is([
        "TryFailed t 1 retry never",
        "TaskRuledOut after UpstreamFailed",
        "RunFailed after",
    ]);
}

#[test]
fn a_run_of_nothing_but_teardowns_ends_as_they_do() {
    let mut world = begin(dag("d").teardown("t", &[]));
    world.fail("e1", "d/r1/t/1").is(["TryFailed t 1 retry never", "RunFailed t"]);
}

#[test]
fn with_a_task_its_setup_and_teardown_run_again() {
    let mut world = begin(scoped().task("outside", &["s"]));
    for task in ["s", "job", "outside", "more", "t"] {
        world.succeed("e1", &format!("d/r1/{task}/1"));
        world.settle();
    }
    assert_eq!(ending(&world), Some(Ending::Success));
    let clear = |world: &mut World, name: &str| {
        let task_ids = vec![task_id(name)];
        world.send(CommandBody::ClearTasks(ClearTasks { task_ids, ..clearing("d", "r1", false) }))
    };
    clear(&mut world, "more").is([
        "RunCleared",
        "TaskCleared s",
        "TaskCleared more",
        "TaskCleared t",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued s 2"]);
    world.succeed("e1", "d/r1/s/2");
    assert_eq!(world.settle(), ["TaskQueued more 2"]);
    world.succeed("e1", "d/r1/more/2");
    world.settle();
    world.succeed("e1", "d/r1/t/2").is(["TrySucceeded t 2", "RunSucceeded"]);
    clear(&mut world, "outside").is(["RunCleared", "TaskCleared outside"]);
}

#[test]
fn the_first_failure_for_good_stops_the_rest_but_for_teardowns() {
    let spec = dag("d").setup("s", &[]).add("bad", &["s"], |task| task.retries = 1);
    let spec = spec.task("running", &["s"]).task("next", &["bad", "running"]);
    let spec = spec.teardown("t", &["s", "next"]).with(|dag| dag.fail_fast = true);
    let mut world = begin(spec);
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.start("e1", "d/r1/running/1");
    world.fail("e1", "d/r1/bad/1");
    assert_eq!(world.pass(secs(300)), ["TaskQueued bad 2"], "a retry is no failure for good");
    world.fail("e1", "d/r1/bad/2").is([
        "TryFailed bad 2 retry never",
        "TryCancelled running 1",
        "TaskRuledOut next Skipped",
    ]);
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunSucceeded"]);
}
