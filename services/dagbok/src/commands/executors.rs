//! `dagbok executors …`: who is there, and who takes nothing new; with `--json` the API's `ExecutorCollection`, or of one its `ExecutorInfo`.
use dagbok_api::shapes::{
    CordonAnswer, CordonBody, CordonInfo, ExecutorCollection, ExecutorInfo, ResourceInfo,
};
use dagbok_config::Period;
use reqwest::Method;
use serde_json::json;

use crate::{
    api::{Api, Sent},
    cli::{CordonExecutor, ExecutorsCommand},
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
        ExecutorsCommand::Cordon(which) => stand(context, "cordon", which, None).await,
        ExecutorsCommand::Drain { which, limit } => stand(context, "drain", which, *limit).await,
        ExecutorsCommand::Uncordon(which) => stand(context, "uncordon", which, None).await,
    }
}

/// Has it cordoned, drained or uncordoned, and says what follows.
async fn stand(
    context: &Context,
    what: &str,
    which: &CordonExecutor,
    limit: Option<Period>,
) -> Outcome {
    let limit_seconds = limit.map(|limit| limit.0.as_secs_f64());
    let body = CordonBody { reason: which.why.reason.clone(), limit_seconds };
    let path = ["dagbok", "executors", &which.executor, what];
    let out = context.out;
    let sent = Api::of(context).await?.send(Method::POST, &path, &json!(body)).await?;
    let answer: CordonAnswer = match sent {
        Sent::Done(answer) => answer,
        Sent::Accepted(told) => {
            out.document(&told);
            return Ok(Exit::Ok);
        }
    };
    if out.is_json() {
        out.document(&answer);
        return Ok(Exit::Ok);
    }
    let name = answer.cordon.as_ref().map_or(which.executor.as_str(), |it| it.name.as_str());
    let there = answer.executors.len();
    let again = if answer.seq.is_none() { " already" } else { "" };
    let does = match what {
        "drain" if !answer.staying.is_empty() => {
            "takes nothing new: it is part of a process that has others, does not leave, and what it runs goes on"
        }
        "drain" => "is drained: it ends what it runs, leaves, and takes nothing when it comes back",
        "cordon" => "takes nothing new",
        _ if !answer.leaving.is_empty() => "takes work when it comes back",
        _ => "takes work",
    };
    out.line(&format!("{name} {does}{again}"));
    out.line(&format!("  {there} of that name are there, with {} tries", answer.running));
    if !answer.unaware.is_empty() {
        let them = answer.unaware.join(", ");
        out.line(&format!(
            "  an older Dagbok there knows no cordons and goes on taking work, until it is stopped there: {them}"
        ));
    }
    if what == "uncordon" && !answer.leaving.is_empty() {
        let them = answer.leaving.join(", ");
        out.line(&format!(
            "  what drains leaves all the same, and has to be started again: {them}"
        ));
    }
    if !answer.unserved_queues.is_empty() {
        let queues = answer.unserved_queues.join(", ");
        out.line(&format!("  nobody else takes work now from: {queues}"));
    }
    if what != "uncordon" {
        out.line(&format!("  `dagbok executors uncordon {name}` lets it take work again"));
    }
    Ok(Exit::Ok)
}

async fn all(api: &Api, left: bool) -> Result<Vec<ExecutorInfo>, Failure> {
    let query = [("left", left.to_string())];
    api.all_of(&["dagbok", "executors"], &query, |page: ExecutorCollection| {
        (page.executors, page.total_entries)
    })
    .await
}

async fn list(context: &Context, left: bool) -> Outcome {
    let api = Api::of(context).await?;
    let executors = all(&api, left).await?;
    let first: ExecutorCollection =
        api.get(&["dagbok", "executors"], &[("limit", "0".to_owned())]).await?;
    let cordons = first.cordons;
    if context.out.is_json() {
        let total_entries = executors.len();
        context.out.document(&ExecutorCollection { executors, total_entries, cordons });
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "executor", "name", "status", "machine", "running", "slots", "queues", "since", "+version",
        "+python", "+labels",
    ]);
    for it in &executors {
        table.row(vec![
            it.executor.clone(),
            it.name.clone(),
            it.status.clone(),
            it.hostname.clone(),
            it.running.to_string(),
            it.slots.to_string(),
            it.queues.join(", "),
            context.out.time(it.joined_at.0),
            it.version.clone(),
            it.python.clone(),
            labels(&it.resources),
        ]);
    }
    context.out.table(&table, "No executor is there; --left lists those that were.");
    for cordon in cordons {
        context.out.line(&cordon_text(context, &cordon));
    }
    Ok(Exit::Ok)
}

fn labels(of: &ResourceInfo) -> String {
    let labels: Vec<String> =
        of.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(", ")
}

/// Who is cordoned, since when, by whom and why, in a line.
fn cordon_text(context: &Context, it: &CordonInfo) -> String {
    let how = if it.drain { "drained" } else { "cordoned" };
    let why = it.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} is {how} since {} by {}{why}", it.name, context.out.time(it.since.0), it.by)
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
        ("name", Some(it.name.clone())),
        ("cordon", it.cordon.as_ref().map(|it| cordon_text(context, it))),
        ("labels", Some(labels(&it.resources)).filter(|labels| !labels.is_empty())),
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
        let waits = held.waits.as_ref().map(|why| format!(", waits: {why}")).unwrap_or_default();
        out.line(&format!("  holds    {dag} {run} {task}, try {nth}{pid}{waits}"));
    }
    Ok(Exit::Ok)
}
