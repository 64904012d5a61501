//! `dagbok executors list` and `show`; with `--json` the API's `ExecutorCollection`, or of one its `ExecutorInfo`.
use dagbok_api::shapes::{ExecutorCollection, ExecutorInfo, ResourceInfo};

use crate::{
    api::Api,
    cli::ExecutorsCommand,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, copy_name},
};

pub(crate) async fn run(context: &Context, command: &ExecutorsCommand) -> Outcome {
    match command {
        ExecutorsCommand::List { left } => list(context, *left).await,
        ExecutorsCommand::Show { executor } => show(context, executor).await,
    }
}

async fn all(api: &Api, left: bool) -> Result<Vec<ExecutorInfo>, Failure> {
    let query = [("left", left.to_string())];
    api.all_of(&["dagbok", "executors"], &query, |page: ExecutorCollection| {
        (page.executors, page.total_entries)
    })
    .await
}

async fn list(context: &Context, left: bool) -> Outcome {
    let executors = all(&Api::of(context).await?, left).await?;
    if context.out.is_json() {
        let total_entries = executors.len();
        context.out.document(&ExecutorCollection { executors, total_entries });
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "executor", "status", "machine", "running", "slots", "queues", "since", "+version",
        "+python",
    ]);
    for it in &executors {
        table.row(vec![
            it.executor.clone(),
            it.status.clone(),
            it.hostname.clone(),
            it.running.to_string(),
            it.slots.to_string(),
            it.queues.join(", "),
            context.out.time(it.joined_at.0),
            it.version.clone(),
            it.python.clone(),
        ]);
    }
    context.out.table(&table, "No executor is there; --left lists those that were.");
    Ok(Exit::Ok)
}

/// What it has for all its tries together, as far as it is counted.
fn has(of: &ResourceInfo) -> String {
    let mut told = Vec::new();
    told.extend(of.memory.map(|bytes| format!("{} MiB of memory", bytes >> 20)));
    told.extend(of.cpu.map(|cpus| format!("{cpus} CPUs")));
    if of.gpus > 0 {
        told.push(format!("{} GPUs", of.gpus));
    }
    told.extend(of.custom.iter().map(|(name, count)| format!("{count} of `{name}`")));
    told.join(", ")
}

async fn show(context: &Context, typed: &str) -> Outcome {
    let executors = all(&Api::of(context).await?, true).await?;
    let mut meant: Vec<&ExecutorInfo> =
        executors.iter().filter(|it| it.executor == typed).collect();
    if meant.is_empty() && !typed.is_empty() {
        meant = executors.iter().filter(|it| it.executor.starts_with(typed)).collect();
    }
    let [it] = meant.as_slice() else {
        let what = if meant.is_empty() {
            format!("no executor has the id `{typed}`")
        } else {
            format!("`{typed}` may be any of {} executors", meant.len())
        };
        return Err(Failure::new(Code::NotFound, what)
            .next("`dagbok executors list --left` lists all that there were"));
    };
    let out = context.out;
    if out.is_json() {
        out.document(it);
        return Ok(Exit::Ok);
    }
    out.line(&format!("{} is {}", it.executor, it.status));
    let left = it.left_at.map(|at| out.time(at.0));
    for (name, text) in [
        ("machine", Some(it.hostname.clone())),
        ("slots", Some(format!("{} of {} taken", it.running, it.slots))),
        ("queues", Some(it.queues.join(", "))),
        ("has", Some(has(&it.resources)).filter(|has| !has.is_empty())),
        ("limits", Some(it.isolation.clone()).filter(|isolation| !isolation.is_empty())),
        ("dagbok", Some(it.version.clone())),
        ("python", Some(it.python.clone())),
        ("joined", Some(out.time(it.joined_at.0))),
        ("left", left),
        ("how", it.left.clone()),
    ] {
        if let Some(text) = text {
            out.line(&format!("  {name:<8} {text}"));
        }
    }
    for held in &it.holds {
        let task = copy_name(&held.task_id, held.map_index);
        let pid = held.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let (dag, run, nth) = (&held.dag_id, &held.dag_run_id, held.try_number);
        out.line(&format!("  holds    {dag} {run} {task}, try {nth}{pid}"));
    }
    Ok(Exit::Ok)
}
