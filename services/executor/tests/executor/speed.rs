//! Figures, printed; run by hand: `cargo test --release -p dagbok-executor --test executor speed -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_events::TaskId;
use dagbok_executor::Stretch;
use dagbok_protocol::ReportBody;
use dagbok_runlog::memory;
use parking_lot::Mutex;

use crate::rig::Rig;

const DAG: &str = r#"
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    for n in range(1000):
        PythonOperator(task_id=f"t{n}", python_callable=lambda: print(fibo(10)))
"#;

fn figures(name: &str, mut all: Vec<Duration>) {
    all.sort();
    if let Some(last) = all.len().checked_sub(1) {
        println!(
            "{name:>14}: n {:>4}  p50 {:>9.3?}  p99 {:>9.3?}  max {:>9.3?}",
            all.len(),
            all[last / 2],
            all[last * 99 / 100],
            all[last]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, proves nothing"]
async fn speed() {
    let slots = std::env::var("SLOTS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let rig = Rig::with(DAG, memory::ports(), |settings| settings.slots = slots).await;
    let stretches: Arc<Mutex<Vec<(Stretch, Duration)>>> = Arc::default();
    rig.settings.stats.on_stretch({
        let stretches = Arc::clone(&stretches);
        move |stretch, took| stretches.lock().push((stretch, took))
    });
    let of = |wanted: Stretch| -> Vec<Duration> {
        stretches
            .lock()
            .iter()
            .filter(|(stretch, _)| *stretch == wanted)
            .map(|(_, took)| *took)
            .collect()
    };
    drop(rig.run_task("t0").await);
    stretches.lock().clear();
    let (mut whole, mut first_lines) = (vec![], vec![]);
    for n in 1..=200 {
        let item = rig.item(&format!("t{n}"));
        let began = Instant::now();
        let queued = item.queued_at;
        let end = rig.run_item(&item).await;
        whole.push(began.elapsed());
        assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
        first_lines.push(rig.log(&end).await[0].t.since(queued).to_std());
    }
    println!("one at a time, {slots} slots:");
    figures("queue to end", whole);
    figures("to first line", first_lines);
    figures("pull to start", of(Stretch::PullToStart));
    figures("hand-off", of(Stretch::HandOff));
    stretches.lock().clear();
    let items: Vec<_> = (0..1000)
        .map(|n| {
            let mut item = rig.item(&format!("t{n}"));
            item.key.run_id = "run2".parse().unwrap();
            item.key.task_id = TaskId::new(format!("t{n}")).unwrap();
            item
        })
        .collect();
    let began = Instant::now();
    for item in &items {
        rig.queue(item).await;
    }
    for item in &items {
        rig.scheduler.end(&item.key).await;
    }
    let took = began.elapsed();
    println!("1000 at once: {took:.3?}, {:.0} tries a second", 1000.0 / took.as_secs_f64());
    figures("pull to start", of(Stretch::PullToStart));
    figures("hand-off", of(Stretch::HandOff));
}
