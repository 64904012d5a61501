//! `dagbok runs show`; with `--json` one object: `run`, the API's `DAGRunResponse`, and `tasks`, a list
//! of its `TaskInstanceResponse`.
use dagbok_api::shapes::{RunResponse, TaskInstance, TaskInstanceCollection};
use serde_json::json;

use super::{duration_of, failed_text, task_name};
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
    let head = format!("{} {}: {state} {}", run.dag_id, run.dag_run_id, duration_of(&run));
    out.line(head.trim_end());
    for (name, text) in [
        ("logical date", run.logical_date.map(|at| at.0.to_string())),
        ("started", run.start_date.map(|at| at.0.to_string())),
        ("ended", run.end_date.map(|at| at.0.to_string())),
        ("conf", run.conf.as_ref().map(|conf| conf.get().to_owned())),
        ("note", run.note.clone()),
        ("why", why(&run, &tasks)),
    ] {
        if let Some(text) = text {
            out.line(&format!("  {name:<13} {text}"));
        }
    }
    out.line("");
    out.table(&task_table(&tasks, &run), "No tasks.");
    Ok(Exit::Ok)
}

/// Why a run ended otherwise than well: who or what ended it, or which of its tasks failed.
fn why(run: &RunResponse, tasks: &[TaskInstance]) -> Option<String> {
    let extra = &run.dagbok;
    let left = if run.state == "running" { "; its teardowns still run" } else { "" };
    match extra.ended.as_deref()? {
        "timed_out" => {
            let limit = extra.dagrun_timeout.map(seconds_text).map(|limit| format!(" of {limit}"));
            Some(format!("its dagrun_timeout{} has passed{left}", limit.unwrap_or_default()))
        }
        "cancelled" => {
            let who = extra.ended_by.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
            let reason = extra.reason.as_deref().map(|reason| format!(": {reason}"));
            Some(format!("cancelled{who}{}{left}", reason.unwrap_or_default()))
        }
        _ => failed_text(tasks).map(|failed| format!("failed: {failed}")),
    }
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

fn task_table(tasks: &[TaskInstance], run: &RunResponse) -> Table {
    let mut table = Table::new(&["task", "state", "try", "took", "memory", "why"]);
    for task in tasks {
        let memory =
            task.dagbok.usage.as_ref().map(|usage| format!("{} MiB", usage.max_rss_bytes >> 20));
        table.row(vec![
            task_name(task),
            task.state.clone().unwrap_or_default(),
            if task.try_number > 0 {
                format!("{}/{}", task.try_number, task.max_tries + 1)
            } else {
                String::new()
            },
            task.duration.map(seconds_text).unwrap_or_default(),
            memory.unwrap_or_default(),
            task_why(task, run),
        ]);
    }
    table
}

/// The first line of why a task is as it is.
fn task_why(task: &TaskInstance, run: &RunResponse) -> String {
    let extra = &task.dagbok;
    let said = match (&extra.failure, &extra.message, extra.ended.as_deref()) {
        (Some(failure), ..) => failure.message.as_str(),
        (None, Some(message), Some("lost")) => {
            return format!("lost: {}", message.replace('_', " "));
        }
        (None, Some(message), _) => message.as_str(),
        (None, None, Some("cancelled")) if run.dagbok.ended.as_deref() == Some("timed_out") => {
            "its run timed out"
        }
        (None, None, Some("cancelled")) => "its run was cancelled",
        (None, None, Some("returned")) => "handed back before it began",
        (None, None, _) => "",
    };
    said.lines().next().unwrap_or_default().to_owned()
}
