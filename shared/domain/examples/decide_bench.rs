//! How long the rules take for whole runs, in memory: every command decided and folded, from the trigger
//! to the end. `cargo run --release -p dagbok-domain --example decide_bench`
//!
//! Goals on two cores: 1,000 tasks in 10 ms, 10,000 in 120 ms, whatever the shape.
#![expect(clippy::print_stdout, reason = "the figures are for whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; the rules never do")]
use std::time::{Duration, Instant};

use dagbok_domain::namespace::{DEFAULT_POOL, Namespace};
use dagbok_events::{
    Actor, CommandId, DagId, DagSpec, Digest, ExecutorId, PoolName, QueueName, Record, Schedule,
    SourceLocation, TaskId, TaskSpec, Timestamp, Timetable, TriggerRule, TryKey, Usage,
};
use dagbok_protocol::{
    Command, CommandBody, DagFile, RegisteredDag, Report, ReportBody, TriggerRun,
};

/// Each figure is the median of so many runs.
const ROUNDS: usize = 7;

fn main() {
    println!(
        "{:<28} {:>8} {:>12} {:>12} {:>10}",
        "shape", "tasks", "median", "per task", "records"
    );
    for (name, shape) in SHAPES {
        for tasks in [1_000, 10_000] {
            measure(name, tasks, shape(tasks), u32::MAX);
        }
    }
    for tasks in [1_000, 10_000] {
        measure("1 to n to 1, 16 at once", tasks, fan_out(tasks), 16);
    }
    ending(10_000);
    missed();
}

type Shape = fn(u32) -> Vec<Vec<u32>>;

const SHAPES: [(&str, Shape); 4] =
    [("1 to n to 1", fan_out), ("chain", chain), ("random, 3 upstreams", random), ("apart", apart)];

fn fan_out(tasks: u32) -> Vec<Vec<u32>> {
    let middle = (1..tasks - 1).map(|_| vec![0]);
    [vec![]].into_iter().chain(middle).chain([(1..tasks - 1).collect()]).collect()
}

fn chain(tasks: u32) -> Vec<Vec<u32>> {
    (0..tasks).map(|n| n.checked_sub(1).into_iter().collect()).collect()
}

fn apart(tasks: u32) -> Vec<Vec<u32>> {
    (0..tasks).map(|_| vec![]).collect()
}

fn random(tasks: u32) -> Vec<Vec<u32>> {
    let mut state = 0x9e37_79b9_u32;
    let mut roll = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut upstreams = |n: u32| {
        let mut ups: Vec<u32> =
            (0..3).filter(|_| n > 0).map(|_| n - 1 - roll() % n.min(200)).collect();
        ups.sort_unstable();
        ups.dedup();
        ups
    };
    (0..tasks).map(&mut upstreams).collect()
}

fn measure(name: &str, tasks: u32, shape: Vec<Vec<u32>>, at_once: u32) {
    let spec = dag(shape, at_once);
    let mut rounds: Vec<(Duration, u64)> = (0..ROUNDS).map(|_| run(&spec)).collect();
    rounds.sort_unstable();
    let (median, records) = rounds[ROUNDS / 2];
    let each = median / tasks;
    println!("{name:<28} {tasks:>8} {median:>12.2?} {each:>12.2?} {records:>10}");
}

/// One run from trigger to end, each try begun and ended by a report of its own.
fn run(spec: &DagSpec) -> (Duration, u64) {
    let mut desk = Desk::new(spec);
    let before = desk.namespace.last_seq();
    let started = Instant::now();
    desk.trigger();
    let mut todo = desk.plan();
    let mut next = 0;
    while let Some(key) = todo.get(next).cloned() {
        next += 1;
        let (hostname, inputs) = ("host".to_owned(), std::collections::BTreeMap::new());
        desk.report(&key, ReportBody::Started { hostname, pid: 1, inputs });
        let usage = Usage::default();
        desk.report(&key, ReportBody::Succeeded { xcoms: Vec::new(), usage, log: None });
        todo.extend(desk.plan());
    }
    let took = started.elapsed();
    assert_eq!(todo.len(), spec.tasks.len(), "every task ran once");
    assert_eq!(desk.namespace.active_runs().count(), 0, "the run is over");
    (took, desk.namespace.last_seq() - before)
}

/// The longest single decisions: a run of many tasks ended by hand, and a snapshot of it.
fn ending(tasks: u32) {
    let mut desk = Desk::new(&dag(fan_out(tasks), u32::MAX));
    desk.trigger();
    desk.plan();
    let started = Instant::now();
    let bytes = desk.namespace.to_snapshot();
    println!("snapshot of {tasks} waiting tasks: {:.2?}, {} bytes", started.elapsed(), bytes.len());
    let started = Instant::now();
    Namespace::from_snapshot(&bytes).expect("ours");
    println!("and back: {:.2?}", started.elapsed());
    let key = desk.namespace.active_runs().next().expect("the run").key().clone();
    let started = Instant::now();
    desk.send(CommandBody::CancelRun { dag_id: key.dag_id, run_id: key.run_id });
    println!("cancelled: {:.2?}", started.elapsed());
}

/// Four weeks of minutes that nobody made a run of: counted in one decision.
fn missed() {
    let mut spec = dag(Vec::new(), 1);
    spec.schedule.timetable = Timetable::CronDataInterval { expression: "* * * * *".to_owned() };
    spec.start_date = Some(Timestamp(0));
    let mut desk = Desk::new(&spec);
    desk.now += 28 * 24 * 3_600 * 1_000_000;
    let started = Instant::now();
    desk.plan();
    println!("four weeks of minutes missed: {:.2?}", started.elapsed());
}

struct Desk {
    namespace: Namespace,
    now: i64,
    commands: u64,
}

impl Desk {
    fn new(spec: &DagSpec) -> Self {
        let mut desk = Self { namespace: Namespace::new(), now: 0, commands: 0 };
        let dags = vec![RegisteredDag { spec_digest: digest(), spec: spec.clone() }];
        let (file, bundle, errors) = (spec.source.file.clone(), digest(), Vec::new());
        let file = DagFile { file, bundle, dags, errors, paused_at_creation: false };
        desk.send(CommandBody::DagFileRead(Box::new(file)));
        let pool = PoolName::new(DEFAULT_POOL).expect("a pool name");
        desk.send(CommandBody::SetPool { pool, slots: u32::MAX });
        desk.send(CommandBody::SetLimits { parallelism: u32::MAX, max_losses: 10 });
        desk
    }

    fn send(&mut self, body: CommandBody) {
        self.now += 1;
        self.commands += 1;
        let id = CommandId::new(format!("c{}", self.commands)).expect("an id");
        let sent_at = Timestamp(self.now);
        let by = Actor::User("bench".to_owned());
        let command = Command { id, by, sent_at, reply_to: None, reason: None, trace: None, body };
        for record in self.namespace.decide(sent_at, &command).records {
            self.evolve(&record);
        }
    }

    fn evolve(&mut self, record: &Record) {
        self.namespace.evolve(self.namespace.last_seq() + 1, record);
    }

    fn trigger(&mut self) {
        let (dag_id, run_id, logical_date, conf, note) = (dag_id(), None, None, None, None);
        self.send(CommandBody::TriggerRun(TriggerRun { dag_id, run_id, logical_date, conf, note }));
    }

    fn report(&mut self, key: &TryKey, body: ReportBody) {
        let executor = ExecutorId::new("e1").expect("an id");
        let report = Report { key: key.clone(), executor, at: Timestamp(self.now), body };
        self.send(CommandBody::Report(Box::new(report)));
    }

    /// Carries out what is called for; returns the tries that were offered, as their work items name them.
    fn plan(&mut self) -> Vec<TryKey> {
        let mut offered = Vec::new();
        loop {
            let now = Timestamp(self.now);
            let proposals = self.namespace.plan(now);
            if proposals.is_empty() {
                return offered;
            }
            for proposal in &proposals {
                let Some(record) = self.namespace.carry_out(now, proposal) else { continue };
                self.evolve(&record);
                let dagbok_events::Scope::Run(key) = &record.scope else { continue };
                for fact in &record.facts {
                    if let dagbok_events::Fact::TaskQueued(f) = fact {
                        let item = self.namespace.work_item_of(key, &f.task_id, f.map_index);
                        offered.push(item.expect("it was just offered").key);
                    }
                }
            }
        }
    }
}

fn dag_id() -> DagId {
    DagId::new("bench").expect("a DAG id")
}

fn digest() -> Digest {
    Digest::new("0".repeat(64)).expect("hexadecimal")
}

fn dag(shape: Vec<Vec<u32>>, at_once: u32) -> DagSpec {
    let task = |(n, upstream): (usize, Vec<u32>)| TaskSpec {
        task_id: TaskId::new(format!("task_{n:05}")).expect("a task id"),
        operator: "PythonOperator".to_owned(),
        upstream,
        trigger_rule: TriggerRule::AllSuccess,
        retries: 0,
        retry_delay: dagbok_events::Micros(0),
        retry_backoff_milli: 0,
        max_retry_delay: None,
        execution_timeout: None,
        pool: PoolName::new(DEFAULT_POOL).expect("a pool name"),
        pool_slots: 1,
        queue: QueueName::new("default").expect("a queue name"),
        priority_weight: 1,
        owner: String::new(),
        group: None,
        is_mapped: false,
        doc_md: None,
    };
    DagSpec {
        dag_id: dag_id(),
        display_name: None,
        description: None,
        doc_md: None,
        owner: String::new(),
        tags: Vec::new(),
        era: 3,
        schedule: Schedule { text: None, timetable: Timetable::Manual, timezone: "UTC".to_owned() },
        start_date: None,
        end_date: None,
        catchup: false,
        max_active_runs: 16,
        max_active_tasks: at_once,
        dagrun_timeout: None,
        is_paused_upon_creation: None,
        params: None,
        tasks: shape.into_iter().enumerate().map(task).collect(),
        source: SourceLocation { file: "bench.py".to_owned(), line: 1 },
    }
}
