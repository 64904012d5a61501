//! The scheduler over a real broker, with an executor that does nothing: what the scheduler carries.
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dagbok_events::{Actor, ExecutorId, Fact, PoolName, RunId, decode};
use dagbok_executor::{ExecutorSettings, Runner};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, CommandBody, PoolChange, TriggerRun};
use dagbok_runlog_jetstream::{ConnectSettings, connect};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::SchedulerSettings;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{script::dag_file, shapes::Shape};

const PATIENCE: Duration = Duration::from_mins(5);

/// Times `tasks` tasks in runs of `width` from the first trigger to the last run's end.
pub(crate) async fn measure(url: &str, tasks: usize, width: usize) -> anyhow::Result<Value> {
    let namespace = format!("bench{}", std::process::id());
    let (ports, _connection) = connect(ConnectSettings::new(url, namespace.clone())).await?;
    let (executor_ports, _other) = connect(ConnectSettings::new(url, namespace)).await?;
    let (clock, shutdown) = (Clock::system(), Shutdown::new());
    shutdown.spawn(dagbok_scheduler::run(
        ports.clone(),
        SchedulerSettings::default(),
        clock.clone(),
        shutdown.child(),
    ));
    let home = tempfile::tempdir()?;
    let mut settings = ExecutorSettings::new(
        ExecutorId::new("bench")?,
        "bench".to_owned(),
        "/bin/false".into(),
        home.path().to_owned(),
    );
    (settings.slots, settings.runner) = (256, Runner::Null);
    shutdown.spawn(dagbok_executor::run(executor_ports, settings, clock.clone(), shutdown.child()));

    let inbox = Inbox::open(&ports, clock).await?;
    let ask = async |body| inbox.ask(Ask::new(Actor::User("bench".into()), body), PATIENCE).await;
    ask(CommandBody::SetLimits {
        parallelism: 4_096,
        max_losses: 10,
        max_consecutive_failed_dag_runs: None,
        task_queued_timeout: None,
    })
    .await?;
    let pool = PoolName::new("default_pool")?;
    ask(CommandBody::SetPool(PoolChange::sized(pool, 4_096))).await?;
    let spec = Shape::Fan.dag("bench", width, u32::MAX);
    let dag_id = spec.dag_id.clone();
    let answer = ask(dag_file(spec)).await?;
    let Answer::Accepted { seq, .. } = answer else { anyhow::bail!("{answer:?}") };

    let runs = tasks.div_ceil(width);
    let start = Instant::now();
    for number in 0..runs {
        let (dag_id, run_id) = (dag_id.clone(), Some(RunId::new(format!("r{number}"))?));
        let at = i64::try_from(number)? * 1_000_000;
        let logical_date = Some(dagbok_events::Timestamp(at));
        let trigger = TriggerRun {
            dag_id,
            run_id,
            logical_date,
            conf: None,
            note: None,
            partition_key: None,
        };
        inbox.tell(Ask::new(Actor::User("bench".into()), CommandBody::TriggerRun(trigger))).await?;
    }
    let mut ended = 0;
    let mut entries = ports.log.follow(dagbok_runlog::Seq(seq));
    while ended < runs {
        let batch =
            tokio::time::timeout(PATIENCE, entries.next()).await.context("the runs hang")?;
        for entry in batch.context("the log ended")?? {
            let record = decode(&entry.payload)?;
            let failed = record.facts.iter().any(|fact| matches!(fact, Fact::RunFailed(_)));
            ensure!(!failed, "a run failed");
            ended += record.facts.iter().filter(|f| matches!(f, Fact::RunSucceeded(_))).count();
        }
    }
    let took = start.elapsed().as_secs_f64();
    shutdown.start();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = (runs * width) as f64 / took;
    Ok(json!({ "tasks": runs * width, "s": took, "tasks_per_s": rate }))
}
