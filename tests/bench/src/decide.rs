//! The rules alone: whole runs, and the longest single decisions, in memory.
use std::time::Instant;

use dagbok_domain::namespace::Namespace;
use dagbok_events::{RunId, Timestamp, Timetable};
use dagbok_protocol::CommandBody;
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
};

/// Times the best and the middle of several runs of `tasks` tasks, from trigger to end, of which
/// `at_once` may be offered at a time.
pub(crate) fn measure(shape: Shape, tasks: usize, at_once: u32) -> Value {
    let spec = shape.dag("bench", tasks, at_once);
    let dag_id = spec.dag_id.clone();
    let mut script = Script::new(|_| {});
    script.command(dag_file(spec));
    let mut took: Vec<f64> = (0..9)
        .map(|number| {
            let run_id = RunId::new(format!("r{number}")).expect("within the rules");
            let start = Instant::now();
            script.play(&dag_id, run_id);
            start.elapsed().as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    json!({ "tasks": tasks, "ms": took[took.len() / 2] * 1e3, "best_ms": took[0] * 1e3 })
}

/// What each task costs in runs of ever more of them.
#[expect(clippy::cast_precision_loss, reason = "costs for people")]
pub(crate) fn sizes(shape: Shape, tasks: &[usize]) -> Value {
    let of = |tasks: &usize| {
        let ms = measure(shape, *tasks, u32::MAX)["ms"].as_f64().unwrap_or(0.0);
        json!({ "tasks": tasks, "ms": (ms * 100.0).round() / 100.0, "us_per_task": (ms * 1e5 / *tasks as f64).round() / 100.0 })
    };
    tasks.iter().map(of).collect()
}

/// Times what the loop does in one go: a snapshot of a run of many tasks and reading it back, the run's
/// cancellation, and four weeks of minutes that nobody made a run of.
pub(crate) fn longest(tasks: usize) -> Value {
    let spec = Shape::Fan.dag("bench", tasks, u32::MAX);
    let dag_id = spec.dag_id.clone();
    let mut script = Script::new(|_| {});
    script.command(dag_file(spec));
    let run_id = RunId::new("r1").expect("within the rules");
    script.trigger(&dag_id, &run_id);
    let (snapshot_ms, bytes) = timed(|| script.namespace.to_snapshot());
    let (back_ms, _) = timed(|| Namespace::from_snapshot(&bytes).expect("ours"));
    let (cancel_ms, ()) = timed(|| script.command(CommandBody::CancelRun { dag_id, run_id }));
    json!({
        "tasks": tasks,
        "snapshot_ms": snapshot_ms,
        "snapshot_bytes": bytes.len(),
        "snapshot_back_ms": back_ms,
        "cancel_ms": cancel_ms,
        "missed_ms": missed(),
    })
}

fn missed() -> f64 {
    let mut spec = Shape::Apart.dag("minutes", 1, 1);
    spec.schedule.timetable = Timetable::CronDataInterval { expression: "* * * * *".to_owned() };
    spec.start_date = Some(Timestamp(0));
    let mut script = Script::new(|_| {});
    script.command(dag_file(spec));
    script.now.0 += 28 * 24 * 3_600 * 1_000_000;
    timed(|| script.plan(&mut Vec::new())).0
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let made = work();
    (start.elapsed().as_secs_f64() * 1e3, made)
}
