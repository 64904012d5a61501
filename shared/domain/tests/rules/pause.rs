//! Pausing DAGs and what was missed while they were.
use dagbok_domain::namespace::{Dag, Outcome};
use dagbok_protocol::{CommandBody, RefusalCode};

use super::support::*;

#[test]
fn pausing_is_idempotent_and_needs_a_dag() {
    let mut world = World::with([dag("etl")]);
    world.unpause("etl").unchanged();
    world.pause("etl").is(["DagPaused"]);
    world.pause("etl").unchanged();
    world.unpause("etl").is(["DagUnpaused"]);
    world.pause("elt").refused(RefusalCode::DagNotFound, []);
    world.unpause("elt").refused(RefusalCode::DagNotFound, []);
}

#[test]
fn the_same_command_does_not_pause_twice() {
    let mut world = World::with([dag("etl")]);
    let pause = world.command(CommandBody::PauseDag { dag_id: dag_id("etl") });
    world.deliver(&pause);
    let seq = world.log.len() as u64;
    world.unpause("etl");
    let again = world.deliver(&pause);
    assert_eq!(again.outcome, Outcome::Seen { seq, run_id: None });
    assert!(!world.namespace.dag(&dag_id("etl")).expect("known").is_paused());
}

#[test]
fn a_paused_dag_queues_no_task_and_what_runs_goes_on() {
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.pause("etl");
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
    assert_eq!(world.pass(DAY), [] as [&str; 0]);
    world.unpause("etl");
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}

#[test]
fn a_paused_schedule_makes_no_run_and_says_which_were_missed() {
    let mut world = World::with([dag("etl").daily("2024-01-01").task("a", &[])]);
    world.pause("etl");
    assert_eq!(world.namespace.next_due(world.now), None);
    assert_eq!(world.go_to("2024-01-05T12:00"), [] as [&str; 0]);
    world.unpause("etl").is([
        "DagUnpaused",
        "RunMissed 3 from 2024-01-01T00:00:00Z to 2024-01-03T00:00:00Z: Paused",
        "RunExpected 2024-01-04T00:00:00Z due 2024-01-05T00:00:00Z",
    ]);
    // The newest whole interval is made at once.
    assert_eq!(
        world.settle(),
        [
            "RunCreated Scheduled 2024-01-04T00:00:00Z",
            "RunStarted",
            "RunExpected 2024-01-05T00:00:00Z due 2024-01-06T00:00:00Z",
            "TaskQueued a 1",
        ]
    );
}

#[test]
fn a_short_pause_misses_nothing() {
    let mut world = World::with([dag("etl").daily("2024-01-01").task("a", &[])]);
    world.pause("etl");
    world.go_to("2024-01-01T20:00");
    world.unpause("etl").is(["DagUnpaused"]);
    world.pause("etl");
    world.go_to("2024-01-02T20:00");
    // The run that fell due in the pause is the newest one: it is late and not missed.
    world.unpause("etl").is(["DagUnpaused"]);
    assert_eq!(world.settle()[0], "RunCreated Scheduled 2024-01-01T00:00:00Z");
}

#[test]
fn what_catches_up_goes_on_where_it_was() {
    let mut world = World::with([dag("etl").daily("2024-01-01").catchup()]);
    world.pause("etl");
    world.go_to("2024-01-04");
    world.unpause("etl").is(["DagUnpaused"]);
    let made: Vec<_> =
        world.settle().into_iter().filter(|fact| fact.starts_with("RunCreated")).collect();
    assert_eq!(
        made,
        [
            "RunCreated Scheduled 2024-01-01T00:00:00Z",
            "RunCreated Scheduled 2024-01-02T00:00:00Z",
            "RunCreated Scheduled 2024-01-03T00:00:00Z",
        ]
    );
}

#[test]
fn a_dag_starts_paused_where_it_or_the_installation_says_so() {
    for (says, default, paused) in [
        (None, false, false),
        (None, true, true),
        (Some(false), true, false),
        (Some(true), false, true),
    ] {
        let spec = dag("etl").with(|dag| dag.is_paused_upon_creation = says);
        let mut file = file_of(&spec);
        file.paused_at_creation = default;
        let mut world = World::new();
        world.read_file(&file);
        let is_paused = |world: &World| world.namespace.dag(&dag_id("etl")).map(Dag::is_paused);
        assert_eq!(is_paused(&world), Some(paused));
        // Read again with another meaning it stays as people left it.
        let other = if paused { world.unpause("etl") } else { world.pause("etl") };
        other.is([if paused { "DagUnpaused" } else { "DagPaused" }]);
        file.dags[0].spec_digest = digest(7);
        world.read_file(&file).is(["DagRegistered etl v2"]);
        assert_eq!(is_paused(&world), Some(!paused));
    }
}

#[test]
fn a_pause_past_the_end_date_leaves_nothing_to_expect() {
    let spec = dag("etl").daily("2024-01-01").with(|dag| dag.end_date = Some(at("2024-01-02")));
    let mut world = World::with([spec]);
    world.pause("etl");
    world.go_to("2024-02-01");
    world.unpause("etl").is([
        "DagUnpaused",
        "RunMissed 2 from 2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z: Paused",
        "RunExpected none",
    ]);
    assert_eq!(world.settle(), [] as [&str; 0]);
}
