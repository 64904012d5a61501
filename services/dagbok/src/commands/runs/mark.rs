//! `dagbok runs mark`, `runs note`, `tasks mark` and `tasks note`; with `--json` the API's documents.
use dagbok_api::shapes::{
    RunMarkBody, RunPatch, RunResponse, TaskInstanceCollection, TaskInstancePatch,
};
use reqwest::Method;

use super::task_name;
use crate::{
    api::{Api, Sent},
    cli::{MarkRun, MarkTask, Note, NoteTask, Run},
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
};

/// Says how a run ended.
pub(crate) async fn mark(context: &Context, args: &MarkRun) -> Outcome {
    let api = Api::of(context).await?;
    let Run { dag_id, run_id } = &handles::run(context, &api, &args.run, For::Changing).await?;
    let path = ["dagbok", "runs", dag_id, run_id, "mark"];
    let body = RunMarkBody { state: args.state.clone(), reason: args.why.reason.clone() };
    let sent: Sent<RunResponse> = api.send(Method::POST, &path, &body).await?;
    let named = format!("{dag_id} {run_id}");
    match sent {
        Sent::Done(run) if context.out.is_json() => context.out.document(&run),
        Sent::Done(run) if run.state == "running" => {
            context
                .out
                .line(&format!("{named} is to end as {}; its teardowns still run", args.state));
        }
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        _ => context.out.line(&format!("{named} is marked as {}", args.state)),
    }
    Ok(Exit::Ok)
}

/// Writes a note on a run, or takes it away.
pub(crate) async fn note(context: &Context, args: &Note) -> Outcome {
    let api = Api::of(context).await?;
    let Run { dag_id, run_id } = &handles::run(context, &api, &args.run, For::Changing).await?;
    let path = ["dags", dag_id, "dagRuns", run_id];
    let body = RunPatch { state: None, note: Some(args.text.clone()) };
    let sent: Sent<RunResponse> = api.send(Method::PATCH, &path, &body).await?;
    let done = if args.text.is_some() { "is noted" } else { "has no note any more" };
    match sent {
        Sent::Done(run) if context.out.is_json() => context.out.document(&run),
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        _ => context.out.line(&format!("{dag_id} {run_id} {done}")),
    }
    Ok(Exit::Ok)
}

/// Writes a note on a task, or takes it away.
pub(crate) async fn note_task(context: &Context, args: &NoteTask) -> Outcome {
    let index = args.map_index.map(|index| index.to_string());
    let api = Api::of(context).await?;
    let (run, task_id) =
        handles::run_and_task(context, &api, &args.run, &args.task_id, For::Changing).await?;
    let mut path = vec!["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances"];
    path.push(&task_id);
    path.extend(index.as_deref());
    let note = Some(args.text.clone().unwrap_or_default());
    let body = TaskInstancePatch { note, ..TaskInstancePatch::default() };
    let sent: Sent<TaskInstanceCollection> = api.send(Method::PATCH, &path, &body).await?;
    let done = if args.text.is_some() { "is noted" } else { "has no note any more" };
    match sent {
        Sent::Done(found) if context.out.is_json() => context.out.document(&found),
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        _ => context.out.line(&format!("{task_id} {done}")),
    }
    Ok(Exit::Ok)
}

/// Says how a task ended.
pub(crate) async fn mark_task(context: &Context, args: &MarkTask) -> Outcome {
    let index = args.map_index.map(|index| index.to_string());
    let api = Api::of(context).await?;
    let (run, task_id) =
        handles::run_and_task(context, &api, &args.run, &args.task_id, For::Changing).await?;
    let mut path = vec!["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances"];
    path.push(&task_id);
    path.extend(index.as_deref());
    path.extend(args.only.dry_run.then_some("dry_run"));
    let body = TaskInstancePatch {
        new_state: Some(args.state.clone()),
        note: None,
        reason: args.why.reason.clone(),
        include_upstream: args.upstream,
        include_downstream: args.downstream,
        include_future: args.others.future,
        include_past: args.others.past,
    };
    let sent: Sent<TaskInstanceCollection> = api.send(Method::PATCH, &path, &body).await?;
    let out = context.out;
    match sent {
        Sent::Done(done) if out.is_json() => out.document(&done),
        Sent::Accepted(accepted) if out.is_json() => out.document(&accepted),
        Sent::Accepted(_) => out.line(&format!("marked as {}", args.state)),
        Sent::Done(done) if done.task_instances.is_empty() => {
            out.line(&format!("{task_id}: it stands as {} already", args.state));
        }
        Sent::Done(done) => {
            let would = if args.only.dry_run { "would be marked" } else { "marked" };
            out.line(&format!("{would} as {}:", args.state));
            for task in &done.task_instances {
                out.line(&format!("  {} {}", task.dag_run_id, task_name(task)));
            }
            let more = done.total_entries - done.task_instances.len();
            if more > 0 {
                out.line(&format!("  and {more} more"));
            }
        }
    }
    Ok(Exit::Ok)
}
