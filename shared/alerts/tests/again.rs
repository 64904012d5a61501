//! What is told again, and what is not: a thing that is over and wrong again by the same cause, one that somebody closed,
//! a run that is cleared, a DAG that is paused.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{AskBody, Rule, Thresholds, Watch};
use dagbok_events::{
    AssetKey, AssetUpdated, DagCallbackKind, DagCallbackUnbegun, DagId, DagPaused, DagUnpaused,
    DeadlineFrom, Fact, LeftWhy, Leg, MapIndex, Micros, PoolName, PoolSet, QueueName, RunCleared,
    RunId, RunKey, RunStarted, Scope, TaskCallbackFailed, TaskCleared, TaskExpanded, TaskId,
    TriggerFailed, TriggerFailedWhy, TryNumber, TrySucceeded, Usage,
};
use serde_json::json;
use world::{
    HOUR, World,
    acts::{
        MINUTE, begin, deadline, end, joined, left, of, open, queue, register, scope, start,
        succeed, tasks, thresholds, wait, whole, world,
    },
};

fn dag() -> Scope {
    Scope::Dag(DagId::new("dag_0").unwrap())
}

fn of_task(task: &str) -> (TaskId, TryNumber) {
    (TaskId::new(task).unwrap(), TryNumber::new(1).unwrap())
}

#[test]
fn a_second_deadline_of_one_run_is_told_though_the_first_is_over() {
    let first = deadline(Some("train"), DeadlineFrom::IntervalEnd, HOUR);
    let second = deadline(None, DeadlineFrom::IntervalEnd, Micros(3 * HOUR.0));
    let mut world = world(&[first, second], &tasks());
    begin(&mut world, 0);
    queue(&mut world, 0, "train");
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_some());
    succeed(&mut world, 0, "train", 1);
    queue(&mut world, 0, "tell");
    world.settle();
    assert!(open(&world, Rule::DeadlineMissed).is_none(), "its task is done");
    wait(&mut world, Micros(2 * HOUR.0));
    assert!(open(&world, Rule::DeadlineMissed).is_some(), "and the run is not");
    assert_eq!(of(&world, Rule::DeadlineMissed).len(), 2);
}

#[test]
fn a_second_deadline_of_one_run_is_told_while_the_first_is_missed() {
    let first = deadline(None, DeadlineFrom::IntervalEnd, HOUR);
    let second = deadline(None, DeadlineFrom::IntervalEnd, Micros(3 * HOUR.0));
    let mut world = world(&[first, second], &tasks());
    begin(&mut world, 0);
    wait(&mut world, HOUR);
    let id = open(&world, Rule::DeadlineMissed).unwrap().id;
    world.ask(AskBody::Acknowledge { id });
    wait(&mut world, Micros(2 * HOUR.0));
    let again = open(&world, Rule::DeadlineMissed).unwrap();
    assert!(again.id > id && again.is_firing(), "who has the first in hand has not this one");
    let told = world.alert_log.len();
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_some());
    let opened = |world: &World| of(world, Rule::DeadlineMissed).len();
    assert_eq!(opened(&world), 2, "{:?}", &world.alert_log[told..]);
}

#[test]
fn what_somebody_closed_by_hand_stays_closed_until_something_newer() {
    let first = deadline(None, DeadlineFrom::IntervalEnd, HOUR);
    let second = deadline(None, DeadlineFrom::IntervalEnd, Micros(3 * HOUR.0));
    let mut world = world(&[first, second], &tasks());
    begin(&mut world, 0);
    wait(&mut world, HOUR);
    let id = open(&world, Rule::DeadlineMissed).unwrap().id;
    world.ask(AskBody::Resolve { id });
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_none(), "somebody said so");
    world.crash();
    wait(&mut world, MINUTE);
    assert!(open(&world, Rule::DeadlineMissed).is_none(), "which outlives a crash");
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_some(), "the second is another one");
}

#[test]
fn a_threshold_that_is_changed_holds_at_once() {
    let mut world = world(&[], &tasks());
    whole(&mut world, 0, MINUTE, 1);
    let stale = |age: i64| Thresholds { max_age: Some(Micros(age)), ..Thresholds::default() };
    thresholds(&mut world, &stale(HOUR.0));
    wait(&mut world, Micros(2 * HOUR.0));
    assert!(open(&world, Rule::Stale).is_some());
    thresholds(&mut world, &stale(4 * HOUR.0));
    wait(&mut world, MINUTE);
    assert!(open(&world, Rule::Stale).is_none());
    wait(&mut world, Micros(3 * HOUR.0));
    assert!(open(&world, Rule::Stale).is_some(), "the success is the same one, and too old again");
}

#[test]
fn what_is_said_no_more_after_a_start_is_not_in_force() {
    let mut world = world(&[], &tasks());
    let said = Thresholds { within: Some(HOUR), max_age: Some(HOUR), ..Thresholds::default() };
    thresholds(&mut world, &said);
    begin(&mut world, 0);
    let kept = dagbok_events::encode_any(&world.watch);
    let mut read: Watch = dagbok_events::decode_any(&kept).unwrap();
    let later = world.now.plus(Micros(5 * HOUR.0));
    let late = |watch: &Watch| {
        let found = watch.conditions(later).into_iter().map(|it| it.rule);
        found.filter(|rule| matches!(rule, Rule::DeadlineMissed | Rule::Stale)).count()
    };
    assert_eq!(late(&read), 2);
    read.heed(&[]);
    assert_eq!(late(&read), 0);
}

fn pool(world: &mut World, name: &str) {
    let pool = PoolName::new(name).unwrap();
    let (description, include_deferred) = (None, false);
    let set = PoolSet { pool, slots: 1, description, include_deferred };
    world.log(Scope::Namespace, Fact::PoolSet(set));
    world.settle();
}

#[test]
fn the_pool_that_is_named_is_the_one_that_is_missing() {
    let tasks = json!([
        { "task_id": "train", "operator": "PythonOperator", "pool": "cpu" },
        { "task_id": "tell", "operator": "PythonOperator", "pool": "gpu" },
    ]);
    let mut world = world(&[], &tasks);
    begin(&mut world, 0);
    world.settle();
    assert!(open(&world, Rule::PoolMissing).unwrap().summary.contains("`cpu`"));
    pool(&mut world, "cpu");
    let alert = open(&world, Rule::PoolMissing).unwrap();
    assert!(alert.summary.contains("`gpu`"), "{}", alert.summary);
    pool(&mut world, "gpu");
    assert!(open(&world, Rule::PoolMissing).is_none());
}

fn copy_done(world: &mut World, index: i32) {
    let (task_id, try_number) = of_task("train");
    let (usage, ended_at) = (Usage { max_rss_bytes: 1, user_us: 0, system_us: 0 }, world.now);
    let (map_index, leg, log, skips) = (MapIndex(index), Leg::default(), None, vec![]);
    let fact = TrySucceeded { task_id, map_index, try_number, leg, ended_at, usage, log, skips };
    world.log(scope(0), Fact::TrySucceeded(Box::new(fact)));
}

#[test]
fn the_sla_of_a_mapped_task_waits_for_copies_that_are_done_again() {
    let sla = deadline(Some("train"), DeadlineFrom::IntervalEnd, HOUR);
    let mut world = world(&[sla], &tasks());
    begin(&mut world, 0);
    let task_id = TaskId::new("train").unwrap();
    let expanded = TaskExpanded { task_id: task_id.clone(), length: 3 };
    world.log(scope(0), Fact::TaskExpanded(expanded));
    copy_done(&mut world, 0);
    copy_done(&mut world, 1);
    let (map_index, further, was) = (MapIndex(0), 0, vec![]);
    let cleared = TaskCleared { task_id, map_index, further, was };
    world.log(scope(0), Fact::TaskCleared(cleared));
    copy_done(&mut world, 2);
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_some(), "the first copy is to be done again");
    copy_done(&mut world, 0);
    world.settle();
    assert!(open(&world, Rule::DeadlineMissed).is_none());
}

fn clear(world: &mut World, run: u8) {
    world.log(
        scope(run),
        Fact::RunCleared(RunCleared { was: None, ended: false, xcoms_kept_until: None }),
    );
    world.log(scope(run), Fact::RunStarted(RunStarted {}));
    world.settle();
}

#[test]
fn a_cleared_run_keeps_the_deadline_that_is_to_come_and_none_that_is_past() {
    let soon = deadline(None, DeadlineFrom::IntervalEnd, HOUR);
    let late = deadline(None, DeadlineFrom::IntervalEnd, Micros(5 * HOUR.0));
    let mut world = world(&[soon, late], &tasks());
    begin(&mut world, 0);
    end(&mut world, 0);
    wait(&mut world, Micros(2 * HOUR.0));
    clear(&mut world, 0);
    assert!(open(&world, Rule::DeadlineMissed).is_none(), "it was done in time");
    wait(&mut world, Micros(3 * HOUR.0));
    assert!(open(&world, Rule::DeadlineMissed).is_some());
}

#[test]
fn an_average_is_of_runs_from_start_to_end_whatever_became_of_them_and_of_no_cleared_one() {
    let average = DeadlineFrom::AverageRuntime { max_runs: 100, min_runs: 80 };
    let mut world = world(&[deadline(None, average, Micros(0))], &tasks());
    for run in 0..79 {
        whole(&mut world, run, Micros(10 * MINUTE.0), 1);
    }
    begin(&mut world, 79);
    world.now = world.now.plus(Micros(20 * MINUTE.0));
    world.log(scope(79), Fact::RunFailed(dagbok_events::RunFailed { failed: vec![] }));
    clear(&mut world, 79);
    world.now = world.now.plus(Micros(100 * HOUR.0));
    end(&mut world, 79);
    let began = world.now;
    begin(&mut world, 80);
    queue(&mut world, 80, "train");
    start(&mut world, 80, "train", "one");
    let due = world.watch.next_due(began.plus(Micros(6 * MINUTE.0)));
    let mean = Micros((79 * 10 + 20) * MINUTE.0 / 80);
    assert_eq!(due, Some(began.plus(mean)), "80 runs are enough, and remembered");
}

#[test]
fn an_executor_that_others_stand_in_for_is_told_of_for_a_while() {
    let mut world = world(&[], &tasks());
    joined(&mut world, "a", "one", "default");
    joined(&mut world, "b", "two", "default");
    left(&mut world, "a", LeftWhy::Gone);
    wait(&mut world, Micros(2 * MINUTE.0));
    assert!(open(&world, Rule::ExecutorLost).is_some());
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::ExecutorLost).is_none(), "another one pulls from its queue");
    left(&mut world, "b", LeftWhy::Drained);
    wait(&mut world, MINUTE);
    assert!(open(&world, Rule::ExecutorLost).is_none(), "who is drained is missed by nobody");
}

#[test]
fn an_executor_that_nobody_stands_in_for_stays_missed() {
    let mut world = world(&[], &tasks());
    joined(&mut world, "a", "one", "gpu");
    joined(&mut world, "b", "two", "default");
    left(&mut world, "a", LeftWhy::Gone);
    wait(&mut world, Micros(5 * HOUR.0));
    assert!(open(&world, Rule::ExecutorLost).is_some());
}

#[test]
fn nothing_of_a_paused_dag_is_stuck_or_stale_and_it_has_its_time_again_after() {
    let mut world = world(&[], &tasks());
    let said = Thresholds { max_age: Some(Micros(3 * HOUR.0)), ..Thresholds::default() };
    thresholds(&mut world, &said);
    begin(&mut world, 0);
    wait(&mut world, Micros(HOUR.0 / 2));
    world.log(dag(), Fact::DagPaused(DagPaused { failed_runs: vec![] }));
    wait(&mut world, Micros(5 * HOUR.0));
    assert!(open(&world, Rule::RunStuck).is_none() && open(&world, Rule::Stale).is_none());
    world.log(dag(), Fact::DagUnpaused(DagUnpaused {}));
    wait(&mut world, Micros(HOUR.0 - 1));
    assert!(open(&world, Rule::RunStuck).is_none(), "it could go on for less than an hour");
    wait(&mut world, Micros(1));
    assert!(open(&world, Rule::RunStuck).is_some());
    assert!(open(&world, Rule::Stale).is_none());
    wait(&mut world, Micros(2 * HOUR.0));
    assert!(open(&world, Rule::Stale).is_some());
}

#[test]
fn a_run_that_is_stuck_already_is_so_no_more_while_its_dag_is_paused() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::RunStuck).is_some());
    world.log(dag(), Fact::DagPaused(DagPaused { failed_runs: vec![] }));
    world.settle();
    assert!(open(&world, Rule::RunStuck).is_none());
}

fn watcher_fails(world: &mut World) {
    watcher_of(world, "a");
}

/// The watcher of an asset fails.
fn watcher_of(world: &mut World, asset: &str) {
    let (task_id, try_number) = of_task(&format!("watcher_{asset}"));
    let failed = TriggerFailed {
        task_id,
        map_index: MapIndex(-1),
        try_number,
        leg: Leg::default(),
        why: TriggerFailedWhy::Raised,
        traceback: "Traceback\nValueError: no such bucket\n".to_owned(),
        executor: None,
        log: None,
        asset: Some(AssetKey { name: asset.to_owned(), uri: asset.to_owned() }),
    };
    let run_id = RunId::new("__watch__").unwrap();
    let run = RunKey { dag_id: DagId::new("dag_0").unwrap(), run_id };
    world.log(Scope::Run(run), Fact::TriggerFailed(Box::new(failed)));
    world.settle();
}

fn update_of(asset: &str, extra: Option<&str>) -> Fact {
    let queued_for = vec![DagId::new("dag_0").unwrap()];
    let (extra, map_index) = (extra.map(str::to_owned), MapIndex(-1));
    let asset = AssetKey { name: asset.to_owned(), uri: asset.to_owned() };
    let (task_id, aliases, kept_for) = (None, vec![], vec![]);
    let (partition, partitioned_for) = (None, vec![]);
    let it = AssetUpdated {
        asset,
        task_id,
        map_index,
        extra,
        aliases,
        queued_for,
        kept_for,
        partition,
        partitioned_for,
        extra_left_out: 0,
        more_left_out: 0,
    };
    Fact::AssetUpdated(Box::new(it))
}

#[test]
fn a_watcher_that_is_well_hides_none_that_fails() {
    let mut world = world(&[], &tasks());
    let seen = r#"{"from_trigger": true, "payload": 1}"#;
    for _ in 0..3 {
        watcher_of(&mut world, "a");
        world.log(Scope::Namespace, update_of("b", Some(seen)));
        world.settle();
        wait(&mut world, MINUTE);
    }
    let alert = open(&world, Rule::WatcherFailing).expect("it is told");
    assert!(alert.details.contains(&("asset".to_owned(), "a".to_owned())), "{:?}", alert.details);
    for _ in 0..3 {
        watcher_of(&mut world, "b");
    }
    world.log(Scope::Namespace, update_of("a", Some(seen)));
    world.settle();
    assert!(open(&world, Rule::WatcherFailing).is_some(), "the other one fails still");
    world.log(Scope::Namespace, update_of("b", Some(seen)));
    world.settle();
    assert!(open(&world, Rule::WatcherFailing).is_none());
}

#[test]
fn a_watcher_that_fails_again_and_again_is_told_until_it_is_well() {
    let mut world = world(&[], &tasks());
    for _ in 0..2 {
        watcher_fails(&mut world);
        wait(&mut world, MINUTE);
    }
    assert!(open(&world, Rule::WatcherFailing).is_none(), "it began anew, and may be well");
    watcher_fails(&mut world);
    let alert = open(&world, Rule::WatcherFailing).unwrap();
    assert!(alert.summary.contains("no such bucket"), "{}", alert.summary);
    assert_eq!(alert.causes.len(), 3);
    let update = |extra| update_of("a", extra);
    world.log(Scope::Namespace, update(None));
    world.settle();
    assert!(open(&world, Rule::WatcherFailing).is_some(), "somebody else brought it up to date");
    world.log(Scope::Namespace, update(Some(r#"{"from_trigger": true, "payload": 1}"#)));
    world.settle();
    assert!(open(&world, Rule::WatcherFailing).is_none());
    for _ in 0..3 {
        watcher_fails(&mut world);
    }
    assert!(open(&world, Rule::WatcherFailing).is_some());
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::WatcherFailing).is_none(), "it runs since then");
}

fn task_callback_fails(world: &mut World, run: u8) {
    let (task_id, try_number) = of_task("train");
    let fact = TaskCallbackFailed {
        task_id,
        map_index: MapIndex(-1),
        try_number,
        leg: Leg::default(),
        callback: "on_failure_callback".to_owned(),
        message: "it raised".to_owned(),
    };
    world.log(scope(run), Fact::TaskCallbackFailed(Box::new(fact)));
    world.settle();
}

#[test]
fn a_callback_that_is_taken_out_of_the_file_fails_no_more() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    task_callback_fails(&mut world, 0);
    let alert = open(&world, Rule::CallbackFailed).unwrap();
    assert_eq!(alert.labels["task"], "train");
    register(&mut world, &json!({}));
    world.settle();
    assert!(open(&world, Rule::CallbackFailed).is_some(), "its task is there");
    register(&mut world, &json!({"tasks": [{"task_id": "tell", "operator": "PythonOperator"}]}));
    world.settle();
    assert!(open(&world, Rule::CallbackFailed).is_none());
}

#[test]
fn a_dags_callback_that_is_taken_out_of_the_file_fails_no_more() {
    let mut world = world(&[], &tasks());
    register(&mut world, &json!({"on_failure_callback": true}));
    begin(&mut world, 0);
    let unbegun = DagCallbackUnbegun {
        callback: DagCallbackKind::OnFailure,
        number: 1,
        attempt: Leg::default(),
        queue: QueueName::new("default").unwrap(),
    };
    world.log(scope(0), Fact::DagCallbackUnbegun(unbegun));
    world.settle();
    assert!(open(&world, Rule::CallbackFailed).is_some());
    register(&mut world, &json!({"on_success_callback": true, "on_failure_callback": true}));
    world.settle();
    assert!(open(&world, Rule::CallbackFailed).is_some(), "it may fail again");
    register(&mut world, &json!({"on_success_callback": true, "on_failure_callback": false}));
    world.settle();
    assert!(open(&world, Rule::CallbackFailed).is_none());
}
