//! `dagbok runs show`; with `--json` one object: `run`, the API's `DAGRunResponse`, and `tasks`, a list
//! of its `TaskInstanceResponse`.
use dagbok_ui::shapes::{RunResponse, TaskInstance, TaskInstanceCollection};
use serde_json::json;

use super::duration_of;
use crate::{
    api::Api,
    cli::Run,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, seconds_text, state_style, styled},
};

/// Tasks that one question brings.
const PAGE: usize = 1_000;

pub(crate) async fn show(context: &Context, args: &Run) -> Outcome {
    let api = Api::of(context).await?;
    let run: RunResponse = api.get(&["dags", &args.dag_id, "dagRuns", &args.run_id], &[]).await?;
    let tasks = tasks_of(&api, &args.dag_id, &args.run_id).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "run": run, "tasks": tasks }));
        return Ok(Exit::Ok);
    }
    let state = styled(state_style(&run.state), &run.state);
    out.line(&format!("{} {}: {state} {}", run.dag_id, run.dag_run_id, duration_of(&run)));
    for (name, text) in [
        ("logical date", run.logical_date.map(|at| at.0.to_string())),
        ("started", run.start_date.map(|at| at.0.to_string())),
        ("ended", run.end_date.map(|at| at.0.to_string())),
        ("conf", run.conf.as_ref().map(ToString::to_string)),
        ("note", run.note.clone()),
        ("ended by", run.dagbok.ended_by.clone().filter(|_| run.state == "failed")),
        ("reason", run.dagbok.reason.clone()),
    ] {
        if let Some(text) = text {
            out.line(&format!("  {name:<13} {text}"));
        }
    }
    out.line("");
    out.table(&task_table(&tasks), "No tasks.");
    Ok(Exit::Ok)
}

async fn tasks_of(api: &Api, dag_id: &str, run_id: &str) -> Result<Vec<TaskInstance>, Failure> {
    let mut all = Vec::new();
    loop {
        let query = [("limit", PAGE.to_string()), ("offset", all.len().to_string())];
        let path = ["dags", dag_id, "dagRuns", run_id, "taskInstances"];
        let page: TaskInstanceCollection = api.get(&path, &query).await?;
        let last = page.task_instances.is_empty();
        all.extend(page.task_instances);
        if last || all.len() >= page.total_entries {
            return Ok(all);
        }
    }
}

fn task_table(tasks: &[TaskInstance]) -> Table {
    let mut table = Table::new(&["task", "state", "try", "took", "memory", "why"]);
    for task in tasks {
        let name = if task.map_index < 0 {
            task.task_id.clone()
        } else {
            format!("{}[{}]", task.task_id, task.map_index)
        };
        let memory =
            task.dagbok.usage.as_ref().map(|usage| format!("{} MiB", usage.max_rss_bytes >> 20));
        let failure = task.dagbok.failure.as_ref().map(|failure| failure.message.clone());
        table.row(vec![
            name,
            task.state.clone().unwrap_or_default(),
            if task.try_number > 0 {
                format!("{}/{}", task.try_number, task.max_tries + 1)
            } else {
                String::new()
            },
            task.duration.map(seconds_text).unwrap_or_default(),
            memory.unwrap_or_default(),
            failure
                .or_else(|| task.dagbok.message.clone())
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    table
}
