//! Shapes of DAGs, as each task's upstreams.
use clap::ValueEnum;
use dagbok_events::DagSpec;

/// How a DAG's tasks hang together.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// A first task, many side by side, a last one.
    Fan,
    /// One after the other.
    Chain,
    /// Each behind up to three of the last two hundred before it.
    Random,
    /// None behind another.
    Apart,
}

impl Shape {
    /// Every task's upstreams, by their places.
    fn upstreams(self, tasks: usize) -> Vec<Vec<usize>> {
        let last = tasks.saturating_sub(1);
        let mut roll = roller();
        let of = |n: usize| match self {
            _ if n == 0 => vec![],
            Self::Fan if n == last => (1..last).collect(),
            Self::Fan => vec![0],
            Self::Chain => vec![n - 1],
            Self::Apart => vec![],
            Self::Random => {
                let mut some: Vec<usize> = (0..3).map(|_| n - 1 - roll() % n.min(200)).collect();
                some.sort_unstable();
                some.dedup();
                some
            }
        };
        (0..tasks).map(of).collect()
    }

    /// A DAG of this shape that runs when it is asked to, `at_once` of its tasks at a time.
    pub(crate) fn dag(self, dag_id: &str, tasks: usize, at_once: u32) -> DagSpec {
        let tasks: Vec<serde_json::Value> = self
            .upstreams(tasks)
            .into_iter()
            .enumerate()
            .map(|(n, upstream)| {
                serde_json::json!({ "task_id": format!("task_{n:05}"), "operator": "PythonOperator", "upstream": upstream })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "dag_id": dag_id,
            "owner": "bench",
            "schedule": { "timetable": "Manual", "timezone": "UTC" },
            "max_active_runs": 1_000_000,
            "max_active_tasks": at_once,
            "is_paused_upon_creation": false,
            "tasks": tasks,
            "source": { "file": format!("{dag_id}.py"), "line": 1 }
        }))
        .expect("the shape of a DAG")
    }
}

/// The same numbers each time.
fn roller() -> impl FnMut() -> usize {
    let mut state = 0x9e37_79b9_u32;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize
    }
}
