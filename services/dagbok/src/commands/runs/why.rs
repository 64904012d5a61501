//! `dagbok runs why`: why a run failed, on one screen: the line, the log's last words, who was told, what to do. Of a run
//! that goes on, what it waits for. With `--json` one object: `dag_run`, `failure`, `log`, a list of lines, `told`, the
//! API's alerts, and `next`, a list of commands; of a run that goes on the API's `WhyAnswer`.
use dagbok_api::shapes::{
    AlertCollection, AlertResponse, RunCollection, RunResponse, TaskInstance,
    TaskInstanceCollection, TryFailure, UiLog,
};
use serde_json::json;

use super::{duration_of, state_of, task_name};
use crate::{
    api::Api,
    cli::{Run, WhyOf, WhyRun},
    codes::Code,
    commands::why::of_run,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    live::clock_part,
    output::{Out, one_line, quoted, state_style, styled},
};

/// Lines of a log that are shown.
const LINES: usize = 20;
/// Lines of a traceback that are shown, the last ones.
const TRACED: usize = 12;

/// What is known of a failed run.
struct Found {
    run: RunResponse,
    /// The task that failed first, and why.
    task: Option<TaskInstance>,
    failure: Option<TryFailure>,
    log: Vec<String>,
    told: Vec<AlertResponse>,
    next: Vec<String>,
}

pub(crate) async fn why(context: &Context, args: &WhyRun) -> Outcome {
    let api = Api::of(context).await?;
    let Some(run) = meant(context, &api, args).await? else {
        context.out.note("no run has failed");
        if context.out.is_json() {
            context.out.document(&json!({ "dag_run": null }));
        }
        return Ok(Exit::Ok);
    };
    let run: RunResponse = api.get(&["dags", &run.dag_id, "dagRuns", &run.run_id], &[]).await?;
    if matches!(run.state.as_str(), "queued" | "running") {
        let run = Run { dag_id: run.dag_id, run_id: run.dag_run_id };
        return of_run(context, &api, &run, None, &WhyOf::default()).await;
    }
    let found = look(context, &api, run).await?;
    if context.out.is_json() {
        context.out.document(&json!({
            "dag_run": found.run,
            "failure": found.failure,
            "log": found.log,
            "told": found.told,
            "next": found.next,
        }));
    } else {
        found.print(context.out);
    }
    Ok(Exit::Ok)
}

/// The run that is named; else the DAG's, or of all DAGs the one that failed last.
async fn meant(context: &Context, api: &Api, args: &WhyRun) -> Result<Option<Run>, Failure> {
    let dag_id = match (&args.dag_id, &args.run_id) {
        (Some(dag_id), Some(run_id)) => {
            let typed = Run { dag_id: dag_id.clone(), run_id: run_id.clone() };
            return handles::run(context, api, &typed, For::Reading).await.map(Some);
        }
        (Some(dag_id), None) => handles::dag(context, api, dag_id, For::Reading).await?,
        (None, _) => "~".to_owned(),
    };
    let query = [("state", "failed"), ("order_by", "-end_date"), ("limit", "1")];
    let query = query.map(|(name, value)| (name, value.to_owned()));
    let found: RunCollection = api.get(&["dags", &dag_id, "dagRuns"], &query).await?;
    let newest = found.dag_runs.into_iter().next();
    Ok(newest.map(|run| Run { dag_id: run.dag_id, run_id: run.dag_run_id }))
}

async fn look(context: &Context, api: &Api, run: RunResponse) -> Result<Found, Failure> {
    let (dag, id) = (run.dag_id.clone(), run.dag_run_id.clone());
    let query = [("state", "failed"), ("order_by", "end_date"), ("limit", "1")];
    let query = query.map(|(name, value)| (name, value.to_owned()));
    let path = ["dags", &dag, "dagRuns", &id, "taskInstances"];
    let failed: TaskInstanceCollection = api.get(&path, &query).await?;
    // A task that failed since another had is of no interest here.
    let task = failed.task_instances.into_iter().next();
    let failure = task.as_ref().and_then(|task| task.dagbok.failure.clone());
    let log = match &task {
        Some(task) => log_of(api, task).await?,
        None => Vec::new(),
    };
    let told = match api.get::<AlertCollection>(&["dagbok", "runs", &dag, &id, "told"], &[]).await {
        Ok(found) => found.alerts,
        // No alerting is no reason to say nothing.
        Err(failure) if matches!(failure.code(), Code::NotFound | Code::ApiFailed) => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let next = next(context, &run, task.as_ref(), &told);
    Ok(Found { run, task, failure, log, told, next })
}

/// The last lines up to the one that says why the try failed.
async fn log_of(api: &Api, task: &TaskInstance) -> Result<Vec<String>, Failure> {
    let number = task.try_number.to_string();
    let path = ["dagbok", "ui", "logs", &task.dag_id, &task.dag_run_id, &task.task_id, &number];
    let query = [("map_index", task.map_index.to_string()), ("at", "error".to_owned())];
    let log: UiLog = match api.get(&path, &query).await {
        Err(failure) if failure.code() == Code::NotFound => return Ok(Vec::new()),
        log => log?,
    };
    let end = log.error.and_then(|at| log.lines.iter().position(|line| line.o == at));
    let end = end.map_or(log.lines.len(), |at| at + 1);
    let lines = log.lines[end.saturating_sub(LINES)..end].iter();
    Ok(lines
        .map(|line| {
            let time = line.t.as_deref().map(clock_part).unwrap_or_default();
            format!("{time} {}", one_line(&line.m))
        })
        .collect())
}

/// What to do, as it is typed.
fn next(
    context: &Context,
    run: &RunResponse,
    task: Option<&TaskInstance>,
    told: &[AlertResponse],
) -> Vec<String> {
    let (program, dag, id) = (context.program(), quoted(&run.dag_id), quoted(&run.dag_run_id));
    let mut next = Vec::new();
    if let Some(task) = task {
        let copy = match task.map_index {
            index if index >= 0 => format!(" --map-index {index}"),
            _ => String::new(),
        };
        next.push(format!("{program} tasks logs {dag} {id} {}{copy}", quoted(&task.task_id)));
    }
    if run.state == "failed" {
        next.push(format!("{program} runs retry {dag} {id}"));
    }
    let open = told.iter().find(|alert| alert.state == "firing");
    next.extend(open.map(|alert| format!("{program} alerts ack {}", alert.alert_id)));
    next
}

impl Found {
    fn print(&self, out: Out) {
        let run = &self.run;
        let state = styled(state_style(state_of(run)), state_of(run));
        let took = duration_of(run);
        let after = if took.is_empty() { took } else { format!(" after {took}") };
        out.line(&format!("{} {}: {state}{after}", run.dag_id, run.dag_run_id));
        if let Some(how) = run.dagbok.ended.as_deref().filter(|how| *how != "tasks") {
            let by =
                run.dagbok.ended_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why =
                run.dagbok.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            out.line(&format!("  {}{by}{why}", how.replace('_', " ")));
        }
        if let Some(task) = &self.task {
            let tries = format!("try {} of {}", task.try_number, task.max_tries + 1);
            out.line(&format!("  {} failed in {tries}", task_name(task)));
        }
        if let Some(failure) = &self.failure {
            print_failure(out, failure);
        }
        if !self.log.is_empty() {
            out.line("");
            out.line("  its last lines:");
            self.log.iter().for_each(|line| out.line(&format!("    {line}")));
        }
        if run.state == "failed" {
            out.line("");
            out.line(&format!("  told: {}", told_text(&self.told)));
        }
        for (at, command) in self.next.iter().enumerate() {
            out.line(&format!("  {} {command}", if at == 0 { "next:" } else { "     " }));
        }
    }
}

fn print_failure(out: Out, failure: &TryFailure) {
    let place = match (&failure.file, failure.line) {
        (Some(file), Some(line)) => format!("  {file}:{line}"),
        _ => String::new(),
    };
    let kind = failure.exception.as_deref().unwrap_or(&failure.kind);
    let message = failure.message.as_str();
    let message = message.strip_prefix(&format!("{kind}: ")).unwrap_or(message);
    out.line(&format!(
        "  {}{place}",
        styled(state_style("failed"), &format!("{kind}: {}", one_line(message)))
    ));
    let traced: Vec<&str> = failure.traceback.iter().flat_map(|text| text.lines()).collect();
    // Its last words are those above.
    let frames = traced.iter().rposition(|line| line.starts_with(' ')).map_or(0, |last| last + 1);
    for line in &traced[frames.saturating_sub(TRACED)..frames] {
        out.line(&format!("    {}", one_line(line)));
    }
}

/// Who took word of it, and who has it in hand.
fn told_text(told: &[AlertResponse]) -> String {
    let Some(alert) = told.first() else {
        return "nobody: no alert is about this run".to_owned();
    };
    let taken = alert.notifications.iter().filter(|it| it.state == "accepted");
    let mut names: Vec<&str> = taken.map(|it| it.receiver.as_str()).collect();
    names.dedup();
    let told = match (names.is_empty(), alert.notifications.is_empty()) {
        (false, _) => names.join(", "),
        (true, false) => "nobody yet".to_owned(),
        (true, true) => "nobody: no route leads to anybody".to_owned(),
    };
    let hand = match (alert.state.as_str(), &alert.changed_by) {
        ("acknowledged", Some(by)) => format!("; {by} has it in hand"),
        ("resolved", _) => "; resolved".to_owned(),
        _ => "; nobody has it in hand".to_owned(),
    };
    format!("{told} (alert {}){hand}", alert.alert_id)
}
