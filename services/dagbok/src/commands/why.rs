//! `dagbok why`: all that keeps a DAG's next run, a run, or a task; with `--json` the API's `WhyAnswer`, with
//! `--history` its `WhyChanges`.
use dagbok_api::shapes::{WhyAnswer, WhyChanges, WhyHolder, WhyPiece, WhyReason};

use crate::{
    api::Api,
    cli::{Run, Why, WhyOf, WhyTask},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Out, copy_name, in_zone},
};

pub(crate) async fn why(context: &Context, args: &Why) -> Outcome {
    if args.of.history && args.run_id.is_none() {
        return Err(Failure::new(Code::Usage, "--history is of a run, or of a task of it")
            .next("name the run: `dagbok runs list DAG` shows them"));
    }
    let api = Api::of(context).await?;
    let (dag_id, task_id) = (args.dag_id.clone(), args.task_id.as_deref());
    match args.run_id.clone() {
        None => {
            let dag_id = handles::dag(context, &api, &dag_id, For::Reading).await?;
            ask(context, &api, &["dagbok", "dags", &dag_id], &args.of, false).await
        }
        Some(run_id) => of_run(context, &api, &Run { dag_id, run_id }, task_id, &args.of).await,
    }
}

/// What keeps a run, or a task of it.
pub(crate) async fn of_run(
    context: &Context,
    api: &Api,
    typed: &Run,
    task_id: Option<&str>,
    of: &WhyOf,
) -> Outcome {
    let (run, task) = match task_id {
        Some(task_id) => {
            let (run, task) =
                handles::run_and_task(context, api, typed, task_id, For::Reading).await?;
            (run, Some(task))
        }
        None => (handles::run(context, api, typed, For::Reading).await?, None),
    };
    let mut path = vec!["dagbok", "runs", &run.dag_id, &run.run_id];
    if let Some(task) = &task {
        path.extend(["tasks", task]);
    }
    ask(context, api, &path, of, task.is_some()).await
}

/// `dagbok tasks why`.
pub(crate) async fn task(context: &Context, args: &WhyTask) -> Outcome {
    let api = Api::of(context).await?;
    of_run(context, &api, &args.run, Some(&args.task_id), &args.of).await
}

async fn ask(context: &Context, api: &Api, path: &[&str], of: &WhyOf, is_task: bool) -> Outcome {
    let mut query = Vec::new();
    if is_task {
        query.push(("map_index", of.map_index.to_string()));
    }
    query.extend(of.at.as_ref().map(|at| ("at", at.clone())));
    let path_to = |last| [path, &[last]].concat();
    if of.history {
        let found: WhyChanges = api.get(&path_to("whyChanges"), &query).await?;
        if context.out.is_json() {
            context.out.document(&found);
        } else {
            tell_changes(context.out, &found);
        }
        return Ok(Exit::Ok);
    }
    let found: WhyAnswer = api.get(&path_to("why"), &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
    } else {
        tell(context.out, &found, of.at.is_some());
    }
    Ok(Exit::Ok)
}

/// Each change in a line.
fn tell_changes(out: Out, found: &WhyChanges) {
    for change in &found.changes {
        out.line(&format!("{}  {}", out.time(change.at.0), in_zone(&change.message)));
        for reason in change.is.reasons.iter().skip(1) {
            out.line(&format!("    - {}", in_zone(&reason.message)));
        }
    }
    if !found.complete {
        out.line("there may be more: not every record of that time was looked at");
    }
}

/// One sentence, then what it rests on.
fn tell(out: Out, found: &WhyAnswer, is_past: bool) {
    out.line(&in_zone(&found.message));
    if is_past {
        let seq = found.seq.map(|seq| format!(", by the log up to record {seq}"));
        out.line(&format!("  as of {}{}", out.time(found.at.0), seq.unwrap_or_default()));
    } else if found.by == "log" {
        out.line("  no scheduler answers: this is what the log says");
    }
    if let Some(since) = found.is.since {
        out.line(&format!("  {} since {}", found.is.state, out.time(since.0)));
    }
    for reason in &found.is.reasons {
        tell_reason(out, reason, "  ");
    }
    if let Some(expected) = &found.expected {
        let (p50, p90) = (out.time(expected.p50.0), out.time(expected.p90.0));
        out.line(&match expected.of {
            0 => format!("  expected at {p50}"),
            of => format!("  expected by {p50} (half of the cases), {p90} (nine of ten), from {of} earlier tries"),
        });
    }
    if !found.roots.is_empty() {
        out.line(if found.is.task_id.is_some() { "  behind that:" } else { "  of it:" });
    }
    for root in &found.roots {
        tell_root(out, root);
    }
    if found.more_roots > 0 {
        out.line(&format!("    … and {} more", found.more_roots));
    }
}

fn tell_reason(out: Out, reason: &WhyReason, indent: &str) {
    out.line(&format!("{indent}- {}", in_zone(&reason.message)));
    for holder in &reason.holders {
        out.line(&format!("{indent}    {}", holder_text(out, holder)));
    }
    if reason.more > 0 && !reason.holders.is_empty() {
        out.line(&format!("{indent}    … and {} more", reason.more));
    }
}

fn holder_text(out: Out, holder: &WhyHolder) -> String {
    let task = copy_name(&holder.task_id, holder.map_index);
    let since =
        holder.since.map(|since| format!(" since {}", out.time(since.0))).unwrap_or_default();
    let on = match &holder.executor {
        Some(executor) => format!("runs on {executor}{since}"),
        None => "is queued".to_owned(),
    };
    let slots =
        if holder.slots == 1 { "1 slot".to_owned() } else { format!("{} slots", holder.slots) };
    let nth = holder.try_number;
    format!("{} {} {task} (try {nth}, {slots}) {on}", holder.dag_id, holder.dag_run_id)
}

fn tell_root(out: Out, root: &WhyPiece) {
    let name = copy_name(root.task_id.as_deref().unwrap_or_default(), root.map_index);
    let on = root.executor.as_ref().map(|it| format!(" on {it}")).unwrap_or_default();
    out.line(&format!("    {name}: {}{on}", root.state));
    for reason in &root.reasons {
        tell_reason(out, reason, "      ");
    }
}
