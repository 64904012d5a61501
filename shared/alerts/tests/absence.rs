//! Why a promised run is not there: each cause pages, and is named.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{AlertFact, Rule};
use dagbok_events::{
    ClockWentBack, DagDisappeared, DagImportFailed, DagPaused, DagUnpaused, Fact, Interval, Micros,
    MissedWhy, RunExpected, RunMissed, Scope, Timestamp,
};
use world::{HOUR, World, created, key};

const GRACE: Micros = Micros::from_secs(300);

fn dag() -> Scope {
    Scope::Dag(key(0, 0).dag_id)
}

/// A DAG in a file of its own, whose next run is due in an hour.
fn world() -> World {
    let mut world = World::new();
    world.takes = true;
    let spec = serde_json::json!({
        "dag_id": "dag_0", "owner": "ml", "schedule": { "timetable": "Once", "timezone": "UTC" }, "catchup": false,
        "max_active_runs": 1, "max_active_tasks": 16, "tasks": [], "source": { "file": "dag_0.py" },
    });
    let registered = serde_json::json!({
        "version": 1, "spec_digest": "0".repeat(64), "bundle": "0".repeat(64), "spec": spec,
    });
    let registered = Fact::DagRegistered(serde_json::from_value(registered).unwrap());
    world.log(dag(), registered);
    promise(&mut world, HOUR);
    world
}

fn promise(world: &mut World, due_in: Micros) {
    let due = world.now.plus(due_in);
    let promise = RunExpected {
        logical_date: Some(world.now),
        data_interval: Some(Interval { start: world.now, end: due }),
        due: Some(due),
        grace: GRACE,
        owner: "ml".to_owned(),
        further: vec![],
        keeps: false,
    };
    world.log(dag(), Fact::RunExpected(promise));
}

/// Somebody lives: the scheduler writes about another DAG.
fn sign(world: &mut World) {
    let fact = Fact::DagUnpaused(DagUnpaused {});
    world.log(Scope::Dag(key(9, 0).dag_id), fact);
}

fn import_error(world: &mut World) {
    let failed = DagImportFailed {
        line: Some(3),
        exception: "SyntaxError".to_owned(),
        message: "invalid syntax".to_owned(),
        traceback: String::new(),
        keeps: vec![key(0, 0).dag_id],
    };
    world.log(Scope::File("dag_0.py".to_owned()), Fact::DagImportFailed(Box::new(failed)));
}

fn missed(world: &mut World, why: MissedWhy) {
    let (first, last) = (world.now, world.now);
    let missed = RunMissed { first, last, count: 1, why };
    world.log(dag(), Fact::RunMissed(missed));
}

/// What was told of the DAG's absent run, or of its root cause: the rule and the cause of each page.
fn paged(world: &World) -> Vec<(Rule, String)> {
    let told =
        world.alert_log.iter().flat_map(|record| &record.facts).filter_map(|fact| match fact {
            AlertFact::NotificationAttempted(it) if it.turn == 0 && it.step == 0 => {
                world.book.alert(it.id)
            }
            _ => None,
        });
    told.map(|alert| (alert.rule, alert.labels.get("cause").cloned().unwrap_or_default())).collect()
}

type Story = fn(&mut World);

/// What happens, and by which rule and cause that is told.
const TABLE: [(&str, Story, (Rule, &str)); 13] = [
    ("nobody knows why", |_| {}, (Rule::RunMissing, "late")),
    (
        "paused",
        |world| {
            world.log(dag(), Fact::DagPaused(DagPaused::default()));
        },
        (Rule::RunMissing, "paused"),
    ),
    ("import error", import_error, (Rule::ImportError, "")),
    (
        "deleted",
        |world| {
            let gone = DagDisappeared { file: "dag_0.py".to_owned(), file_gone: true };
            world.log(dag(), Fact::DagDisappeared(gone));
        },
        (Rule::DagVanished, ""),
    ),
    (
        "at capacity",
        |world| {
            let running = Fact::RunCreated(Box::new(created(Timestamp(1))));
            world.log(Scope::Run(key(0, 1)), running);
        },
        (Rule::RunMissing, "too_many_active"),
    ),
    ("missed: paused", |world| missed(world, MissedWhy::Paused), (Rule::RunMissed, "paused")),
    (
        "missed: schedule edited",
        |world| missed(world, MissedWhy::ScheduleChanged),
        (Rule::RunMissed, "schedule_changed"),
    ),
    (
        "missed: nobody scheduled",
        |world| missed(world, MissedWhy::NoScheduler),
        (Rule::RunMissed, "no_scheduler"),
    ),
    (
        "missed: at capacity",
        |world| missed(world, MissedWhy::TooManyActive),
        (Rule::RunMissed, "too_many_active"),
    ),
    (
        "the clock went back an hour",
        |world| {
            let (from, to) = (world.now, world.now.plus(Micros(-HOUR.0)));
            world.now = to;
            world.log(Scope::Namespace, Fact::ClockWentBack(ClockWentBack { from, to }));
            promise(world, HOUR);
        },
        (Rule::RunMissing, "clock_jump"),
    ),
    (
        "the clock jumped an hour ahead",
        |world| world.now = world.now.plus(HOUR),
        (Rule::RunMissing, "late"),
    ),
    (
        "the clock jumped an hour ahead, and was put right",
        |world| {
            let to = world.now;
            let from = to.plus(HOUR);
            world.log(Scope::Namespace, Fact::ClockWentBack(ClockWentBack { from, to }));
        },
        (Rule::RunMissing, "clock_jump"),
    ),
    (
        "the clock was put right before, and that is not why",
        |world| {
            let to = world.now;
            let from = to.plus(Micros(HOUR.0 / 2));
            world.log(Scope::Namespace, Fact::ClockWentBack(ClockWentBack { from, to }));
        },
        (Rule::RunMissing, "late"),
    ),
];

#[test]
fn every_cause_of_an_absent_run_pages_and_is_named() {
    for (name, story, (rule, cause)) in TABLE {
        let mut world = world();
        story(&mut world);
        world.settle();
        world.now = world.now.plus(Micros(HOUR.0 + 1));
        sign(&mut world);
        world.settle();
        world.now = world.now.plus(GRACE);
        world.settle();
        let paged = paged(&world);
        assert!(paged.contains(&(rule, cause.to_owned())), "{name}: {paged:?}");
        assert!(paged.len() <= 2, "{name}: {paged:?}");
    }
}

#[test]
fn a_scheduler_that_is_silent_is_told_as_the_cause_of_what_is_missing() {
    let mut world = world();
    world.now = world.now.plus(Micros(HOUR.0 + GRACE.0));
    world.settle();
    assert_eq!(paged(&world), [(Rule::RunMissing, "scheduler_silent".to_owned())]);
}

#[test]
fn a_run_that_comes_within_its_grace_pages_nobody() {
    let mut world = world();
    let logical_date = world.now;
    world.now = world.now.plus(Micros(HOUR.0 + GRACE.0 - 1));
    world.settle();
    let run = Fact::RunCreated(Box::new(created(logical_date)));
    world.log(Scope::Run(key(0, 1)), run);
    world.now = world.now.plus(GRACE);
    world.settle();
    assert_eq!(paged(&world), []);
}
