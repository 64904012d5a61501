//! `dagbok tasks logs`; with `--json` one line of the log a line: `timestamp`, `event`, `level`,
//! `source`, and what the logger added.
use dagbok_ui::shapes::{LogLine, TaskInstance};

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
    let mut lines = if args.follow {
        api.lines(&["dagbok", "logs", dag, run, task, &number, "follow"], &query).await?
    } else {
        query.push(("full_content", "true".to_owned()));
        let path = ["dags", dag, "dagRuns", run, "taskInstances", task, "logs", &number];
        api.lines(&path, &query).await?
    };
    while let Some(line) = lines.next::<LogLine>().await? {
        if context.out.is_json() {
            context.out.json_line(&line);
        } else {
            context.out.line(&log_line_text(&line));
        }
    }
    Ok(Exit::Ok)
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
