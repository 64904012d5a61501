//! A run of ever more copies of one task, on the embedded log with the scheduler and the read model, and an
//! executor that does nothing: how long the copies take to be there and to end, what they take up, what runs of
//! others feel of it meanwhile, and what pages of its lists cost.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use dagbok_api::{ApiState, Patience, model::ReadModel, retention::Rules, router};
use dagbok_events::{
    Actor, DagId, DagSpec, ExecutorId, Fact, Payload, PoolName, RunId, Timestamp, TryKey, Usage,
    decode, decode_any,
};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{
    Answer, CommandBody, PoolChange, Report, ReportBody, TriggerRun, WorkItem, XComValue,
};
use dagbok_runlog::{Ports, Queue, QueueSettings, Seq};
use dagbok_runlog_embedded::{Options, open};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::SchedulerSettings;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::script::dag_file;

const PATIENCE: Duration = Duration::from_mins(10);
/// Slots of the copies' pool.
const SLOTS: u32 = 256;
/// How often each page is asked for.
const TIMES: usize = 50;
/// How long others are watched once the copies are there.
const AFTER: Duration = Duration::from_secs(1);

/// All figures of one size; of several, each in a process of its own, for the memory's sake.
pub(crate) async fn measure(copies: &[u32]) -> anyhow::Result<Value> {
    if let [one] = copies {
        return of(*one).await;
    }
    let mut all = Vec::new();
    for one in copies {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        let done = command.args(["mapped", "--copies", &one.to_string()]).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        all.push(serde_json::from_slice(&done.stdout)?);
    }
    Ok(Value::Array(all))
}

/// Who asks, and who plays tries.
#[derive(Clone)]
struct Desk {
    ports: Ports,
    inbox: Inbox,
    executor: ExecutorId,
}

impl Desk {
    async fn ask(&self, body: CommandBody) -> anyhow::Result<()> {
        let answer = self.inbox.ask(Ask::new(Actor::User("bench".into()), body), PATIENCE).await?;
        ensure!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
        Ok(())
    }

    async fn trigger(&self, dag_id: &DagId, number: usize) -> anyhow::Result<()> {
        let run_id = Some(RunId::new(format!("r{number}"))?);
        let logical_date = Some(Timestamp(i64::try_from(number)? * 1_000_000));
        let dag_id = dag_id.clone();
        let trigger = TriggerRun {
            dag_id,
            run_id,
            logical_date,
            conf: None,
            note: None,
            partition_key: None,
        };
        self.ask(CommandBody::TriggerRun(trigger)).await
    }

    async fn queue(&self, name: &str) -> anyhow::Result<Arc<dyn Queue>> {
        let settings = QueueSettings { lease: Duration::from_mins(1) };
        Ok(self.ports.queues.open(&format!("work.{name}"), settings).await?)
    }

    async fn succeed(&self, key: TryKey, length: Option<u32>) -> anyhow::Result<()> {
        let value = Some(Payload::Inline("1".into()));
        let body = ReportBody::Succeeded {
            outlets: Vec::new(),
            xcoms: vec![XComValue { key: "return_value".into(), value, length }],
            usage: Usage::default(),
            log: None,
            skips: vec![],
        };
        let (executor, at) = (self.executor.clone(), Clock::system().now());
        let report = CommandBody::Report(Box::new(Report { key, executor, at, body }));
        self.inbox.tell(Ask::new(Actor::Executor(self.executor.clone()), report)).await?;
        Ok(())
    }
}

/// The next of a queue, or several.
async fn take(queue: &Arc<dyn Queue>, most: usize) -> anyhow::Result<Vec<TryKey>> {
    let mut keys = Vec::new();
    for delivery in queue.pull(most, PATIENCE).await? {
        let item: WorkItem = decode_any(&delivery.payload)?;
        delivery.handle.ack().await?;
        keys.push(item.key);
    }
    Ok(keys)
}

fn dag(dag_id: &str, tasks: &Value) -> DagSpec {
    serde_json::from_value(json!({
        "dag_id": dag_id,
        "owner": "bench",
        "schedule": { "timetable": "Manual", "timezone": "UTC" },
        "max_active_runs": 1_000_000,
        "max_active_tasks": u32::MAX,
        "is_paused_upon_creation": false,
        "tasks": tasks,
        "source": { "file": format!("{dag_id}.py"), "line": 1 }
    }))
    .expect("the shape of a DAG")
}

/// One task that gives a list, a copy of the next for each element, and one that gathers.
fn large() -> DagSpec {
    let over = json!({ "Product": { "of": [{ "Of": { "task": 0 } }] } });
    dag(
        "large",
        &json!([
            { "task_id": "source", "operator": "PythonOperator", "upstream": [], "queue": "large", "pool": "large" },
            { "task_id": "copies", "operator": "PythonOperator", "upstream": [0], "queue": "large", "pool": "large",
              "expand": over, "is_mapped": true },
            { "task_id": "gather", "operator": "PythonOperator", "upstream": [1], "queue": "large", "pool": "large" },
        ]),
    )
}

/// Runs of two tasks one after the other, one at a time: when each hand-off was, and what it took.
async fn others(desk: Desk, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<(Instant, Duration)>> {
    let (dag_id, queue) = (DagId::new("other")?, desk.queue("default").await?);
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        desk.trigger(&dag_id, took.len()).await?;
        let first = take(&queue, 1).await?.pop().context("the first task")?;
        let begin = Instant::now();
        desk.succeed(first, None).await?;
        let second = take(&queue, 1).await?.pop().context("the second task")?;
        took.push((begin, begin.elapsed()));
        desk.succeed(second, None).await?;
    }
    Ok(took)
}

/// Ends the copies as they come, until there are no more; when that was.
async fn end_copies(desk: Desk, queue: Arc<dyn Queue>, copies: u32) -> anyhow::Result<Instant> {
    let mut left = copies;
    while left > 0 {
        for key in take(&queue, 64).await? {
            left -= 1;
            desk.succeed(key, None).await?;
        }
    }
    let gather = take(&queue, 1).await?.pop().context("the task that gathers")?;
    let ended = Instant::now();
    desk.succeed(gather, None).await?;
    Ok(ended)
}

/// Waits for the first fact that `is_it`.
async fn until(ports: &Ports, after: Seq, is_it: impl Fn(&Fact) -> bool) -> anyhow::Result<Seq> {
    let mut entries = ports.log.follow(after);
    loop {
        let batch = tokio::time::timeout(PATIENCE, entries.next()).await?.context("the log")??;
        for entry in batch {
            if decode(&entry.payload)?.facts.iter().any(&is_it) {
                return Ok(entry.seq);
            }
        }
    }
}

fn quantiles(of: impl Iterator<Item = f64>) -> Value {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    let at = |part: usize| all.get(all.len() * part / 100).map(|ms| (ms * 100.0).round() / 100.0);
    let most = all.last().map(|ms| (ms * 100.0).round() / 100.0);
    json!({ "count": all.len(), "p50_ms": at(50), "p99_ms": at(99), "max_ms": most })
}

pub(crate) fn memory(line: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let found =
        status.lines().find_map(|one| one.strip_prefix(line)).context("a line of status")?;
    let kilobytes = found.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>()?;
    Ok(kilobytes / 1024)
}

async fn page(app: &Router, path: &str) -> anyhow::Result<Value> {
    let peer: SocketAddr = "127.0.0.1:9".parse()?;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let mut request = Request::get(format!("/api/v2/{path}")).body(Body::empty())?;
        request.extensions_mut().insert(ConnectInfo(peer));
        let begin = Instant::now();
        let answer = app.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await?;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        took.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(quantiles(took.into_iter()))
}

async fn pages(app: &Router, copies: u32) -> anyhow::Result<Value> {
    let run = "dags/large/dagRuns/r0";
    let mapped = format!("{run}/taskInstances/copies/listMapped");
    let (middle, end) = (copies / 2, copies.saturating_sub(50));
    let mut figures = serde_json::Map::new();
    for (name, path) in [
        ("run", run.to_owned()),
        ("instances", format!("{run}/taskInstances?limit=50")),
        ("instances, the middle", format!("{run}/taskInstances?limit=50&offset={middle}")),
        ("copies", format!("{mapped}?limit=50")),
        ("copies, the end", format!("{mapped}?limit=50&offset={end}")),
        ("copies, backwards", format!("{mapped}?limit=50&order_by=-map_index")),
        ("copies that run", format!("{mapped}?limit=50&state=queued&state=running")),
        ("copies that failed", format!("{mapped}?limit=50&state=failed")),
        ("one copy", format!("{run}/taskInstances/copies/{middle}")),
        (
            "all runs' failed tasks",
            "dags/~/dagRuns/~/taskInstances?state=failed&limit=50".to_owned(),
        ),
    ] {
        figures.insert(name.to_owned(), page(app, &path).await?);
    }
    Ok(Value::Object(figures))
}

/// All services but an executor and a processor, in one process.
struct World {
    desk: Desk,
    model: ReadModel,
    app: Router,
    shutdown: Shutdown,
    keeping: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new(home: &std::path::Path) -> anyhow::Result<Self> {
        let (ports, _) = open(home, Options::default())?;
        let (clock, shutdown) = (Clock::system(), Shutdown::new());
        let (settings, child) = (SchedulerSettings::default(), shutdown.child());
        shutdown.spawn(dagbok_scheduler::run(ports.clone(), settings, clock.clone(), child));
        let model = ReadModel::open(Some(&home.join("read-model")))?;
        let (patience, rules) = (Patience::default(), Rules::default());
        let (shared, stop) = (ports.clone(), shutdown.clone());
        let state =
            ApiState::new(shared, model.clone(), clock.clone(), stop, patience, rules).await?;
        let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
        let keeping = tokio::spawn(async move { kept.keep(log, &stop).await.expect("rows") });
        let inbox = Inbox::open(&ports, clock).await?;
        let desk = Desk { ports, inbox, executor: ExecutorId::new("bench")? };
        desk.ask(CommandBody::SetPool(PoolChange::sized(PoolName::new("large")?, SLOTS))).await?;
        desk.ask(dag_file(large())).await?;
        let task = |id: &str, upstream: &[u32]| json!({ "task_id": id, "operator": "PythonOperator", "upstream": upstream });
        desk.ask(dag_file(dag("other", &json!([task("a", &[]), task("b", &[0])])))).await?;
        Ok(Self { desk, model, app: router(state), shutdown, keeping })
    }
}

async fn of(copies: u32) -> anyhow::Result<Value> {
    let home = tempfile::tempdir()?;
    let World { desk, model, app, shutdown, keeping } = World::new(home.path()).await?;
    let ports = desk.ports.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(others(desk.clone(), Arc::clone(&stop)));
    tokio::time::sleep(AFTER).await;
    let queue = desk.queue("large").await?;
    desk.trigger(&DagId::new("large")?, 0).await?;
    let source = take(&queue, 1).await?.pop().context("the source")?;
    let (before, from) = (memory("VmRSS:")?, ports.log.last().await?);
    let begin = Instant::now();
    desk.succeed(source, Some(copies)).await?;
    let expanded = until(&ports, from, |fact| matches!(fact, Fact::TaskExpanded(_))).await?;
    let queued =
        |fact: &Fact| matches!(fact, Fact::TaskQueued(f) if f.task_id.as_str() == "copies");
    until(&ports, Seq(expanded.0 - 1), queued).await?;
    let there = begin.elapsed();
    let mut ending = tokio::spawn(end_copies(desk.clone(), queue, copies));
    let early = tokio::time::timeout(AFTER, &mut ending).await;
    let meanwhile = pages(&app, copies).await?;
    let ended = match early {
        Ok(ended) => ended??,
        Err(_) => ending.await??,
    };
    let took = (ended - (begin + there)).as_secs_f64();
    tokio::time::sleep(AFTER).await;
    stop.store(true, Ordering::Relaxed);
    let watched = watching.await??;
    let (peak, after) = (memory("VmHWM:")?, memory("VmRSS:")?);
    let last = ports.log.last().await?;
    ensure!(model.progress().wait_for(last, PATIENCE).await, "rows in time");
    let over = pages(&app, copies).await?;
    let ms = |part: &[(Instant, Duration)]| {
        quantiles(part.iter().map(|(_, took)| took.as_secs_f64() * 1e3))
    };
    let at = |when: Instant| watched.partition_point(|(begun, _)| *begun < when);
    // One that had begun before feels it too.
    let (first, then) = (at(begin).saturating_sub(1), at(begin + there + AFTER));
    shutdown.start();
    keeping.await?;
    Ok(json!({
        "copies": copies,
        "expanded_ms": (there.as_secs_f64() * 1e4).round() / 10.0,
        "ended_s": (took * 100.0).round() / 100.0,
        "us_for_each": (took * 1e6 / f64::from(copies)).round(),
        "memory_mb": { "before": before, "most": peak, "after": after },
        "hand_off_of_others": {
            "before": ms(&watched[..first]),
            "while_expanding": ms(&watched[first..then]),
            "meanwhile": ms(&watched[first..]),
        },
        "pages": { "while_it_runs": meanwhile, "once_it_is_over": over },
    }))
}
