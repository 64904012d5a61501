//! What a million tries a day cost: of the rules alone, a whole day in virtual time; of the scheduler on the embedded
//! log, a while at that pace, by the clock. The executor does nothing, and what it costs is counted with it.
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dagbok_events::{Actor, DagId, ExecutorId, Fact, RunId, Timestamp, decode};
use dagbok_executor::{ExecutorSettings, Runner};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, CommandBody, TriggerRun};
use dagbok_runlog::Ports;
use dagbok_runlog_embedded::{Options, open};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::SchedulerSettings;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
};

/// Tasks of a run: a first one, some side by side, a last one.
const TASKS: usize = 10;
const DAY: f64 = 86_400.0;
const PATIENCE: Duration = Duration::from_mins(1);

/// The share of a core that `tries` a day take; the scheduler is watched for `seconds`.
#[expect(clippy::cast_precision_loss, reason = "shares for people")]
pub(crate) async fn measure(tries: usize, seconds: u64) -> anyhow::Result<Value> {
    let runs = tries.div_ceil(TASKS);
    let (alone, records) = rules(runs);
    let pace = DAY / runs as f64;
    let (cpu, took, played) = scheduler(Duration::from_secs_f64(pace), seconds).await?;
    let tries_played = (played * TASKS) as f64;
    Ok(json!({
        "tries_a_day": runs * TASKS,
        "rules": {
            "share_of_a_core": part(alone / DAY),
            "us_per_try": part(alone * 1e6 / (runs * TASKS) as f64),
            "records_per_try": part(records as f64 / (runs * TASKS) as f64),
        },
        "scheduler": {
            "seconds": part(took),
            "tries": played * TASKS,
            "tries_per_s": part(tries_played / took),
            "share_of_a_core": part(cpu / took),
            "us_per_try": part(cpu * 1e6 / tries_played),
        },
    }))
}

/// A day's runs by the rules, in memory: seconds, and how many records they wrote.
fn rules(runs: usize) -> (f64, u64) {
    let records = std::cell::Cell::new(0_u64);
    let mut script = Script::new(|_| records.set(records.get() + 1));
    let spec = Shape::Fan.dag("bench", TASKS, u32::MAX);
    let dag_id = spec.dag_id.clone();
    script.command(dag_file(spec));
    records.set(0);
    let begin = Instant::now();
    for number in 0..runs {
        script.play(&dag_id, run_id(number));
    }
    (begin.elapsed().as_secs_f64(), records.get())
}

/// Runs at a pace on the embedded log: CPU seconds of this process, how long it went on, and how many runs ended.
async fn scheduler(pace: Duration, seconds: u64) -> anyhow::Result<(f64, f64, usize)> {
    let home = tempfile::tempdir()?;
    let (ports, _) = open(home.path(), Options::default())?;
    let (clock, shutdown) = (Clock::system(), Shutdown::new());
    let (settings, child) = (SchedulerSettings::default(), shutdown.child());
    shutdown.spawn(dagbok_scheduler::run(ports.clone(), settings, clock.clone(), child));
    let of_executor = home.path().join("executor");
    std::fs::create_dir(&of_executor)?;
    let bench = (ExecutorId::new("bench")?, "bench".to_owned());
    let mut settings = ExecutorSettings::new(bench.0, bench.1, "/bin/false".into(), of_executor);
    (settings.slots, settings.runner) = (32, Runner::Null);
    let child = shutdown.child();
    shutdown.spawn(dagbok_executor::run(ports.clone(), settings, clock.clone(), child));
    let inbox = Inbox::open(&ports, clock).await?;
    let spec = Shape::Fan.dag("bench", TASKS, u32::MAX);
    let dag_id = spec.dag_id.clone();
    let asked = Ask::new(Actor::User("bench".into()), dag_file(spec));
    let Answer::Accepted { seq, .. } = inbox.ask(asked, PATIENCE).await? else {
        anyhow::bail!("the DAG was not taken")
    };
    // Warm: the first run opens what the others use.
    trigger(&inbox, &dag_id, 0).await?;
    let mut ended = Ended { ports, after: dagbok_runlog::Seq(seq) };
    ended.wait(1).await?;
    let (before, begin) = (cpu_seconds()?, Instant::now());
    let mut ticks = tokio::time::interval(pace);
    let mut played = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
        played += 1;
        trigger(&inbox, &dag_id, played).await?;
    }
    ended.wait(played).await?;
    let took = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds()? - before;
    shutdown.start();
    Ok((cpu, took, played))
}

async fn trigger(inbox: &Inbox, dag_id: &DagId, number: usize) -> anyhow::Result<()> {
    let logical_date = Some(Timestamp(i64::try_from(number)? * 1_000_000));
    let (dag_id, run_id) = (dag_id.clone(), Some(run_id(number)));
    let trigger =
        TriggerRun { dag_id, run_id, logical_date, conf: None, note: None, partition_key: None };
    inbox.tell(Ask::new(Actor::User("bench".into()), CommandBody::TriggerRun(trigger))).await?;
    Ok(())
}

/// Where the log was read to.
struct Ended {
    ports: Ports,
    after: dagbok_runlog::Seq,
}

impl Ended {
    /// Waits for the end of so many more runs.
    async fn wait(&mut self, runs: usize) -> anyhow::Result<()> {
        let (mut left, mut entries) = (runs, self.ports.log.follow(self.after));
        while left > 0 {
            let batch =
                tokio::time::timeout(PATIENCE, entries.next()).await.context("runs hang")?;
            for entry in batch.context("the log ended")?? {
                self.after = entry.seq;
                let facts = decode(&entry.payload)?.facts;
                ensure!(!facts.iter().any(|it| matches!(it, Fact::RunFailed(_))), "a run failed");
                left -= facts.iter().filter(|it| matches!(it, Fact::RunSucceeded(_))).count();
            }
        }
        Ok(())
    }
}

fn run_id(number: usize) -> RunId {
    RunId::new(format!("r{number}")).expect("within the rules")
}

/// What this process has used of all cores so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    // Of the fields after the command's name in brackets; a tick is 10 ms on Linux.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().context("the command's name")?;
    let ticks: Vec<u32> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(f64::from(ticks.iter().sum::<u32>()) / 100.0)
}

fn part(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}
