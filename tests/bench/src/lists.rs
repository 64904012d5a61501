//! What lists cost against how much history there is: the API over read models of ever more finished runs.
use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use dagbok_api::{ApiState, Patience, model::ReadModel, retention::Rules, router};
use dagbok_runlog::memory;
use dagbok_runtime::{Clock, Shutdown};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{appender::Appender, runs};

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
    "dags/dag_0/dagRuns?state=failed&order_by=-logical_date&limit=50",
    "dags/~/dagRuns/~/taskInstances?state=running&limit=10",
    "dags/~/dagRuns/~/taskInstances?order_by=-start_date&limit=50",
    "dags?order_by=last_run_start_date&limit=50",
];

/// A log that grows, and the API over it.
struct World {
    log: Appender,
    model: ReadModel,
    app: Router,
    made: u64,
    dags: u64,
}

impl World {
    /// One run of one task; it ends, but where it is left running.
    async fn run(&mut self, ends: bool) -> anyhow::Result<()> {
        let n = self.made;
        self.made += 1;
        for record in runs::run(n, self.dags, BEGIN + i64::try_from(n)? * 1_000_000, ends)? {
            self.log.add(&record).await?;
        }
        Ok(())
    }
}

async fn ask(app: &Router, path: &str) -> anyhow::Result<f64> {
    let peer: SocketAddr = "127.0.0.1:9".parse()?;
    let mut request = Request::get(format!("/api/v2/{path}")).body(Body::empty())?;
    request.extensions_mut().insert(ConnectInfo(peer));
    let begin = Instant::now();
    let answer = app.clone().oneshot(request).await?;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await?;
    ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// How long each list takes.
pub(crate) async fn figures(app: &Router) -> anyhow::Result<Value> {
    let mut figures = serde_json::Map::new();
    for path in LISTS {
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            took.push(ask(app, path).await?);
        }
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took.get(TIMES * part / 100).copied();
        let (p50, p99) = (at(50).context("some")?, at(99).context("some")?);
        figures.insert(path.to_owned(), json!({ "p50_ms": p50, "p99_ms": p99 }));
    }
    Ok(Value::Object(figures))
}

/// Prints how long each list takes over histories of so many finished runs, from few to many.
pub(crate) async fn measure(runs: &[u64], dags: u64) -> anyhow::Result<Value> {
    let (ports, shutdown) = (memory::ports(), Shutdown::new());
    let home = tempfile::tempdir()?;
    let model = ReadModel::open(Some(&home.path().join("read-model")))?;
    let clock = Clock::system();
    let patience = Patience::default();
    let state = ApiState::new(
        ports.clone(),
        model.clone(),
        clock,
        shutdown.clone(),
        patience,
        Rules::default(),
    )
    .await?;
    let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
    let keeping = tokio::spawn(async move { kept.keep(log, &stop).await });
    let app = router(state);
    let log = Appender::new(Arc::clone(&ports.log));
    let mut world = World { log, model, app, made: 0, dags };
    for n in 0..dags {
        world.log.add(&runs::registered(n, BEGIN)?).await?;
    }
    for _ in 0..ACTIVE {
        world.run(false).await?;
    }
    let mut all = serde_json::Map::new();
    for &wanted in runs {
        let (begin, before) = (Instant::now(), world.log.last());
        while world.made < wanted + ACTIVE {
            world.run(true).await?;
        }
        world.log.flush().await?;
        let minutes = std::time::Duration::from_mins(10);
        ensure!(world.model.progress().wait_for(world.log.last(), minutes).await, "rows in time");
        let folded =
            json!({ "records": world.log.last().0 - before.0, "s": begin.elapsed().as_secs_f64() });
        let figures = json!({ "told_and_folded": folded, "lists": figures(&world.app).await? });
        all.insert(wanted.to_string(), figures);
    }
    shutdown.start();
    keeping.await??;
    Ok(Value::Object(all))
}
