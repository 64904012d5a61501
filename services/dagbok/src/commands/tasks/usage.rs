//! `dagbok tasks usage`; with `--json` the API's `TryUsageSeries`, or of a run a list of `task_id`, `map_index`,
//! `try_number` and `usage`, which is null where its executor does not answer.
use dagbok_api::shapes::{TaskInstance, TaskInstanceCollection, TryUsageSeries};
use serde::Serialize;

use super::last_try;
use crate::{
    api::Api,
    cli::{Run, Usage},
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Table, copy_name},
};

/// Of so many tasks at once.
const MOST: usize = 100;
/// How wide a line of bars is.
const WIDTH: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) async fn usage(context: &Context, args: &Usage) -> Outcome {
    let api = Api::of(context).await?;
    let Some(typed) = &args.task_id else {
        let run = handles::run(context, &api, &args.run, For::Reading).await?;
        return of_run(context, &api, &run).await;
    };
    let (run, task) = handles::run_and_task(context, &api, &args.run, typed, For::Reading).await?;
    let number = match args.try_number {
        Some(number) => number,
        None => last_try(&api, &run, &task, args.map_index).await?,
    };
    let used = of_try(&api, &run, &task, args.map_index, number).await?;
    if context.out.is_json() {
        context.out.document(&used);
        return Ok(Exit::Ok);
    }
    for line in told(&used) {
        context.out.line(&line);
    }
    Ok(Exit::Ok)
}

async fn of_try(
    api: &Api,
    run: &Run,
    task: &str,
    map_index: i32,
    number: u16,
) -> Result<TryUsageSeries, Failure> {
    let nth = number.to_string();
    let path = ["dagbok", "usage", &run.dag_id, &run.run_id, task, &nth];
    api.get(&path, &[("map_index", map_index.to_string())]).await
}

#[derive(Serialize)]
struct OfTask {
    task_id: String,
    map_index: i32,
    try_number: u16,
    /// `None` where its executor did not answer.
    usage: Option<TryUsageSeries>,
}

/// What runs in a run, a line each.
async fn of_run(context: &Context, api: &Api, run: &Run) -> Outcome {
    let query = [("limit", MOST.to_string()), ("state", "running".to_owned())];
    let path = ["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances"];
    let found: TaskInstanceCollection = api.get(&path, &query).await?;
    let mut all = Vec::new();
    for it in found.task_instances {
        // One executor that does not answer hides nothing of the others.
        let usage = of_try(api, run, &it.task_id, it.map_index, it.try_number).await.ok();
        let TaskInstance { task_id, map_index, try_number, .. } = it;
        all.push(OfTask { task_id, map_index, try_number, usage });
    }
    if context.out.is_json() {
        context.out.document(&all);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["task", "try", "memory", "peak", "limit", "cpu", "processes"]);
    for OfTask { task_id, map_index, try_number, usage } in &all {
        let Some(usage) = usage else {
            let mut row = vec![copy_name(task_id, *map_index), try_number.to_string()];
            row.resize(7, "?".to_owned());
            table.row(row);
            continue;
        };
        let last = |column: &[u64]| column.last().copied();
        table.row(vec![
            copy_name(task_id, *map_index),
            try_number.to_string(),
            last(&usage.memory).map_or_else(|| "–".to_owned(), mib),
            if usage.at_ms.is_empty() { "–".to_owned() } else { mib(usage.peak_bytes) },
            usage.memory_limit.map_or_else(|| "–".to_owned(), mib),
            last(&usage.cpu_us).map_or_else(|| "–".to_owned(), seconds),
            usage.processes.last().map_or_else(|| "–".to_owned(), ToString::to_string),
        ]);
    }
    context.out.table(&table, "Nothing of this run is running; name a task for what it used.");
    let more = found.total_entries.saturating_sub(all.len());
    if more > 0 {
        context.out.line(&format!("… and {more} more"));
    }
    Ok(Exit::Ok)
}

/// One try in lines: figures, and bars over its time.
fn told(used: &TryUsageSeries) -> Vec<String> {
    let Some(last) = used.at_ms.len().checked_sub(1) else {
        let text = if used.complete {
            "It was over before it was looked at: `dagbok runs show` has what the kernel counted."
        } else {
            "It was not looked at yet."
        };
        return vec![text.to_owned()];
    };
    let now = if used.complete { "at its end" } else { "now" };
    let limit = used.memory_limit.map(|limit| format!(" of {}", mib(limit))).unwrap_or_default();
    let most = if used.peak_is_exact { "at most" } else { "at most seen" };
    let cores = cores(used);
    let top = cores.iter().copied().fold(0.0_f64, f64::max);
    let cpu_limit = used.cpu_limit.map(|limit| format!(" of {limit:.1}")).unwrap_or_default();
    let mut lines = vec![
        format!(
            "memory {}",
            bars(&used.memory.iter().map(|bytes| float(*bytes)).collect::<Vec<_>>())
        ),
        format!("       {} {now}, {} {most}{limit}", mib(used.memory[last]), mib(used.peak_bytes)),
        format!("cpu    {}", bars(&cores)),
        format!("       {} in all, {top:.1} cores at most{cpu_limit}", seconds(used.cpu_us[last])),
        format!(
            "disk   {} read, {} written",
            mib(used.read_bytes[last]),
            mib(used.written_bytes[last])
        ),
        format!("tree   {} processes, {} threads {now}", used.processes[last], used.threads[last]),
    ];
    if let Some(bytes) = used.gpu_bytes.last() {
        lines.push(format!("gpu    {} {now}", mib(*bytes)));
    }
    lines.push(format!("over   {}", seconds(used.at_ms[last] * 1_000)));
    lines
}

/// Cores in use within each point.
fn cores(used: &TryUsageSeries) -> Vec<f64> {
    let (mut before, mut spent) = (0, 0);
    let points = used.at_ms.iter().zip(&used.cpu_us);
    points
        .map(|(at, cpu)| {
            let took = at.saturating_sub(std::mem::replace(&mut before, *at)).max(1);
            let used = cpu.saturating_sub(std::mem::replace(&mut spent, *cpu));
            float(used) / 1_000.0 / float(took)
        })
        .collect()
}

/// A bar for each value, or for the highest of some where there are many; from nothing to the highest.
fn bars(values: &[f64]) -> String {
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let each = values.len().div_ceil(WIDTH).max(1);
    let highest = values.chunks(each).map(|some| some.iter().copied().fold(0.0_f64, f64::max));
    highest
        .map(|value| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between 0 and 7"
            )]
            let step = (value / most * 7.0).round() as usize;
            BARS[step.min(7)]
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one place behind the point")]
const fn float(figure: u64) -> f64 {
    figure as f64
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", float(bytes) / 1_048_576.0)
}

fn seconds(us: u64) -> String {
    format!("{:.1} s", float(us) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(memory: &[u64], cpu_us: &[u64]) -> TryUsageSeries {
        let count = memory.len();
        TryUsageSeries {
            complete: false,
            began_at: None,
            measured: None,
            peak_bytes: 9 << 20,
            peak_is_exact: false,
            memory_limit: Some(16 << 20),
            cpu_limit: None,
            at_ms: (1..=count as u64).map(|n| n * 5_000).collect(),
            memory: memory.to_vec(),
            cpu_us: cpu_us.to_vec(),
            read_bytes: vec![0; count],
            written_bytes: vec![0; count],
            processes: vec![1; count],
            threads: vec![2; count],
            gpu_bytes: vec![],
        }
    }

    #[test]
    fn a_series_is_told_in_bars_and_figures() {
        let lines = told(&used(&[0, 4 << 20, 8 << 20], &[5_000_000, 5_000_000, 7_500_000]));
        assert_eq!(lines[0], "memory ▁▅█");
        assert_eq!(lines[1], "       8.0 MiB now, 9.0 MiB at most seen of 16.0 MiB");
        assert_eq!(lines[2], "cpu    █▁▅");
        assert_eq!(lines[3], "       7.5 s in all, 1.0 cores at most");
        assert_eq!(told(&used(&[], &[])), ["It was not looked at yet."]);
    }

    #[test]
    fn many_points_keep_their_highest() {
        let mut values = vec![0.0; 512];
        values[300] = 3.0;
        let drawn = bars(&values);
        assert!(drawn.chars().count() <= WIDTH && drawn.matches('█').count() == 1, "{drawn}");
    }
}
