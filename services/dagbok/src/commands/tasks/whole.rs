//! `dagbok runs logs`: what all tasks of a run wrote, task by task, in the order in which they began.
use dagbok_api::shapes::{LogLine, TaskInstance, TaskInstanceCollection};
use serde_json::json;

use super::together;
use crate::{
    api::Api,
    cli::{Run, RunLogs},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    live::log_line_text,
    output::{copy_name, state_style, styled},
};

pub(crate) async fn of_run(context: &Context, args: &RunLogs) -> Outcome {
    let api = Api::of(context).await?;
    let Run { dag_id, run_id } = &handles::run(context, &api, &args.run, For::Reading).await?;
    // What is only read from the disk does not grow.
    if args.follow && !api.is_read_only() {
        let run = Run { dag_id: dag_id.clone(), run_id: run_id.clone() };
        return together::run(context, api, &run, args.failed).await;
    }
    let path = ["dags", dag_id, "dagRuns", run_id, "taskInstances"];
    let wanted: Vec<_> = args.failed.then(|| ("state", "failed".to_owned())).into_iter().collect();
    let page = |page: TaskInstanceCollection| (page.task_instances, page.total_entries);
    let mut tasks = api.all_of(&path, &wanted, page).await?;
    tasks.retain(|task: &TaskInstance| task.try_number > 0);
    tasks.sort_by_key(|task| task.start_date.map(|at| at.0));
    if tasks.is_empty() {
        let what = if args.failed { "no task of it failed" } else { "no task of it has begun" };
        context.out.note(what);
    }
    for task in &tasks {
        one(context, &api, task).await?;
    }
    Ok(Exit::Ok)
}

async fn one(context: &Context, api: &Api, task: &TaskInstance) -> Result<(), Failure> {
    let out = context.out;
    let number = task.try_number.to_string();
    let name = copy_name(&task.task_id, task.map_index);
    if !out.is_json() {
        let state = task.state.as_deref().unwrap_or("none");
        let state = styled(state_style(state), state);
        out.line(&format!("── {name}, try {number}: {state}"));
    }
    let (dag, run) = (task.dag_id.as_str(), task.dag_run_id.as_str());
    let path = ["dags", dag, "dagRuns", run, "taskInstances", &task.task_id, "logs", &number];
    let query = [("map_index", task.map_index.to_string()), ("full_content", "true".to_owned())];
    let mut lines = match api.lines(&path, &query).await {
        // Nothing is kept of it: the others have theirs.
        Err(failure) if failure.code() == Code::NotFound => {
            out.note(&format!("{name}: {failure}"));
            return Ok(());
        }
        lines => lines?,
    };
    while let Some(line) = lines.next::<LogLine>().await? {
        if out.is_json() {
            let mut line = json!(line);
            line["task_id"] = json!(task.task_id);
            line["map_index"] = json!(task.map_index);
            line["try_number"] = json!(task.try_number);
            out.json_line(&line);
        } else {
            out.line(&log_line_text(&line));
        }
    }
    Ok(())
}
