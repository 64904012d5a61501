//! What happens in the tests, in few words.
use dagbok_alerts::{Alert, Matcher, Rule, Thresholds};
use dagbok_events::{
    DagId, DagRegistered, Deadline, DeadlineFrom, Digest, ExecutorFull, ExecutorId, ExecutorJoined,
    ExecutorLeft, ExecutorName, Fact, Interval, LeftWhy, Leg, MapIndex, Micros, PoolName,
    QueueName, RunStarted, RunSucceeded, Scope, TaskId, TaskQueued, TryNumber, TryStarted,
    TrySucceeded, Usage,
};
use serde_json::{Value, json};

use super::{HOUR, World, created, key};

pub(crate) const MINUTE: Micros = Micros::from_secs(60);

pub(crate) fn registered(deadlines: &[Deadline], tasks: &Value) -> Fact {
    let spec = json!({
        "dag_id": "dag_0", "owner": "ml", "schedule": { "timetable": "Manual", "timezone": "UTC" },
        "catchup": false, "max_active_runs": 16, "max_active_tasks": 16, "tasks": tasks, "deadlines": deadlines,
        "source": { "file": "file.py" },
    });
    let digest = || Digest::new("0".repeat(64)).unwrap();
    Fact::DagRegistered(Box::new(DagRegistered {
        version: 1,
        spec_digest: digest(),
        bundle: digest(),
        spec: serde_json::from_value(spec).unwrap(),
        paused: None,
    }))
}

pub(crate) fn tasks() -> Value {
    json!([{ "task_id": "train", "operator": "PythonOperator" }, { "task_id": "tell", "operator": "PythonOperator" }])
}

/// A world with one DAG.
pub(crate) fn world(deadlines: &[Deadline], tasks: &Value) -> World {
    let mut world = World::new();
    let dag_id = DagId::new("dag_0").unwrap();
    world.log(Scope::Dag(dag_id), registered(deadlines, tasks));
    world
}

pub(crate) fn scope(run: u8) -> Scope {
    Scope::Run(key(0, run))
}

/// A scheduled run whose data interval ends now begins.
pub(crate) fn begin(world: &mut World, run: u8) -> u64 {
    let start = world.now.plus(Micros(-HOUR.0));
    let made = dagbok_events::RunCreated {
        data_interval: Some(Interval { start, end: world.now }),
        ..created(start)
    };
    let seq = world.log(scope(run), Fact::RunCreated(Box::new(made)));
    world.log(scope(run), Fact::RunStarted(RunStarted {}));
    seq
}

pub(crate) fn queue(world: &mut World, run: u8, task: &str) {
    let fact = TaskQueued {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex(-1),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        pool: PoolName::new("default_pool").unwrap(),
        pool_slots: 1,
        queue: QueueName::new("default").unwrap(),
    };
    world.log(scope(run), Fact::TaskQueued(fact));
}

pub(crate) fn start(world: &mut World, run: u8, task: &str, executor: &str) {
    let fact = TryStarted {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex(-1),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        executor: ExecutorId::new(executor).unwrap(),
        hostname: "host".to_owned(),
        pid: 1,
        started_at: world.now,
        inputs: [].into(),
    };
    world.log(scope(run), Fact::TryStarted(Box::new(fact)));
}

pub(crate) fn succeed(world: &mut World, run: u8, task: &str, mib: u64) {
    let usage = Usage { max_rss_bytes: mib << 20, user_us: 0, system_us: 0 };
    let fact = TrySucceeded {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex(-1),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        ended_at: world.now,
        usage,
        log: None,
        skips: vec![],
    };
    world.log(scope(run), Fact::TrySucceeded(Box::new(fact)));
}

pub(crate) fn end(world: &mut World, run: u8) {
    world.log(scope(run), Fact::RunSucceeded(RunSucceeded {}));
}

/// A whole run of one task.
pub(crate) fn whole(world: &mut World, run: u8, took: Micros, mib: u64) {
    begin(world, run);
    queue(world, run, "train");
    world.now = world.now.plus(took);
    succeed(world, run, "train", mib);
    end(world, run);
}

pub(crate) fn wait(world: &mut World, time: Micros) {
    world.now = world.now.plus(time);
    world.settle();
}

pub(crate) fn of(world: &World, rule: Rule) -> Vec<&Alert> {
    world.book.alerts().filter(|alert| alert.rule == rule).collect()
}

pub(crate) fn open(world: &World, rule: Rule) -> Option<&Alert> {
    of(world, rule).into_iter().find(|alert| alert.is_open())
}

pub(crate) fn deadline(task: Option<&str>, from: DeadlineFrom, after: Micros) -> Deadline {
    Deadline { task_id: task.map(|id| TaskId::new(id).unwrap()), from, after, name: None }
}

pub(crate) fn thresholds(world: &mut World, said: &Thresholds) {
    let matchers: Vec<Matcher> = vec!["owner=ml".parse().unwrap()];
    world.policy.thresholds = vec![Thresholds { matchers, ..said.clone() }];
    world.watch.heed(&world.policy.thresholds);
    world.agenda.look_again();
}

pub(crate) fn joined(world: &mut World, id: &str, host: &str, queue: &str) {
    come(world, id, host, vec![QueueName::new(queue).unwrap()], None);
}

/// A place of the executor that is called so.
pub(crate) fn part_joined(world: &mut World, id: &str, host: &str, of: &str) {
    come(world, id, host, Vec::new(), Some(ExecutorName::new(of).unwrap()));
}

/// It has no place for another try, or has one again.
pub(crate) fn filled(world: &mut World, id: &str, full: bool) {
    let scope = Scope::Executor(ExecutorId::new(id).unwrap());
    world.log(scope, Fact::ExecutorFull(ExecutorFull { full }));
}

fn come(
    world: &mut World,
    id: &str,
    host: &str,
    queues: Vec<QueueName>,
    part_of: Option<ExecutorName>,
) {
    let joined = ExecutorJoined {
        hostname: host.to_owned(),
        slots: 1,
        queues,
        version: String::new(),
        python: String::new(),
        resources: dagbok_events::Resources::default(),
        isolation: String::new(),
        name: None,
        protocol: None,
        part_of,
    };
    let scope = Scope::Executor(ExecutorId::new(id).unwrap());
    world.log(scope, Fact::ExecutorJoined(Box::new(joined)));
}

pub(crate) fn left(world: &mut World, id: &str, why: LeftWhy) {
    let scope = Scope::Executor(ExecutorId::new(id).unwrap());
    world.log(scope, Fact::ExecutorLeft(ExecutorLeft { why }));
    world.settle();
}

/// A DAG is registered anew by a spec with these fields besides.
pub(crate) fn register(world: &mut World, fields: &Value) {
    let Fact::DagRegistered(mut it) = registered(&[], &tasks()) else { unreachable!() };
    let mut spec = serde_json::to_value(&it.spec).unwrap();
    let whole = spec.as_object_mut().unwrap();
    whole.extend(fields.as_object().unwrap().clone());
    it.spec = serde_json::from_value(spec).unwrap();
    let dag_id = DagId::new("dag_0").unwrap();
    world.log(Scope::Dag(dag_id), Fact::DagRegistered(it));
}
