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

#[test]
fn what_had_not_begun_is_skipped_where_the_first_failure_stops_the_rest() {
    let spec =
        dag("d").task("bad", &[]).task("queued", &[]).add("again", &[], |task| task.retries = 1);
    let mut world = begin(spec.with(|dag| dag.fail_fast = true));
    world.fail("e1", "d/r1/again/1");
    world.fail("e1", "d/r1/bad/1").is([
        "TryFailed bad 1 retry never",
        "TryCancelled queued 1 skipped",
        "TaskRuledOut again Skipped",
        "RunFailed bad",
    ]);
}

#[test]
fn a_cancelled_run_still_runs_the_teardowns_of_what_was_set_up() {
    let mut world = begin(scoped());
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.start("e1", "d/r1/job/1");
    world.cancel("d", "r1").is([
        "RunCancelled teardowns",
        "TryCancelled job 1",
        "TaskRuledOut more Skipped",
    ]);
    assert_eq!(ending(&world), None, "it is ending");
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunFailed "]);
    assert_eq!(ending(&world), Some(Ending::Failed));
}

#[test]
fn a_cancelled_run_fails_though_no_leaf_of_it_did() {
    let mut world = begin(scoped());
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.cancel("d", "r1").is([
        "RunCancelled teardowns",
        "TryCancelled job 1 skipped",
        "TaskRuledOut more Skipped",
    ]);
    world.settle();
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunFailed "]);
}

#[test]
fn where_nothing_was_set_up_a_cancelled_run_is_over_at_once() {
    let mut world = begin(scoped());
    world.cancel("d", "r1").is([
        "RunCancelled",
        "TryCancelled s 1 skipped",
        "TaskRuledOut job Skipped",
        "TaskRuledOut more Skipped",
        "TaskRuledOut t Skipped",
    ]);
    assert_eq!(ending(&world), Some(Ending::Failed));
    let mut world = begin(scoped());
    world.start("e1", "d/r1/s/1");
    world.cancel("d", "r1").is([
        "RunCancelled",
        "TryCancelled s 1",
        "TaskRuledOut job Skipped",
        "TaskRuledOut more Skipped",
        "TaskRuledOut t UpstreamFailed",
    ]);
    let mut world = World::with([scoped()]);
    world.pause("d");
    world.trigger_as("d", "r1");
    world.cancel("d", "r1");
    assert_eq!(ending(&world), Some(Ending::Failed), "it had not begun");
}

#[test]
fn a_teardown_that_runs_goes_on_and_one_that_failed_is_tried_again_though_the_run_was_cancelled() {
    let spec = dag("d").setup("s", &[]).task("job", &["s"]).task("other", &[]);
    let mut world = begin(spec.add("t", &["s", "job"], |task| {
        (task.is_teardown, task.trigger_rule) = (true, TriggerRule::AllDoneSetupSuccess);
        task.retries = 1;
    }));
    for task in ["s", "job"] {
        world.succeed("e1", &format!("d/r1/{task}/1"));
        world.settle();
    }
    world.start("e1", "d/r1/t/1");
    world.cancel("d", "r1").is(["RunCancelled teardowns", "TryCancelled other 1 skipped"]);
    world.fail("e1", "d/r1/t/1");
    assert_eq!(world.pass(secs(300)), ["TaskQueued t 2"]);
    world.succeed("e1", "d/r1/t/2").is(["TrySucceeded t 2", "RunFailed "]);
}

#[test]
fn a_run_that_times_out_runs_its_teardowns_and_its_timeout_ends_them_not() {
    let mut world = begin(scoped().with(|dag| dag.dagrun_timeout = Some(secs(60))));
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.start("e1", "d/r1/job/1");
    assert_eq!(
        world.pass(secs(60)),
        [
            "RunTimedOut teardowns",
            "TryCancelled job 1 skipped",
            "TaskRuledOut more Skipped",
            "TaskQueued t 1"
        ],
        "what ran is skipped, as in Airflow"
    );
    world.start("e1", "d/r1/t/1");
    assert_eq!(world.pass(secs(3_600)), [] as [&str; 0]);
    world.succeed("e1", "d/r1/t/1").is(["TrySucceeded t 1", "RunFailed "]);
    assert_eq!(ending(&world), Some(Ending::Failed));
}

#[test]
fn cancelled_again_a_run_ends_its_teardowns_too() {
    let mut world = begin(scoped());
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.cancel("d", "r1");
    world.settle();
    world.start("e1", "d/r1/t/1");
    world.cancel("d", "r1").is(["RunCancelled", "TryCancelled t 1"]);
    assert_eq!(ending(&world), Some(Ending::Failed));
}

#[test]
fn a_run_that_only_has_its_teardowns_left_goes_on_where_it_is_cleared() {
    let mut world = begin(scoped().with(|dag| dag.dagrun_timeout = Some(secs(60))));
    world.succeed("e1", "d/r1/s/1");
    world.settle();
    world.pass(secs(30));
    world.cancel("d", "r1");
    world.pass(secs(40));
    world.clear("d", "r1", false).is([
        "RunCleared",
        "TaskCleared s",
        "TaskCleared job",
        "TaskCleared more",
        "CheckpointDropped t",
    ]);
    assert_eq!(world.settle(), ["TaskQueued s 2"]);
    let bytes = world.namespace.to_snapshot();
    assert_eq!(
        dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("its own").to_snapshot(),
        bytes
    );
    assert_eq!(world.pass(secs(59)), [] as [&str; 0], "its time begins anew");
}
