//! What one look at the figures costs, with many DAGs and a full window of runs of each.
use std::time::Instant;

use anyhow::ensure;
use dagbok_events::{DagId, Record, RunId, RunKey, Scope};
use dagbok_metrics::{Detail, Ledger};
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
};

/// Runs of each DAG: as many as its quantiles are of.
const RUNS: usize = 100;
/// Tasks of a run.
const TASKS: usize = 3;
/// Looks of which the middle one counts.
const LOOKS: usize = 9;

/// The fold of so many DAGs, and the page that is made of it.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn measure(dags: usize) -> anyhow::Result<Value> {
    let records = one_run();
    let mut ledger = Ledger::new(false);
    let (begin, mut seq) = (Instant::now(), 0);
    for n in 0..dags {
        let dag_id = DagId::new(format!("team_{:03}_pipeline_{n:05}", n % 100))?;
        for run in 0..RUNS {
            let run_id = RunId::new(format!("scheduled__{run:05}"))?;
            let key = RunKey { dag_id: dag_id.clone(), run_id };
            for record in &records {
                seq += 1;
                ledger.take(seq, &Record { scope: Scope::Run(key.clone()), ..record.clone() });
            }
        }
    }
    let fold_s = begin.elapsed().as_secs_f64();
    let mut took = Vec::new();
    let mut page = String::new();
    for _ in 0..LOOKS {
        let begin = Instant::now();
        page = ledger.text(Detail::All);
        took.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    let of_dag = |line: &&str| {
        line.starts_with("dagbok_dag_runs_ended_total{") && line.contains("state=\"success\"")
    };
    let ended = page.lines().filter(of_dag).count();
    ensure!(ended == dags, "{ended} DAGs are in the page");
    Ok(json!({
        "dags": dags,
        "records": seq,
        "records_per_s": (seq as f64 / fold_s).round(),
        "ms": (took[LOOKS / 2] * 10.0).round() / 10.0,
        "ms_worst": (took[LOOKS - 1] * 10.0).round() / 10.0,
        "bytes": page.len(),
        "lines": page.lines().count(),
    }))
}

/// The records of one run, as the rules write them.
fn one_run() -> Vec<Record> {
    let records = std::cell::RefCell::new(Vec::new());
    let mut script = Script::new(|record| records.borrow_mut().push(record.clone()));
    let spec = Shape::Fan.dag("bench", TASKS, u32::MAX);
    let dag_id = spec.dag_id.clone();
    script.command(dag_file(spec));
    script.play(&dag_id, RunId::new("one").expect("within the rules"));
    drop(script);
    let all = records.into_inner();
    all.into_iter().filter(|record| matches!(record.scope, Scope::Run(_))).collect()
}
