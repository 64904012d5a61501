//! `dagbok runs clear` and `runs delete`; with `--json` the API's `RunCleared`, and `dag_id`, `run_id`.
use dagbok_api::shapes::{Cleared, DateTime, RunClear, RunCleared, RunVersionChange, TaskOrCopy};
use reqwest::Method;
use serde_json::json;

use crate::commands::agree::agreed;
use crate::{
    api::{Api, Sent},
    cli::{Clear, Delete, Run},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
};

/// Shows what would run again, asks, and lets it.
pub(crate) async fn clear(context: &Context, args: &Clear) -> Outcome {
    let api = Api::of(context).await?;
    let Run { dag_id, run_id } = &handles::run(context, &api, &args.run, For::Changing).await?;
    let path = ["dagbok", "runs", dag_id, run_id, "clear"];
    let task_ids = named(args)?;
    let body = |dry_run| RunClear {
        only_failed: args.only_failed,
        only_running: args.only_running,
        task_ids: task_ids.clone(),
        include_upstream: args.upstream,
        include_downstream: args.downstream,
        include_future: args.others.future,
        include_past: args.others.past,
        run_on_latest_version: args.latest,
        kill: args.kill,
        reason: args.why.reason.clone(),
        dry_run,
    };
    let out = context.out;
    let preview: Sent<RunCleared> = api.send(Method::POST, &path, &body(true)).await?;
    let Sent::Done(preview) = preview else { return Ok(Exit::Unreachable) };
    let named = format!("{dag_id} {run_id}");
    let adds = preview.version.as_ref().is_some_and(|version| !version.added.is_empty());
    if preview.tasks.is_empty() && !adds && preview.others.is_empty() {
        if out.is_json() {
            out.document(&preview);
        } else {
            out.line(&format!("{named}: there is nothing to clear"));
        }
        return Ok(Exit::Ok);
    }
    if !out.is_json() {
        out.line(&format!("{named}: these run again"));
        tell(context, &preview.tasks, preview.version.as_ref());
        tell_forgotten(context, preview.xcoms_kept_until.as_ref());
        for other in &preview.others {
            out.line(&format!("{dag_id} {}", other.dag_run_id));
            tell(context, &other.tasks, other.version.as_ref());
            tell_forgotten(context, other.xcoms_kept_until.as_ref());
        }
    }
    if args.asked.only.dry_run {
        if out.is_json() {
            out.document(&preview);
        }
        return Ok(Exit::Ok);
    }
    if !args.asked.yes && !agreed("whether these shall run again", "Clear them?")? {
        return Ok(Exit::Refused);
    }
    let sent: Sent<RunCleared> = api.send(Method::POST, &path, &body(false)).await?;
    match sent {
        Sent::Done(done) if out.is_json() => out.document(&done),
        Sent::Accepted(accepted) if out.is_json() => out.document(&accepted),
        _ => out.line(&format!("{named} is cleared")),
    }
    Ok(Exit::Ok)
}

/// What runs again of a run, and what another version makes of it.
fn tell(context: &Context, tasks: &[Cleared], version: Option<&RunVersionChange>) {
    let out = context.out;
    if let Some(RunVersionChange { from, to, .. }) = version {
        let line = if from == to {
            format!("  on version {to}, with its newest code")
        } else {
            format!("  on version {to} of the DAG, until now on {from}")
        };
        out.line(&line);
    }
    for task in tasks {
        out.line(&format!("  {}", name_of(task)));
    }
    let Some(version) = version else { return };
    version.added.iter().for_each(|task| out.line(&format!("  {} (is added)", copies_of(task))));
    for task in &version.removed {
        out.line(&format!("  {} (is removed, and does not run)", copies_of(task)));
    }
}

/// That what tasks of a run handed on is forgotten, so that who asks for it fails.
fn tell_forgotten(context: &Context, kept_until: Option<&DateTime>) {
    if let Some(until) = kept_until {
        context.out.line(&format!(
            "  XComs of before were kept until {}, by retention.xcoms, and are forgotten: a task that asks for one of a \
             task that does not run again fails",
            context.out.time(until.0)
        ));
    }
}

/// The tasks and copies that the command names.
fn named(args: &Clear) -> Result<Vec<TaskOrCopy>, Failure> {
    if args.map_index.is_empty() {
        return Ok(args.task.iter().cloned().map(TaskOrCopy::Task).collect());
    }
    let [task] = args.task.as_slice() else {
        let what = "--map-index is of one task, and --task names several";
        return Err(
            Failure::new(Code::Refused, what).next("clear each task's copies by themselves")
        );
    };
    let copy = |index: &u32| {
        let index = i32::try_from(*index).unwrap_or(i32::MAX);
        TaskOrCopy::Copy(task.clone(), index)
    };
    Ok(args.map_index.iter().map(copy).collect())
}

fn name_of(task: &Cleared) -> String {
    let runs = task.was.iter().any(|it| it.state == "running" || it.state == "queued");
    let name = copies_of(task);
    if runs { format!("{name} (is ended first: it runs, or is queued)") } else { name }
}

fn copies_of(task: &Cleared) -> String {
    match (task.map_index, task.further) {
        (-1, _) => task.task_id.clone(),
        (first, 0) => format!("{}[{first}]", task.task_id),
        (first, more) => {
            format!("{}[{first}..{}]", task.task_id, i64::from(first) + i64::from(more))
        }
    }
}

/// Lets a run that is over be gone.
pub(crate) async fn delete(context: &Context, args: &Delete) -> Outcome {
    let api = Api::of(context).await?;
    let mut named = Vec::new();
    // All of them are there before the first is deleted.
    for run_id in &args.run_ids {
        let typed = Run { dag_id: args.dag_id.clone(), run_id: run_id.clone() };
        named.push(handles::run(context, &api, &typed, For::Deleting).await?);
    }
    for Run { dag_id, run_id } in &named {
        api.delete(&["dags", dag_id, "dagRuns", run_id]).await?;
        if context.out.is_json() {
            context.out.one_of(named.len() > 1, &json!({ "dag_id": dag_id, "run_id": run_id }));
        } else {
            context.out.line(&format!("{dag_id} {run_id} is deleted"));
            context.out.name(&format!("{dag_id} {run_id}"));
        }
    }
    Ok(Exit::Ok)
}
