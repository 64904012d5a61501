//! Why something waits: every reason that there is, with what it names, and none that is not so.
use dagbok_events::{
    AssetCondition, AssetRef, Expand, Extent, MapIndex, PoolName, QueueName, RuledOut, TriggerRule,
};
use dagbok_protocol::{
    CommandBody, Holders, Reason, RefusalCode, Stands, WaitingLine, Why, WhyAsk,
};

use crate::support::{DagExt as _, Sent, World, dag, dag_id, executor, run_key, secs, task_id};

fn ask(world: &mut World, dag: &str, run: Option<&str>, task: Option<&str>) -> Sent {
    let run_id = run.map(|run| run_key(dag, run).run_id);
    let (dag_id, task_id, map_index) = (dag_id(dag), task.map(task_id), MapIndex::UNMAPPED);
    world.send(CommandBody::WhyWaits(WhyAsk { dag_id, run_id, task_id, map_index }))
}

/// All that keeps a task.
fn why(world: &World, dag: &str, run: &str, task: &str) -> Vec<Reason> {
    world.why(dag, Some(run), Some(task), MapIndex::UNMAPPED).is.reasons
}

fn why_run(world: &World, dag: &str, run: &str) -> Why {
    world.why(dag, Some(run), None, MapIndex::UNMAPPED)
}

fn why_dag(world: &World, dag: &str) -> Vec<Reason> {
    world.why(dag, None, None, MapIndex::UNMAPPED).is.reasons
}

/// Who has what, as `dag/run/task`.
fn names(holders: &Holders) -> Vec<String> {
    let named = holders.named.iter();
    named.map(|it| format!("{}/{}/{}", it.dag_id, it.run_id, it.task_id)).collect()
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).expect("a pool name")
}

#[test]
fn each_reason_is_named_with_what_it_is_and_nothing_is_written() {
    let retrying = |dag: &mut dagbok_events::DagSpec| {
        dag.max_active_runs = 1;
        dag.tasks[0].retries = 1;
    };
    let mut world = World::with([dag("etl").task("a", &[]).task("b", &["a"]).with(retrying)]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    let written = world.log.len();
    let sent = ask(&mut world, "etl", Some("r1"), Some("b"));
    assert!(sent.records.is_empty() && world.log.len() == written, "a question leaves no record");
    let queue = QueueName::new("default").expect("a queue");
    let offered = Reason::Offered { queue, executors: 1 };
    assert_eq!(why(&world, "etl", "r1", "a"), [offered]);
    let told = world.why("etl", Some("r1"), Some("b"), MapIndex::UNMAPPED);
    let [Reason::Upstream { rule: TriggerRule::AllSuccess, tasks, more: 0 }] = &told.is.reasons[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((tasks[0].task_id.as_str(), tasks[0].stands), ("a", Some(Stands::Queued)));
    assert_eq!(told.roots[0].task_id, Some(task_id("a")));
    world.start("e1", "etl/r1/a/1");
    let runs = world.why("etl", Some("r1"), Some("a"), MapIndex::UNMAPPED);
    assert_eq!((runs.is.stands, &runs.is.reasons[..]), (Stands::Running, &[][..]));
    assert_eq!(runs.is.executor, Some(executor("e1")));
    world.fail("e1", "etl/r1/a/1");
    let due = world.now.plus(dag("etl").task("a", &[]).tasks[0].retry_delay);
    assert_eq!(why(&world, "etl", "r1", "a"), [Reason::Retry { due }]);
    world.trigger_as("etl", "r2");
    world.trigger_as("etl", "r3");
    world.settle();
    let behind = |before| {
        let runs = vec![run_key("etl", "r1").run_id];
        Reason::MaxActiveRuns { most: 1, runs, more: 0, before }
    };
    assert_eq!(why_run(&world, "etl", "r2").is.reasons, [behind(0)]);
    assert_eq!(why_run(&world, "etl", "r3").is.reasons, [behind(1)]);
    assert_eq!(why(&world, "etl", "r2", "a"), [Reason::RunQueued, behind(0)]);
    world.pause("etl");
    world.pass(secs(3_600));
    assert_eq!(why(&world, "etl", "r1", "a"), [Reason::Paused]);
    assert_eq!(why_run(&world, "etl", "r2").is.reasons, [Reason::Paused, behind(0)]);
    world.unpause("etl");
    world.set_pool("default_pool", 0);
    world.settle();
    let small = Reason::PoolTooSmall { pool: pool("default_pool"), needs: 1, slots: 0 };
    assert_eq!(why(&world, "etl", "r1", "a"), [small]);
    world.set_pool("default_pool", 4);
    assert_eq!(why(&world, "etl", "r1", "a"), [Reason::Next], "it goes next");
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
}

#[test]
fn a_pool_is_named_with_who_has_it_and_who_comes_before() {
    let spec = |name: &str| dag(name).add("t", &[], |task| task.pool = pool("gpu"));
    let mut world = World::with([spec("ml"), spec("etl")]);
    world.trigger_as("ml", "r1");
    world.settle();
    assert_eq!(why(&world, "ml", "r1", "t"), [Reason::NoPool { pool: pool("gpu") }]);
    world.set_pool("gpu", 1);
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    world.trigger_as("etl", "r1");
    world.trigger_as("etl", "r2");
    world.settle();
    let told = world.why("etl", Some("r2"), Some("t"), MapIndex::UNMAPPED);
    let [Reason::Pool { needs: 1, free: 0, slots: 1, holders, .. }] = &told.is.reasons[..] else {
        panic!("{told:?}")
    };
    assert_eq!((names(holders), holders.more), (vec!["ml/r1/t".to_owned()], 0));
    let place = told.place.expect("it stands in line");
    assert_eq!((place.before, place.line), (1, WaitingLine::Pool(pool("gpu"))));
    // What is picked next is what was said to come before.
    world.succeed("e1", "ml/r1/t/1");
    world.settle();
    assert!(world.offered().contains(&"etl/r1/t/1".to_owned()));
    let told = world.why("etl", Some("r2"), Some("t"), MapIndex::UNMAPPED);
    assert_eq!(told.place.map(|place| place.before), Some(0));
    world.delete_pool("gpu");
    assert_eq!(why(&world, "etl", "r2", "t"), [Reason::NoPool { pool: pool("gpu") }]);
    world.set_pool("gpu", 2);
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
}

#[test]
fn limits_are_named_with_who_uses_them_up() {
    let narrow = |dag: &mut dagbok_events::DagSpec| dag.max_active_tasks = 1;
    let two = dag("etl").task("a", &[]).task("b", &[]).task("c", &[]).with(narrow);
    let mut world = World::with([two, dag("other").task("a", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    let told = world.why("etl", Some("r1"), Some("c"), MapIndex::UNMAPPED);
    let [Reason::MaxActiveTasks { most: 1, holders }] = &told.is.reasons[..] else {
        panic!("{told:?}")
    };
    assert_eq!(names(holders), ["etl/r1/a"]);
    let place = told.place.expect("it stands in line");
    assert_eq!((place.before, place.line), (1, WaitingLine::Dag), "b goes before it");
    world.set_limits(1, 10);
    world.trigger_as("other", "r1");
    world.settle();
    let reasons = why(&world, "other", "r1", "a");
    let [Reason::Parallelism { most: 1, holders }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(names(holders), ["etl/r1/a"]);
    // Both hold here.
    let reasons = why(&world, "etl", "r1", "b");
    assert!(
        matches!(&reasons[..], [Reason::MaxActiveTasks { .. }, Reason::Parallelism { .. }]),
        "{reasons:?}"
    );
}

#[test]
fn a_try_that_is_offered_says_who_could_take_it() {
    let on = |queue: &str| QueueName::new(queue).expect("a queue");
    let spec =
        dag("etl").task("a", &[]).task("b", &[]).add("c", &[], |task| task.queue = on("gpu"));
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    let nobody = Reason::NoExecutor { queue: on("default"), others: 0 };
    assert_eq!(why(&world, "etl", "r1", "a"), [nobody]);
    world.join("e1");
    let nobody = Reason::NoExecutor { queue: on("gpu"), others: 1 };
    assert_eq!(why(&world, "etl", "r1", "c"), [nobody]);
    assert!(matches!(why(&world, "etl", "r1", "b")[..], [Reason::Offered { executors: 1, .. }]));
}

#[test]
fn a_try_that_asks_for_more_than_any_executor_has_says_so_at_once() {
    let asks = |gpus, memory| dagbok_events::Resources { gpus, memory, ..Default::default() };
    let spec =
        dag("etl")
            .add("a", &[], |task| task.resources = asks(1, None))
            .add("b", &[], |task| task.resources = asks(0, Some(1 << 40)));
    let mut world = World::with([spec]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    let reasons = why(&world, "etl", "r1", "a");
    let [Reason::TooLarge { executors: 1, lacks, .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!(lacks, "1 GPUs, where it has 0");
    // Memory is not counted by an executor that does not say how much it has.
    assert!(matches!(why(&world, "etl", "r1", "b")[..], [Reason::Offered { .. }]));
}

#[test]
fn what_waits_for_a_resource_says_which_and_who_has_it_and_is_not_given_up() {
    let licence = |count| std::collections::BTreeMap::from([("licence".to_owned(), count)]);
    let asks = |count| dagbok_events::Resources { custom: licence(count), ..Default::default() };
    let spec = dag("etl")
        .add("a", &[], |task| task.resources = asks(1))
        .add("b", &[], |task| task.resources = asks(1))
        .task("c", &[]);
    let mut world = World::with([spec]);
    world.queued_for(secs(600));
    world.join_with("e1", asks(1));
    world.trigger_as("etl", "r1");
    world.settle();
    assert!(matches!(why(&world, "etl", "r1", "b")[..], [Reason::Offered { .. }]));
    world.start("e1", "etl/r1/a/1");
    world.start("e1", "etl/r1/c/1");
    let reasons = why(&world, "etl", "r1", "b");
    let [Reason::Resources { executors: 1, lacks, holders, .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!(lacks, "1 of `licence`, where free is 0");
    let named: Vec<&str> = holders.named.iter().map(|it| it.task_id.as_str()).collect();
    assert_eq!((named, holders.more), (vec!["a"], 0), "who has none of it is not named");
    assert_eq!(world.pass(secs(3_600)), [""; 0]);
    world.succeed("e1", "etl/r1/a/1");
    assert_eq!(world.pass(secs(599)), [""; 0], "it has as long from here as anybody");
    let lost = world.pass(secs(2));
    assert!(lost[0].starts_with("TryLost b 1 QueuedTooLong"), "{lost:?}");
}

#[test]
fn what_a_mapped_task_is_mapped_over_is_named() {
    let spec = dag("etl").task("list", &[]).add("each", &["list"], |task| {
        task.trigger_rule = TriggerRule::Always;
        task.is_mapped = true;
        task.expand = Some(Expand::Product { of: vec![Extent::Of { task: 0 }] });
    });
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    let reasons = why(&world, "etl", "r1", "each");
    let [Reason::Lengths { tasks, more: 0 }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(tasks[0].task_id.as_str(), "list");
}

#[test]
fn what_never_runs_says_what_came_before_it() {
    let spec = dag("etl").task("a", &[]).task("b", &["a"]).task("c", &["b"]).task("d", &[]);
    let mut world = World::with([spec]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.fail("e1", "etl/r1/a/1");
    let reasons = why(&world, "etl", "r1", "c");
    let [Reason::Never { why: RuledOut::UpstreamFailed, tasks, .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!((tasks[0].task_id.as_str(), tasks[0].stands), ("b", Some(Stands::UpstreamFailed)));
    assert_eq!(why_run(&world, "etl", "r1").roots[0].task_id, Some(task_id("d")));
    world.succeed("e1", "etl/r1/d/1");
    assert_eq!(why_run(&world, "etl", "r1").is.stands, Stands::Failed, "over, and said to be");
}

#[test]
fn behind_a_long_way_of_upstreams_stands_what_runs() {
    let spec = dag("etl").task("a", &[]).task("b", &["a"]).task("c", &["b"]).task("d", &["c"]);
    let mut world = World::with([spec]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    let told = world.why("etl", Some("r1"), Some("d"), MapIndex::UNMAPPED);
    let roots: Vec<_> = told.roots.iter().map(|it| (it.task_id.clone(), it.stands)).collect();
    assert_eq!(roots, [(Some(task_id("a")), Stands::Running)]);
}

#[test]
fn a_dag_says_when_its_next_run_comes_or_why_none_does() {
    let asset = AssetRef::Asset {
        name: "x".to_owned(),
        uri: "s3://x".to_owned(),
        group: "asset".to_owned(),
        extra: None,
    };
    let on_asset = AssetCondition::One { of: asset.clone() };
    let mut world = World::with([
        dag("daily").task("a", &[]).daily("2024-01-01"),
        dag("by_hand").task("a", &[]),
        dag("by_asset").task("a", &[]).with(|dag| dag.asset_condition = Some(on_asset)),
        dag("past").task("a", &[]).daily("2024-01-01").with(|dag| dag.end_date = dag.start_date),
    ]);
    world.settle();
    let due = world.namespace.dag(&dag_id("daily")).and_then(|it| it.expected()?.due);
    let reasons = why_dag(&world, "daily");
    let [Reason::NextRun { due: told, .. }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(Some(*told), due);
    world.pause("daily");
    assert!(matches!(why_dag(&world, "daily")[..], [Reason::Paused, Reason::NextRun { .. }]));
    assert_eq!(why_dag(&world, "by_hand"), [Reason::NoSchedule]);
    let waits = Reason::Assets { missing: vec![asset], more: 0, there: 0 };
    assert_eq!(why_dag(&world, "by_asset"), [waits]);
    world.go_to("2025-01-01");
    assert!(why_dag(&world, "past").contains(&Reason::NoFurtherRun));
}

#[test]
fn what_is_not_there_is_refused_and_what_is_over_says_so() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    ask(&mut world, "ghost", None, None).refused(RefusalCode::DagNotFound, []);
    ask(&mut world, "ghost", Some("r1"), Some("a")).refused(RefusalCode::DagNotFound, []);
    ask(&mut world, "etl", Some("r1"), None).refused(RefusalCode::RunNotFound, []);
    world.trigger_as("etl", "r1");
    ask(&mut world, "etl", Some("r1"), Some("ghost")).refused(RefusalCode::TaskNotFound, []);
    world.cancel("etl", "r1");
    assert_eq!(why_run(&world, "etl", "r1").is.stands, Stands::Failed);
}
