//! `dagbok runs show`; with `--json` one object: `run`, the API's `DAGRunResponse`, `tasks`, a list
//! of its `TaskInstanceResponse`, `changes`, the API's `RunChange`s, and `callbacks`, its `DagCallback`s.
use dagbok_api::shapes::{
    DagCallbackCollection, RunChange, RunChangeCollection, RunResponse, TaskInstance,
    TaskInstanceCollection, TaskWasCount, TryProgress,
};
use serde_json::json;

use super::{duration_of, failed_text, since, state_of, task_name};
use crate::{
    api::Api,
    cli::Run,
    commands::hints::Hints,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Out, Table, bytes_text, one_line, seconds_text, state_style, styled},
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
    let hints = Hints::of_run(context, &api, &run).await;
    let state = styled(state_style(state_of(&run)), state_of(&run));
    let head = format!("{} {}: {state} {}", run.dag_id, run.dag_run_id, duration_of(&run));
    out.line(head.trim_end());
    for (name, text) in [
        ("logical date", run.logical_date.map(|at| at.0.to_string())),
        ("started", run.start_date.map(|at| out.time(at.0))),
        ("ended", run.end_date.map(|at| out.time(at.0))),
        ("conf", run.conf.as_ref().map(|conf| conf.get().to_owned())),
        ("note", run.note.clone()),
        ("why", why(&run, &tasks)),
        ("failure", tasks.iter().find_map(failure_of)),
    ] {
        if let Some(text) = text {
            out.line(&format!("  {name:<13} {text}"));
        }
    }
    for (at, why) in hints.why.iter().enumerate() {
        out.line(&format!("  {:<13} {why}", if at == 0 { "waits" } else { "" }));
    }
    for change in &changes.changes {
        out.line(&format!("  {:<13} {}", "changed", changed(out, change)));
    }
    for call in &called.callbacks {
        let why = call.failure.as_ref().map(|failure| format!(": {}", failure.message));
        let text = format!("{} {}{}", call.callback, call.state, why.unwrap_or_default());
        out.line(&format!("  {:<13} {text}", "called"));
    }
    out.line("");
    out.table(&task_table(out, &tasks, &run, &hints), "No tasks.");
    hints.print_next(out);
    Ok(Exit::Ok)
}

/// What somebody changed of a run's history: when, who, what was before, and why.
fn changed(out: Out, change: &RunChange) -> String {
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
    format!("{} by {}, {}{why}", out.time(change.timestamp.0), change.by, parts.join(", "))
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
pub(crate) fn task_table(
    out: Out,
    tasks: &[TaskInstance],
    run: &RunResponse,
    hints: &Hints,
) -> Table {
    let mut table = Table::new(&[
        "task",
        "state",
        "try",
        "took",
        "memory",
        "why",
        "+started",
        "+executor",
        "+pool",
        "+queue",
    ]);
    for task in tasks {
        let taken = task.duration.or_else(|| since(task.start_date, task.end_date));
        let used = task.dagbok.usage.as_ref().map(|usage| usage.max_rss_bytes);
        let why = match task_why(task, run) {
            none if none.is_empty() => {
                let key = (task.task_id.clone(), task.map_index);
                hints.tasks.get(&key).cloned().unwrap_or_default()
            }
            why => why,
        };
        table.row(vec![
            task_name(task),
            task_state(task).to_owned(),
            if task.try_number > 0 {
                format!("{}/{}", task.try_number, task.max_tries + 1)
            } else {
                String::new()
            },
            taken.map(seconds_text).unwrap_or_default(),
            used.or_else(|| memory_of(task)).map(bytes_text).unwrap_or_default(),
            why,
            task.start_date.map(|at| out.time(at.0)).unwrap_or_default(),
            task.executor.clone().unwrap_or_default(),
            task.pool.clone(),
            task.queue.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// A task's state for eyes: one that was cancelled did not fail, though Airflow has no other word.
fn task_state(task: &TaskInstance) -> &str {
    match (task.state.as_deref(), task.dagbok.ended.as_deref()) {
        (Some("failed"), Some("cancelled")) => "cancelled",
        (state, _) => state.unwrap_or_default(),
    }
}

/// The memory that a task's process has now, in bytes, where it runs on this machine.
fn memory_of(task: &TaskInstance) -> Option<u64> {
    if task.state.as_deref() != Some("running") {
        return None;
    }
    let here = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    let pid = task.pid.filter(|_| task.hostname.as_deref() == Some(here.as_str()))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// A task's exception with its file and line.
fn failure_of(task: &TaskInstance) -> Option<String> {
    let failure =
        task.dagbok.failure.as_ref().filter(|_| task.state.as_deref() == Some("failed"))?;
    let place = match (&failure.file, failure.line) {
        (Some(file), Some(line)) => format!("  {file}:{line}"),
        _ => String::new(),
    };
    let kind = failure.exception.as_deref().unwrap_or(&failure.kind);
    let message = failure.message.strip_prefix(&format!("{kind}: ")).unwrap_or(&failure.message);
    Some(format!("{}: {kind}: {}{place}", task_name(task), one_line(message)))
}

/// How far a try has come, by its own word.
fn progress_text(progress: &TryProgress) -> String {
    let text = progress.text.lines().next().unwrap_or_default();
    let dash = if text.is_empty() { "" } else { ": " };
    format!("{:.0} %{dash}{text}", progress.fraction * 100.0)
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
        (None, None, None) => {
            return extra.progress.as_ref().map(progress_text).unwrap_or_default();
        }
        (None, None, _) => "",
    };
    said.lines().next().unwrap_or_default().to_owned()
}
