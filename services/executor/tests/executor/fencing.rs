//! No task runs twice: what an executor does when it can't renew its lease, or was frozen.
use std::time::Duration;

use dagbok_events::LostWhy;
use dagbok_executor::ExecutorSettings;
use dagbok_protocol::{CommandBody, ReportBody};
use dagbok_runlog::memory;
use dagbok_runtime::{Clock, Shutdown};
use tokio::time::{Instant, sleep};

use crate::{
    faults::{Away, faulty},
    rig::{Rig, Scheduler, is_alive, item, lost, put_bundle, settings, until},
};

const LEASE: Duration = Duration::from_secs(3);

/// A task that writes the time into a file, again and again, and ends when another is there.
const DAG: &str = r#"
import os, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def ticks(ti, **context):
    while not os.path.exists(os.environ["GO"]):
        with open(os.environ["TICKS"], "a") as file:
            file.write("x")
        time.sleep(0.01)
    ti.xcom_push(key="k", value=1)
    return 2

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    PythonOperator(task_id="ticks", python_callable=ticks)
"#;

struct Bench {
    rig: Rig,
    away: Away,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut ExecutorSettings, &Away)) -> Self {
        let (ports, away, folder) =
            (memory::ports(), Away::default(), tempfile::tempdir().unwrap());
        let theirs = faulty(&ports, &away);
        let rig = Rig::over(ports, theirs, DAG, |settings| {
            prepare(settings, folder.path());
            change(settings, &away);
        })
        .await;
        Self { rig, away, folder }
    }

    fn ticks(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("ticks")).map_or(0, |found| found.len())
    }

    fn go(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    async fn until_it_ticks(&self) {
        let before = self.ticks();
        until("it ticks", async || self.ticks() > before).await;
    }

    async fn until_it_stands_still(&self) {
        until("it stands still", async || {
            let before = self.ticks();
            sleep(Duration::from_millis(150)).await;
            self.ticks() == before
        })
        .await;
    }
}

fn prepare(settings: &mut ExecutorSettings, folder: &std::path::Path) {
    settings.lease = LEASE;
    for (name, file) in [("TICKS", "ticks"), ("GO", "go")] {
        settings.env.insert(name.to_owned(), folder.join(file).to_str().unwrap().to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_partition_stops_a_try_and_lets_it_go_on() {
    let bench = Bench::new(|_, _| {}).await;
    let item = bench.rig.item("ticks");
    bench.rig.queue(&item).await;
    bench.until_it_ticks().await;
    bench.away.set(true);
    bench.until_it_stands_still().await;
    bench.away.set(false);
    bench.until_it_ticks().await;
    bench.go();
    assert!(matches!(bench.rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_partition_kills_a_try_within_its_lease() {
    let bench = Bench::new(|_, _| {}).await;
    let item = bench.rig.item("ticks");
    bench.rig.queue(&item).await;
    let pid = bench.rig.scheduler.started(&item.key).await;
    bench.until_it_ticks().await;
    bench.away.set(true);
    let since = Instant::now();
    until("its process is gone", async || !is_alive(pid)).await;
    assert!(
        since.elapsed() < LEASE + Duration::from_millis(500),
        "it was gone after {:?}",
        since.elapsed()
    );
    bench.away.set(false);
    let end = bench.rig.scheduler.end(&item.key).await;
    assert_eq!(lost(&end), (LostWhy::Fenced, true), "its log and usage are kept");
    bench.rig.until_acknowledged().await;
    let joins = async || {
        let others = bench.rig.scheduler.others();
        others.iter().filter(|body| matches!(body, CommandBody::ExecutorJoined { .. })).count() >= 2
    };
    until("it introduces itself again", joins).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_for_everybody_kills_nothing() {
    let bench = Bench::new(|settings, away| {
        let away = away.clone();
        settings.broker_down = Some(std::sync::Arc::new(move || away.is_away()));
    })
    .await;
    let item = bench.rig.item("ticks");
    bench.rig.queue(&item).await;
    bench.until_it_ticks().await;
    bench.away.set(true);
    sleep(LEASE * 2).await;
    bench.until_it_ticks().await;
    // It ends meanwhile; its values and its end are told when the broker is back.
    bench.go();
    bench.until_it_stands_still().await;
    bench.away.set(false);
    let end = bench.rig.scheduler.end(&item.key).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    let said = bench.rig.scheduler.said(&item.key);
    assert!(
        said.iter()
            .any(|report| matches!(&report.body, ReportBody::XCom(value) if value.key == "k")),
        "{said:?}"
    );
    bench.rig.until_acknowledged().await;
}

/// A runtime of its own with one thread, blocked: nothing of the executor runs, as if stopped by a signal.
#[test]
fn a_frozen_executor_has_its_tries_killed_and_finds_out() {
    let test =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let (freeze, frozen) = std::sync::mpsc::channel::<Duration>();
    let ports = memory::ports();
    let mut settings = settings(home.path());
    prepare(&mut settings, folder.path());
    let shutdown = Shutdown::new();
    let thread = std::thread::spawn({
        let (ports, settings, shutdown) = (ports.clone(), settings.clone(), shutdown.clone());
        move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::spawn(async move {
                    loop {
                        if let Ok(long) = frozen.try_recv() {
                            std::thread::sleep(long);
                        }
                        sleep(Duration::from_millis(5)).await;
                    }
                });
                dagbok_executor::run(ports, settings, Clock::system(), shutdown).await.unwrap();
            });
        }
    });
    test.block_on(async {
        let scheduler = Scheduler::play(&ports).await;
        let bundle = put_bundle(&ports, &[("dag.py", DAG)]).await;
        let item = item(&bundle, "ticks");
        let queue = dagbok_runlog::QueueSettings { lease: LEASE };
        let queue = ports.queues.open("work.default", queue).await.unwrap();
        let payload = dagbok_events::encode_any(&item);
        queue.publish(&dagbok_protocol::names::work_key(&item.key), payload.into()).await.unwrap();
        let pid = scheduler.started(&item.key).await;
        // Long enough for one renewal at least, so that the zygote has heard of the lease.
        sleep(LEASE / 2).await;
        let since = Instant::now();
        freeze.send(LEASE * 2).unwrap();
        until("its process is gone", async || !is_alive(pid)).await;
        assert!(
            since.elapsed() < LEASE + Duration::from_millis(500),
            "it was gone after {:?}",
            since.elapsed()
        );
        let end = scheduler.end(&item.key).await;
        assert_eq!(lost(&end), (LostWhy::Fenced, true));
        assert!(
            since.elapsed() + Duration::from_millis(500) >= LEASE * 2,
            "it was told by the woken executor"
        );
        shutdown.start();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    });
}
