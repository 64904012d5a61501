//! A year of hourly DAGs, its records written at speed: what it leaves, and what a start costs then. The stores
//! are real; the time is virtual.
use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use dagbok_api::{
    ApiState, Patience,
    model::ReadModel,
    retention::{Plan, Rules},
    router,
};
use dagbok_archive::{Archive, Whole};
use dagbok_domain::namespace::Namespace;
use dagbok_events::{Actor, CommandId, RunKey, Timestamp};
use dagbok_protocol::{Command, CommandBody};
use dagbok_runlog::Ports;
use dagbok_runlog_embedded::{Durability, Options, open};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::{Archiving, archive_old, load, store_snapshot};
use serde_json::{Value, json};

use crate::{appender::Appender, lists, runs};

const BEGIN: i64 = 1_700_000_000_000_000;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn opened(home: &Path) -> anyhow::Result<Ports> {
    let options = Options { durability: Durability::None, ..Options::default() };
    let (mut ports, _) = open(home, options)?;
    ports.log = Arc::new(Whole::new(ports.log, Archive::new(&home.join("archive"))));
    Ok(ports)
}

/// The scheduler's fold and the log that it writes.
struct Writer {
    namespace: Namespace,
    log: Appender,
}

impl Writer {
    async fn tell(&mut self, record: &dagbok_events::Record) -> anyhow::Result<()> {
        ensure!(self.namespace.needs(record).is_none(), "no run is taken up again");
        self.namespace.evolve(self.log.next().0, record);
        self.log.add(record).await
    }
}

fn deletion(n: u64, now: Timestamp, run: RunKey) -> anyhow::Result<Command> {
    let body = CommandBody::DeleteRun { dag_id: run.dag_id, run_id: run.run_id };
    let id = CommandId::new(format!("c-{n}"))?;
    let (by, sent_at) = (Actor::Scheduler, now);
    Ok(Command { id, by, sent_at, reply_to: None, reason: None, trace: None, body })
}

/// Writes so many days of so many hourly DAGs into `home`: each day a snapshot, what is older than `log_days`
/// into the archive, and runs that ended more than `run_days` ago gone. The read model follows.
pub(crate) async fn fill(
    home: &Path,
    (dag_count, days): (u64, u64),
    (log_days, run_days): (u64, u64),
) -> anyhow::Result<Value> {
    let begin = Instant::now();
    let ports = opened(home)?;
    let model = ReadModel::open(Some(&dagbok_api::model_dir(home)))?;
    let shutdown = Shutdown::new();
    let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
    let keeping = tokio::spawn(async move { kept.keep(log, &stop).await });
    let namespace = Namespace::new();
    let mut writer = Writer { namespace, log: Appender::new(Arc::clone(&ports.log)) };
    for n in 0..dag_count {
        writer.tell(&runs::registered(n, BEGIN)?).await?;
    }
    let keep = std::time::Duration::from_hours(24 * log_days);
    let archiving = Archiving::new(Archive::new(&home.join("archive")), keep);
    let rules =
        Rules { runs: Some(std::time::Duration::from_hours(24 * run_days)), ..Rules::default() };
    let (mut made, mut gone) = (0_u64, 0_u64);
    for day in 0..days {
        let midnight = BEGIN + i64::try_from(day)? * DAY;
        for hour in 0..24 {
            // A run ends within 100 s, and stamps don't go back.
            for _ in 0..dag_count {
                for record in runs::run(made, dag_count, midnight + hour * HOUR, true)? {
                    writer.tell(&record).await?;
                }
                made += 1;
            }
        }
        writer.log.flush().await?;
        let now = Timestamp(midnight + DAY);
        store_snapshot(&ports, &writer.namespace).await;
        archive_old(&ports, &archiving, now).await?;
        if day >= run_days {
            let minutes = std::time::Duration::from_mins(30);
            ensure!(model.progress().wait_for(writer.log.last(), minutes).await, "rows in time");
            let plan = Plan::make(&model.store(), rules, (now, None, usize::MAX))?;
            for going in plan.runs {
                let command = deletion(gone, now, going.run)?;
                let decision = writer.namespace.decide(now, &command);
                ensure!(!decision.records.is_empty(), "a run stays: {:?}", decision.outcome);
                for record in decision.records {
                    writer.tell(&record).await?;
                }
                gone += 1;
            }
            writer.log.flush().await?;
        }
    }
    store_snapshot(&ports, &writer.namespace).await;
    let hours = std::time::Duration::from_hours(2);
    let in_time = model.progress().wait_for(writer.log.last(), hours).await;
    shutdown.start();
    // Rows that failed say why.
    keeping.await??;
    ensure!(in_time, "rows in time");
    Ok(json!({
        "dags": dag_count, "days": days, "runs": made, "runs_gone": gone, "records": writer.log.last().0,
        "s": begin.elapsed().as_secs_f64(),
    }))
}

/// Starts on what is there, as a standalone does, and asks the lists.
pub(crate) async fn start(home: &Path) -> anyhow::Result<Value> {
    let begin = Instant::now();
    let ports = opened(home)?;
    let log_opened = begin.elapsed();
    let loaded = load(&ports, false).await?;
    let folded = begin.elapsed();
    let model = ReadModel::open(Some(&dagbok_api::model_dir(home)))?;
    let last = model.catch_up(Arc::clone(&ports.log)).await?;
    let took = begin.elapsed();
    let memory = resident()?;
    let (shutdown, rules) = (Shutdown::new(), Rules::default());
    let (clock, patience) = (Clock::system(), Patience::default());
    let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
    let keeping = tokio::spawn(async move { kept.keep(log, &stop).await });
    let app = router(ApiState::new(ports, model, clock, shutdown.clone(), patience, rules).await?);
    let lists = lists::figures(&app).await?;
    let after = resident()?;
    drop(loaded);
    shutdown.start();
    keeping.await??;
    let size = |name: &str| size_of(&home.join(name));
    Ok(json!({
        "records": last.0,
        "start_s": { "log": log_opened.as_secs_f64(), "fold": folded.as_secs_f64(), "all": took.as_secs_f64() },
        "resident_mb": { "started": memory >> 20, "after_lists": after >> 20 },
        "disk_mb": {
            "log": size("log")? >> 20, "archive": size("archive")? >> 20,
            "snapshots": size("snapshots")? >> 20, "read_model": size("read-model")? >> 20,
        },
        "lists": lists,
    }))
}

/// What this process holds in memory, in bytes.
pub(crate) fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
    Ok(kilobytes.parse::<u64>()? << 10)
}

fn size_of(path: &Path) -> anyhow::Result<u64> {
    if !path.is_dir() {
        return Ok(if path.exists() { path.metadata()?.len() } else { 0 });
    }
    let mut size = 0;
    for entry in path.read_dir()? {
        size += size_of(&entry?.path())?;
    }
    Ok(size)
}
