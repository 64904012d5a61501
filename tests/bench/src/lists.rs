//! What lists cost against how much history there is: the API over read models of ever more finished runs.
use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use dagbok_api::{ApiState, Patience, model::ReadModel, router};
use dagbok_events::{
    Actor, DagId, Digest, ExecutorId, Fact, Leg, MapIndex, PoolName, QueueName, Record, RunCreated,
    RunFailed, RunId, RunKey, RunStarted, RunSucceeded, RunType, Scope, TaskId, TaskQueued,
    Timestamp, TryNumber, TryStarted, TrySucceeded, Usage, encode, subject_of,
};
use dagbok_runlog::{Draft, Ports, Seq, memory};
use dagbok_runtime::{Clock, Shutdown};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{script::digest, shapes::Shape};

const BEGIN: i64 = 1_700_000_000_000_000;
/// Runs that are not over, whatever the history.
const ACTIVE: u64 = 20;
/// How often each list is asked for.
const TIMES: usize = 100;

/// What is asked, with nothing of it in more than one way.
const LISTS: [&str; 14] = [
    "dags/~/dagRuns?limit=50",
    "dags/~/dagRuns?order_by=-id&limit=50",
    "dags/~/dagRuns?state=running&limit=10",
    "dags/~/dagRuns?state=failed&order_by=-end_date&limit=50",
    "dags/~/dagRuns?state=success&state=failed&order_by=-duration&limit=50",
    "dags/~/dagRuns?order_by=-updated_at&limit=50",
    "dags/~/dagRuns?order_by=dag_id&order_by=-start_date&limit=50",
    "dags/~/dagRuns?run_type=manual&order_by=logical_date&limit=50",
    "dags/~/dagRuns?start_date_gte=2023-11-14T23:00:00Z&order_by=-run_after&limit=50",
    "dags/~/dagRuns?run_id_pattern=nothing_like_it&limit=50",
    "dags/dag_7/dagRuns?state=failed&order_by=-logical_date&limit=50",
    "dags/~/dagRuns/~/taskInstances?state=running&limit=10",
    "dags/~/dagRuns/~/taskInstances?order_by=-start_date&limit=50",
    "dags?order_by=last_run_start_date&limit=50",
];

/// A log that grows, and the API over it.
struct World {
    ports: Ports,
    model: ReadModel,
    app: Router,
    last: Seq,
    drafts: Vec<Draft>,
    made: u64,
    dags: u64,
}

impl World {
    async fn tell(&mut self, at: i64, scope: Scope, facts: Vec<Fact>) -> anyhow::Result<()> {
        let record = Record {
            at: Timestamp(at),
            clock: None,
            scope,
            by: Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts,
        };
        let subject = subject_of(&record.scope);
        self.drafts.push(Draft { subject, payload: encode(&record).into() });
        if self.drafts.len() >= 4_096 { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let drafts = std::mem::take(&mut self.drafts);
        if !drafts.is_empty() {
            self.last = self.ports.log.append(self.last, drafts).await?;
        }
        Ok(())
    }

    /// One run of one task; it ends, but where it is left running.
    async fn run(&mut self, ends: bool) -> anyhow::Result<()> {
        let n = self.made;
        self.made += 1;
        let at = BEGIN + i64::try_from(n)? * 1_000_000;
        let key = RunKey {
            dag_id: DagId::new(format!("dag_{}", n % self.dags))?,
            run_id: RunId::new(format!("scheduled__{n:09}"))?,
        };
        let (task_id, map_index, try_number) =
            (TaskId::new("task_00000")?, MapIndex::UNMAPPED, TryNumber::FIRST);
        let created = RunCreated {
            run_type: if n.is_multiple_of(1_000) { RunType::Manual } else { RunType::Scheduled },
            logical_date: Some(Timestamp(at - 3_600_000_000)),
            data_interval: None,
            run_after: Timestamp(at),
            version: 1,
            bundle: digest(),
            conf: None,
            note: None,
        };
        let queued = TaskQueued {
            task_id: task_id.clone(),
            map_index,
            try_number,
            leg: Leg::FIRST,
            pool: PoolName::new("default_pool")?,
            pool_slots: 1,
            queue: QueueName::new("default")?,
        };
        let started = TryStarted {
            task_id: task_id.clone(),
            map_index,
            try_number,
            leg: Leg::FIRST,
            executor: ExecutorId::new("executor-1")?,
            hostname: "a.host.example".to_owned(),
            pid: 4_242,
            started_at: Timestamp(at),
            inputs: std::collections::BTreeMap::new(),
        };
        let facts = vec![
            Fact::RunCreated(Box::new(created)),
            Fact::RunStarted(RunStarted {}),
            Fact::TaskQueued(queued),
            Fact::TryStarted(Box::new(started)),
        ];
        self.tell(at, Scope::Run(key.clone()), facts).await?;
        if !ends {
            return Ok(());
        }
        let took = i64::try_from(n * 7_919 % 100_000)? * 1_000;
        let ended_at = Timestamp(at + took);
        let succeeded = TrySucceeded {
            task_id,
            map_index,
            try_number,
            leg: Leg::FIRST,
            ended_at,
            usage: Usage::default(),
            log: None,
        };
        let end = if n.is_multiple_of(500) {
            Fact::RunFailed(RunFailed { failed: vec![] })
        } else {
            Fact::RunSucceeded(RunSucceeded {})
        };
        let facts = vec![Fact::TrySucceeded(Box::new(succeeded)), end];
        self.tell(at + took, Scope::Run(key), facts).await
    }

    async fn took(&self, path: &str) -> anyhow::Result<f64> {
        let peer: SocketAddr = "127.0.0.1:9".parse()?;
        let mut request = Request::get(format!("/api/v2/{path}")).body(Body::empty())?;
        request.extensions_mut().insert(ConnectInfo(peer));
        let begin = Instant::now();
        let answer = self.app.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await?;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    }

    async fn figures(&self) -> anyhow::Result<Value> {
        let mut figures = serde_json::Map::new();
        for path in LISTS {
            let mut took = Vec::with_capacity(TIMES);
            for _ in 0..TIMES {
                took.push(self.took(path).await?);
            }
            took.sort_by(f64::total_cmp);
            let at = |part: usize| took.get(TIMES * part / 100).copied();
            let (p50, p99) = (at(50).context("some")?, at(99).context("some")?);
            figures.insert(path.to_owned(), json!({ "p50_ms": p50, "p99_ms": p99 }));
        }
        Ok(Value::Object(figures))
    }
}

/// Prints how long each list takes over histories of so many finished runs, from few to many.
pub(crate) async fn measure(runs: &[u64], dags: u64) -> anyhow::Result<Value> {
    let (ports, shutdown) = (memory::ports(), Shutdown::new());
    let home = tempfile::tempdir()?;
    let model = ReadModel::open(Some(&home.path().join("read-model")))?;
    let clock = Clock::system();
    let patience = Patience::default();
    let state =
        ApiState::new(ports.clone(), model.clone(), clock, shutdown.clone(), patience).await?;
    let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
    let keeping = tokio::spawn(async move { kept.keep(log, &stop).await });
    let app = router(state);
    let drafts = Vec::new();
    let mut world = World { ports, model, app, last: Seq::ZERO, drafts, made: 0, dags };
    for n in 0..dags {
        let fact = dagbok_events::DagRegistered {
            version: 1,
            spec_digest: Digest::new("a".repeat(64))?,
            bundle: digest(),
            spec: Shape::Apart.dag(&format!("dag_{n}"), 1, 16),
            paused: Some(false),
        };
        let scope = Scope::Dag(DagId::new(format!("dag_{n}"))?);
        world.tell(BEGIN, scope, vec![Fact::DagRegistered(Box::new(fact))]).await?;
    }
    for _ in 0..ACTIVE {
        world.run(false).await?;
    }
    let mut all = serde_json::Map::new();
    for &wanted in runs {
        let (begin, before) = (Instant::now(), world.last);
        while world.made < wanted + ACTIVE {
            world.run(true).await?;
        }
        world.flush().await?;
        let minutes = std::time::Duration::from_mins(10);
        ensure!(world.model.progress().wait_for(world.last, minutes).await, "rows in time");
        let folded =
            json!({ "records": world.last.0 - before.0, "s": begin.elapsed().as_secs_f64() });
        let figures = json!({ "told_and_folded": folded, "lists": world.figures().await? });
        all.insert(wanted.to_string(), figures);
    }
    shutdown.start();
    keeping.await??;
    Ok(Value::Object(all))
}
