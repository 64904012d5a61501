//! How long the read model takes to be built from a large log, to be opened again, and to answer.
//!
//! `cargo run --release -p dagbok-api --example rebuild [RECORDS]`
#![expect(clippy::print_stdout, reason = "it is for reading")]
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dagbok_api::model::{
    ReadModel,
    lists::{RunAsk, RunBy, RunField, RunOrder, Scope as Runs},
};
use dagbok_events::{
    Actor, DagId, DagRegistered, DagSpec, Digest, ExecutorId, Fact, MapIndex, Payload, PoolName,
    QueueName, Record, RunCreated, RunId, RunKey, RunStarted, RunSucceeded, RunType, Schedule,
    Scope, SourceLocation, TaskId, TaskQueued, TaskSpec, Timestamp, Timetable, TryNumber,
    TryStarted, TrySucceeded, Usage, XComPushed, encode, subject_of,
};
use dagbok_runlog::{Draft, RunLog as _, Seq, digest_of, memory::MemoryLog};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TASKS: usize = 40;

/// The story of many runs of one DAG, a chain of tasks.
struct Teller {
    log: Arc<MemoryLog>,
    drafts: Vec<Draft>,
    last: Seq,
    at: Timestamp,
}

impl Teller {
    async fn tell(&mut self, scope: Scope, facts: Vec<Fact>) -> anyhow::Result<()> {
        self.at = Timestamp(self.at.0 + 700);
        let by = Actor::Scheduler;
        let record = Record {
            at: self.at,
            clock: None,
            scope,
            by,
            reason: None,
            cause: None,
            trace: None,
            facts,
        };
        self.drafts
            .push(Draft { subject: subject_of(&record.scope), payload: encode(&record).into() });
        if self.drafts.len() >= 10_000 { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.last = self.log.append(self.last, std::mem::take(&mut self.drafts)).await?;
        Ok(())
    }
}

fn task(n: usize) -> anyhow::Result<TaskId> {
    Ok(TaskId::new(format!("task_{n:03}"))?)
}

fn spec(dag_id: &DagId) -> anyhow::Result<DagSpec> {
    let tasks = (0..TASKS).map(|n| {
        let json = serde_json::json!({ "task_id": task(n)?, "operator": "PythonOperator" });
        Ok(serde_json::from_value::<TaskSpec>(json)?)
    });
    let schedule =
        Schedule { text: None, timetable: Timetable::Manual, timezone: "UTC".to_owned() };
    let json = serde_json::json!({
        "dag_id": dag_id, "schedule": schedule, "max_active_runs": 16, "max_active_tasks": 16,
        "tasks": tasks.collect::<anyhow::Result<Vec<_>>>()?, "source": SourceLocation::default(),
    });
    Ok(serde_json::from_value(json)?)
}

fn queued(n: usize) -> anyhow::Result<Fact> {
    Ok(Fact::TaskQueued(TaskQueued {
        task_id: task(n)?,
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::FIRST,
        leg: dagbok_events::Leg::FIRST,
        pool: PoolName::new("default_pool")?,
        pool_slots: 1,
        queue: QueueName::new("default")?,
    }))
}

async fn one_run(teller: &mut Teller, run: RunKey, bundle: &Digest) -> anyhow::Result<()> {
    let scope = Scope::Run(run);
    let created = RunCreated {
        run_type: RunType::Manual,
        logical_date: None,
        data_interval: None,
        run_after: teller.at,
        version: 1,
        bundle: bundle.clone(),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let facts =
        vec![Fact::RunCreated(Box::new(created)), Fact::RunStarted(RunStarted {}), queued(0)?];
    teller.tell(scope.clone(), facts).await?;
    for n in 0..TASKS {
        let (map_index, try_number) = (MapIndex::UNMAPPED, TryNumber::FIRST);
        let started = TryStarted {
            task_id: task(n)?,
            map_index,
            try_number,
            leg: dagbok_events::Leg::FIRST,
            executor: ExecutorId::new("executor-1")?,
            hostname: "a.host.example".to_owned(),
            pid: 4_242,
            started_at: teller.at,
            inputs: [("bundle".to_owned(), bundle.to_string())].into(),
        };
        teller.tell(scope.clone(), vec![Fact::TryStarted(Box::new(started))]).await?;
        let value = Some(Payload::Inline("{\"rows\": 12345}".to_owned()));
        let key = "return_value".to_owned();
        let pushed = XComPushed {
            task_id: task(n)?,
            map_index,
            try_number,
            leg: dagbok_events::Leg::FIRST,
            key,
            value,
            length: None,
        };
        let usage = Usage { max_rss_bytes: 1 << 25, user_us: 9_000, system_us: 2_000 };
        let (ended_at, log) = (teller.at, None);
        let succeeded = TrySucceeded {
            task_id: task(n)?,
            map_index,
            try_number,
            leg: dagbok_events::Leg::FIRST,
            ended_at,
            usage,
            log,
            skips: vec![],
        };
        let next = if n + 1 < TASKS { queued(n + 1)? } else { Fact::RunSucceeded(RunSucceeded {}) };
        let facts = vec![Fact::XComPushed(pushed), Fact::TrySucceeded(Box::new(succeeded)), next];
        teller.tell(scope.clone(), facts).await?;
    }
    Ok(())
}

async fn told(records: u64) -> anyhow::Result<Arc<MemoryLog>> {
    let log = Arc::new(MemoryLog::default());
    let at = Timestamp(1_767_225_600_000_000);
    let mut teller = Teller { log: Arc::clone(&log), drafts: Vec::new(), last: Seq::ZERO, at };
    let dag_id = DagId::new("pipeline")?;
    let bundle = Digest::new(digest_of(b"bundle"))?;
    let registered = DagRegistered {
        version: 1,
        spec_digest: bundle.clone(),
        bundle: bundle.clone(),
        spec: spec(&dag_id)?,
        paused: Some(false),
    };
    teller
        .tell(Scope::Dag(dag_id.clone()), vec![Fact::DagRegistered(Box::new(registered))])
        .await?;
    let mut n = 0;
    while teller.last.0 + (teller.drafts.len() as u64) < records {
        let run_id = RunId::new(format!("manual__{n:08}"))?;
        one_run(&mut teller, RunKey { dag_id: dag_id.clone(), run_id }, &bundle).await?;
        n += 1;
    }
    teller.flush().await?;
    Ok(log)
}

/// Resident memory now, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1_024
}

fn said(what: &str, took: Duration) {
    println!("{what:<44} {:>9.1} ms", took.as_secs_f64() * 1_000.0);
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let records = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let log = told(records).await?;
    let last = log.last().await?;
    let home = tempfile::tempdir()?;
    let dir = home.path().join("read-model");
    println!("{last} records; {} MiB resident with the log in memory", resident());

    let begin = Instant::now();
    let model = ReadModel::open(Some(&dir))?;
    said("open, empty", begin.elapsed());
    let begin = Instant::now();
    model.catch_up(log.clone()).await?;
    let took = begin.elapsed();
    said("built from the log", took);
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let rate = last.0 as f64 / took.as_secs_f64();
    println!("{:<44} {rate:>9.0} records/s; {} MiB resident", "", resident());
    drop(model);

    let begin = Instant::now();
    let model = ReadModel::open(Some(&dir))?;
    said("open again", begin.elapsed());
    let begin = Instant::now();
    model.catch_up(log.clone()).await?;
    said("nothing to catch up with", begin.elapsed());
    let store = model.store();
    let begin = Instant::now();
    let newest = RunOrder { by: RunBy::Field(RunField::Id), down: true };
    let ask = RunAsk { orders: vec![newest], take: 50, ..RunAsk::all(Runs::All) };
    let page = store.list_runs(&ask, None)?.page;
    said("the 50 newest runs", begin.elapsed());
    let newest = page.first().context("there are runs")?;
    let key = RunKey { dag_id: newest.dag_id.clone(), run_id: newest.run_id.clone() };
    let begin = Instant::now();
    let tasks = store.tasks(&key)?.len();
    said(&format!("the {tasks} tasks of one"), begin.elapsed());
    let begin = Instant::now();
    let runs = store.runs(None)?.len();
    said(&format!("all {runs} runs"), begin.elapsed());
    let size: u64 = std::fs::read_dir(&dir)?
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|meta| meta.len())
        .sum();
    println!("{:<44} {:>9} MiB on disk", "", size >> 20);
    Ok(())
}
