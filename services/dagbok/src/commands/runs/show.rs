//! `dagbok runs show`; with `--json` one object: `run`, the API's `DAGRunResponse`, `tasks`, a list
//! of its `TaskInstanceResponse`, `changes`, the API's `RunChange`s, and `callbacks`, its `DagCallback`s.
use dagbok_api::shapes::{
    DagCallbackCollection, RunChange, RunChangeCollection, RunResponse, TaskInstance,
    TaskInstanceCollection, TaskWasCount,
};
use serde_json::json;

use super::{duration_of, failed_text, task_name};
use crate::{
    api::Api,
    cli::Run,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Table, seconds_text, state_style, styled},
};

pub(crate) async fn show(context: &Context, args: &Run) -> Outcome {
    let api = Api::of(context).await?;
    let Run { dag_id, run_id } = &handles::run(context, &api, args, For::Reading).await?;
    let run: RunResponse = api.get(&["dags", dag_id, "dagRuns", run_id], &[]).await?;
    let tasks = tasks_of(&api, dag_id, run_id).await?;
    let path = ["dagbok", "runs", dag_id, run_id, "changes"];
    let changes: RunChangeCollection = api.get(&path, &[]).await?;
    let path = ["dagbok", "callbacks", dag_id, run_id];
    let called: DagCallbackCollection = api.get(&path, &[]).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&json!({
            "run": run, "tasks": tasks, "changes": changes.changes, "callbacks": called.callbacks,
        }));
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
    for change in &changes.changes {
        out.line(&format!("  {:<13} {}", "changed", changed(change)));
    }
    for call in &called.callbacks {
        let why = call.failure.as_ref().map(|failure| format!(": {}", failure.message));
        let text = format!("{} {}{}", call.callback, call.state, why.unwrap_or_default());
        out.line(&format!("  {:<13} {text}", "called"));
    }
    out.line("");
    out.table(&task_table(&tasks, &run), "No tasks.");
    Ok(Exit::Ok)
}

/// What somebody changed of a run's history: when, who, what was before, and why.
fn changed(change: &RunChange) -> String {
    let was = |was: &[TaskWasCount]| {
        let states: Vec<&str> = was.iter().map(|it| it.state.as_str()).collect();
        states.join(", ")
    };
    let mut parts = Vec::new();
    if let Some(run) = &change.run {
        let before = change.was.as_ref().map(|was| format!(" (was {was})")).unwrap_or_default();
        parts.push(format!("run {run}{before}"));
    }
    if let (Some(version), Some(was)) = (change.version, change.version_was) {
        parts.push(if version == was {
            format!("newest code of version {version}")
        } else {
            format!("version {version} (was {was})")
        });
    }
    if change.note.is_some() || change.note_was.is_some() {
        let before = change.note_was.as_deref().unwrap_or("none");
        parts.push(format!("note {:?} (was {before:?})", change.note.as_deref().unwrap_or("none")));
    }
    for task in change.tasks.iter().take(5) {
        parts.push(match task.change.as_str() {
            "added" => format!("{} added", task.task_id),
            "noted" => {
                let note =
                    |note: &Option<String>| note.clone().unwrap_or_else(|| "none".to_owned());
                let (now, before) = (note(&task.note), note(&task.note_was));
                format!("{} noted {now:?} (was {before:?})", task.task_id)
            }
            _ => format!("{} {} (was {})", task.task_id, task.change, was(&task.was)),
        });
    }
    let more = change.tasks.len().saturating_sub(5) + change.more as usize;
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    let why = change.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} by {}, {}{why}", change.timestamp.0, change.by, parts.join(", "))
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
        how @ ("cancelled" | "marked") => {
            let who = extra.ended_by.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
            let reason = extra.reason.as_deref().map(|reason| format!(": {reason}"));
            Some(format!("{how}{who}{}{left}", reason.unwrap_or_default()))
        }
        _ => failed_text(tasks).map(|failed| format!("failed: {failed}")),
    }
}

async fn tasks_of(api: &Api, dag_id: &str, run_id: &str) -> Result<Vec<TaskInstance>, Failure> {
    let path = ["dags", dag_id, "dagRuns", run_id, "taskInstances"];
    api.all(&path, |page: TaskInstanceCollection| (page.task_instances, page.total_entries)).await
}

/// Tasks of a run as a table.
pub(crate) fn task_table(tasks: &[TaskInstance], run: &RunResponse) -> Table {
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
