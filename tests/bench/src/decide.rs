//! The rules alone: a run from trigger to end in memory.
use std::time::Instant;

use dagbok_events::RunId;
use serde_json::{Value, json};

use crate::script::{Script, dag_file, fan};

/// Times the best and the middle of several runs of `tasks` tasks.
pub(crate) fn measure(tasks: usize) -> Value {
    let spec = fan("bench", tasks.saturating_sub(2));
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
