//! `dagbok tasks logs`; with `--json` one line of the log a line: `timestamp`, `event`, `level`,
//! `source`, and what the logger added.
use dagbok_ui::shapes::{LogLine, TaskInstance, TryInstance};

use crate::{
    api::Api,
    cli::Logs,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    live::log_line_text,
};

pub(crate) async fn logs(context: &Context, args: &Logs) -> Outcome {
    let api = Api::of(context).await?;
    let (dag, run, task) =
        (args.run.dag_id.as_str(), args.run.run_id.as_str(), args.task_id.as_str());
    let number = match args.try_number {
        Some(number) => number,
        None => last_try(&api, args).await?,
    };
    let number = number.to_string();
    let mut query = vec![("map_index", args.map_index.to_string())];
    // What is only read from the disk does not grow.
    let mut lines = if args.follow && !api.is_read_only() {
        api.lines(&["dagbok", "logs", dag, run, task, &number, "follow"], &query).await?
    } else {
        query.push(("full_content", "true".to_owned()));
        let path = ["dags", dag, "dagRuns", run, "taskInstances", task, "logs", &number];
        api.lines(&path, &query).await?
    };
    let mut any = false;
    while let Some(line) = lines.next::<LogLine>().await? {
        any = true;
        if context.out.is_json() {
            context.out.json_line(&line);
        } else {
            context.out.line(&log_line_text(&line));
        }
    }
    if !any {
        let shown = one_try(&api, args, &number).await?;
        context.out.note(&why_empty(&shown));
    }
    Ok(Exit::Ok)
}

/// Why there is no line of a try's log, for people.
fn why_empty(shown: &TryInstance) -> String {
    let name = format!("try {} of `{}`", shown.try_number, shown.task_id);
    let executor = shown.hostname.as_deref().filter(|name| !name.is_empty());
    let place = executor.map(|name| format!(" on {name}")).unwrap_or_default();
    let how = shown.dagbok.message.as_deref().unwrap_or("its executor is gone");
    match shown.dagbok.ended.as_deref() {
        None => match shown.state.as_deref() {
            Some("running") => format!("{name} has written nothing yet"),
            state => format!("{name} has not begun: it is {}", state.unwrap_or("not queued")),
        },
        Some("lost") => format!(
            "no log was kept of {name}: it was lost{place} ({how}) before its executor could hand it in; one that is started again there hands in what lies on its disk"
        ),
        Some("cancelled" | "returned") if shown.start_date.is_none() => {
            format!("{name} was ended before it began: it wrote nothing")
        }
        Some("cancelled") => format!(
            "no log was kept of {name}: it was ended with its run, and its executor{place} has not handed in what it wrote"
        ),
        Some(_) => format!("{name} wrote nothing"),
    }
}

async fn one_try(api: &Api, args: &Logs, number: &str) -> Result<TryInstance, Failure> {
    let index = args.map_index.to_string();
    let mut path =
        vec!["dags", &args.run.dag_id, "dagRuns", &args.run.run_id, "taskInstances", &args.task_id];
    if args.map_index >= 0 {
        path.push(&index);
    }
    path.extend(["tries", number]);
    api.get(&path, &[]).await
}

async fn last_try(api: &Api, args: &Logs) -> Result<u16, Failure> {
    let mut path =
        vec!["dags", &args.run.dag_id, "dagRuns", &args.run.run_id, "taskInstances", &args.task_id];
    let index = args.map_index.to_string();
    if args.map_index >= 0 {
        path.push(&index);
    }
    let task: TaskInstance = api.get(&path, &[]).await?;
    if task.try_number == 0 {
        let state = task.state.unwrap_or_else(|| "not queued".to_owned());
        let what = format!("the task `{}` has not been tried: it is {state}", args.task_id);
        return Err(Failure::new(Code::NotFound, what));
    }
    Ok(task.try_number)
}
