//! What a command about a run that is over costs while the log grows: a clear's preview, which reads the run's records
//! again, and a deletion, which reads nothing. The scheduler is whole, on the embedded log.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use dagbok_events::{Actor, Record, RunKey, Scope};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, ClearTasks, CommandBody};
use dagbok_runlog_embedded::{Durability, Options, open};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::SchedulerSettings;
use serde_json::{Value, json};

use crate::{appender::Appender, runs};

const BEGIN: i64 = 1_700_000_000_000_000;
const DAGS: u64 = 100;
/// Commands of each kind.
const TIMED: u64 = 100;
/// How long one may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// For so many runs that are over, each: the middle and the longest of the times until the answer, in ms.
pub(crate) async fn measure(sizes: &[u64]) -> anyhow::Result<Value> {
    let mut figures = Vec::new();
    for size in sizes {
        figures.push(of((*size).max(TIMED * 2)).await?);
    }
    Ok(figures.into())
}

async fn of(count: u64) -> anyhow::Result<Value> {
    let home = tempfile::tempdir()?;
    let options = Options { durability: Durability::None, ..Options::default() };
    let (ports, _) = open(home.path(), options)?;
    let mut log = Appender::new(Arc::clone(&ports.log));
    for n in 0..DAGS {
        log.add(&runs::registered(n, BEGIN)?).await?;
    }
    // Spread over all of the history.
    let step = count / (TIMED * 2);
    let mut wanted = Vec::new();
    for n in 0..count {
        let records = runs::run(n, DAGS, BEGIN + i64::try_from(n / DAGS)? * 3_600_000_000, true)?;
        if n % step == 0 {
            wanted.extend(records.first().and_then(key_of));
        }
        for record in &records {
            log.add(record).await?;
        }
    }
    log.flush().await?;
    let (clock, shutdown) = (Clock::system(), Shutdown::new());
    let inbox = Inbox::open(&ports, clock.clone()).await?;
    let settings = SchedulerSettings::default();
    let scheduler = dagbok_scheduler::run(ports.clone(), settings, clock, shutdown.clone());
    let scheduler = tokio::spawn(scheduler);
    let (mut clears, mut deletions) = (Vec::new(), Vec::new());
    for (n, key) in wanted.into_iter().enumerate() {
        let RunKey { dag_id, run_id } = key;
        let is_clear = n % 2 == 0;
        let body = if is_clear {
            let clear = ClearTasks::of(dag_id, run_id);
            CommandBody::ClearTasks(ClearTasks { dry_run: true, ..clear })
        } else {
            CommandBody::DeleteRun { dag_id, run_id }
        };
        let began = Instant::now();
        let answer = inbox.ask(Ask::new(Actor::Scheduler, body), PATIENCE).await?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        let is_right = matches!(answer, Answer::WouldClear { .. } if is_clear)
            || matches!(answer, Answer::Accepted { .. } if !is_clear);
        ensure!(is_right, "{answer:?}");
        // The first waits for the scheduler's start.
        if n > 1 {
            if is_clear { clears.push(took) } else { deletions.push(took) }
        }
    }
    shutdown.start();
    scheduler.await??;
    let records = log.last().0;
    Ok(
        json!({ "runs": count, "records": records, "clear_ms": spread(clears), "delete_ms": spread(deletions) }),
    )
}

fn key_of(record: &Record) -> Option<RunKey> {
    match &record.scope {
        Scope::Run(key) => Some(key.clone()),
        _ => None,
    }
}

fn spread(mut times: Vec<f64>) -> Value {
    times.sort_unstable_by(f64::total_cmp);
    json!({ "p50": times.get(times.len() / 2), "max": times.last() })
}
