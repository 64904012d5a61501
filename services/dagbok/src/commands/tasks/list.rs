//! `dagbok tasks list`; with `--json` the API's `TaskCollectionResponse`, or of a run its
//! `TaskInstanceCollectionResponse`.
use dagbok_api::shapes::{RunResponse, TaskCollection, TaskInstanceCollection};

use crate::{
    api::Api,
    cli::{ListTasks, Run},
    commands::{
        hints::Hints,
        runs::{asked_of, task_table},
    },
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
    output::Table,
};

/// At most so many are asked for.
const MOST: usize = 1_000;

pub(crate) async fn list(context: &Context, args: &ListTasks) -> Outcome {
    let api = Api::of(context).await?;
    match &args.run_id {
        None => of_dag(context, &api, &args.dag_id).await,
        Some(run_id) => {
            let typed = Run { dag_id: args.dag_id.clone(), run_id: run_id.clone() };
            of_run(context, &api, &typed, &args.state).await
        }
    }
}

async fn of_dag(context: &Context, api: &Api, typed: &str) -> Outcome {
    let dag_id = handles::dag(context, api, typed, For::Reading).await?;
    let found: TaskCollection = api.get(&["dags", &dag_id, "tasks"], &[]).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["task", "operator", "trigger rule", "retries", "downstream"]);
    for task in found.tasks {
        table.row(vec![
            task.task_id.unwrap_or_default(),
            task.operator_name.unwrap_or_default(),
            task.trigger_rule.unwrap_or_default(),
            task.retries.map(|retries| retries.to_string()).unwrap_or_default(),
            task.downstream_task_ids.unwrap_or_default().join(", "),
        ]);
    }
    context.out.table(&table, "No tasks.");
    Ok(Exit::Ok)
}

async fn of_run(context: &Context, api: &Api, typed: &Run, states: &[String]) -> Outcome {
    let Run { dag_id, run_id } = &handles::run(context, api, typed, For::Reading).await?;
    let run: RunResponse = api.get(&["dags", dag_id, "dagRuns", run_id], &[]).await?;
    let mut query = vec![("limit", MOST.to_string())];
    query.extend(asked_of(states));
    let path = ["dags", dag_id, "dagRuns", run_id, "taskInstances"];
    let found: TaskInstanceCollection = api.get(&path, &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let hints = Hints::of_run(context, api, &run).await;
    hints.why.iter().for_each(|why| context.out.line(why));
    let table = task_table(context.out, &found.task_instances, &run, &hints);
    context.out.table(&table, "No tasks.");
    let more = found.total_entries.saturating_sub(found.task_instances.len());
    if more > 0 {
        context.out.line(&format!("… and {more} more"));
    }
    hints.print_next(context.out);
    Ok(Exit::Ok)
}
