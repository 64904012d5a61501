//! `dagbok runs callbacks`: the calls of a DAG's callbacks for one run; with `--json` the API's document.
use dagbok_api::shapes::{DagCallback, DagCallbackCollection};

use crate::{
    api::Api,
    cli::Callbacks,
    commands::tasks::tell,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Out, Table, copy_name},
};

/// What stands in place of a task's id where a callback's log is asked for.
const TASK: &str = "__dag_callback__";

pub(crate) async fn callbacks(context: &Context, args: &Callbacks) -> Outcome {
    let api = Api::of(context).await?;
    let (dag, run) = (args.run.dag_id.as_str(), args.run.run_id.as_str());
    let found: DagCallbackCollection = api.get(&["dagbok", "callbacks", dag, run], &[]).await?;
    let out = context.out;
    let none = "No callback of the DAG was called for: it has none, or the run is not over.";
    let Some(wanted) = args.log else {
        if out.is_json() {
            out.document(&found);
        } else {
            out.table(&table(out, &found.callbacks), none);
        }
        return Ok(Exit::Ok);
    };
    let last = found.callbacks.last().map_or(1, |call| call.number);
    let number = if wanted == 0 { last } else { wanted };
    if found.callbacks.is_empty() {
        out.note(none);
        return Ok(Exit::Ok);
    }
    let nth = number.to_string();
    let path = ["dags", dag, "dagRuns", run, "taskInstances", TASK, "logs", &nth];
    let query = [("full_content", "true".to_owned())];
    if !tell(context, api.lines(&path, &query).await?).await? {
        out.note(&format!("The call for end {number} of the run wrote nothing."));
    }
    Ok(Exit::Ok)
}

fn table(out: Out, calls: &[DagCallback]) -> Table {
    let mut table = Table::new(&["end", "callback", "reason", "state", "task", "ended", "why"]);
    for call in calls {
        let state = if call.state == "up_for_retry" { "lost" } else { call.state.as_str() };
        table.row(vec![
            call.number.to_string(),
            call.callback.clone(),
            call.reason.clone(),
            state.to_owned(),
            copy_name(&call.task_id, call.map_index),
            call.end_date.map(|at| out.time(at.0)).unwrap_or_default(),
            call.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default(),
        ]);
    }
    table
}
