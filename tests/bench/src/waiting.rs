//! What one decision costs while ever more waits: tasks for a slot that is not free, and runs for their turn. The
//! rules alone, in memory.
use std::time::Instant;

use dagbok_events::{DagId, DagSpec, PoolName, RunId, TryKey, Usage};
use dagbok_protocol::{CommandBody, PoolChange, Report, ReportBody};
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
};

/// Tasks of one run that waits.
const TASKS: usize = 100;
/// Runs of one DAG that wait.
const RUNS: usize = 10;
/// Decisions that are timed.
const TIMED: usize = 300;

/// The middle of the costs, in microseconds: of handing a slot that became free to the next of all that wait for it,
/// and of letting another DAG's run begin whose pool has room.
pub(crate) fn measure(waiting: &[usize]) -> Value {
    waiting.iter().map(|waiting| of(*waiting)).collect()
}

fn of(waiting: usize) -> Value {
    let mut script = Script::new(|_| {});
    let shared = PoolName::new("shared").expect("a pool's name");
    script.command(CommandBody::SetPool(PoolChange::sized(shared.clone(), 1)));
    let mut offered = Vec::new();
    let dags = waiting.div_ceil(TASKS * RUNS).max(2);
    for n in 0..dags {
        // Where nothing is to wait there are as many as are handed off.
        let (tasks, runs) = if waiting == 0 { (TIMED, 1) } else { (TASKS, RUNS) };
        let dag_id = register(&mut script, &format!("wide{n}"), tasks, Some(&shared));
        for run in 0..runs {
            offered.extend(script.trigger(&dag_id, &run_id(run)));
        }
    }
    let line = register(&mut script, "line", 1, Some(&shared));
    for run in 0..waiting / 10 {
        script.trigger(&line, &run_id(run));
    }
    let quick = register(&mut script, "quick", 1, None);
    let mut hand_offs: Vec<f64> = Vec::new();
    let mut starts: Vec<f64> = Vec::new();
    for n in 0..TIMED {
        let key = offered.pop().expect("one has the slot");
        script.now.0 += 500;
        let start = Instant::now();
        script.command(succeeded(key, script.now));
        script.plan(&mut offered);
        hand_offs.push(start.elapsed().as_secs_f64() * 1e6);
        let start = Instant::now();
        let made = script.trigger(&quick, &run_id(n));
        starts.push(start.elapsed().as_secs_f64() * 1e6);
        for key in made {
            script.command(succeeded(key, script.now));
        }
    }
    json!({ "waiting": waiting, "hand_off_us": middle(hand_offs), "start_us": middle(starts) })
}

fn register<S: FnMut(&dagbok_events::Record)>(
    script: &mut Script<S>,
    name: &str,
    tasks: usize,
    pool: Option<&PoolName>,
) -> DagId {
    let mut spec: DagSpec = Shape::Apart.dag(name, tasks, u32::MAX);
    spec.max_active_runs = u32::from(name == "line");
    for task in &mut spec.tasks {
        if let Some(pool) = pool {
            task.pool = pool.clone();
        }
    }
    let dag_id = spec.dag_id.clone();
    script.command(dag_file(spec));
    dag_id
}

fn run_id(n: usize) -> RunId {
    RunId::new(format!("r{n}")).expect("within the rules")
}

fn succeeded(key: TryKey, at: dagbok_events::Timestamp) -> CommandBody {
    let body = ReportBody::Succeeded {
        xcoms: vec![],
        usage: Usage { max_rss_bytes: 30_000_000, user_us: 900, system_us: 400 },
        log: None,
        skips: vec![],
        outlets: vec![],
    };
    let executor = dagbok_events::ExecutorId::new("bench").expect("within the rules");
    CommandBody::Report(Box::new(Report { key, executor, at, body }))
}

fn middle(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    (costs[costs.len() / 2] * 10.0).round() / 10.0
}
