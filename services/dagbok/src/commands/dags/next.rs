//! `dagbok dags next-execution`: read from the promises in the log, not computed; with `--json` the API's
//! `ExpectedRunCollection`.
use dagbok_api::shapes::ExpectedRunCollection;

use crate::{
    api::Api,
    cli::NextExecution,
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
};

pub(crate) async fn next_execution(context: &Context, args: &NextExecution) -> Outcome {
    let api = Api::of(context).await?;
    let dag_id = &handles::dag(context, &api, &args.dag_id, For::Reading).await?;
    let limit = args.num_executions.to_string();
    let found: ExpectedRunCollection =
        api.get(&["dagbok", "dags", dag_id, "expectedRuns"], &[("limit", limit)]).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    if found.expected_runs.is_empty() {
        context.out.line(&format!("{dag_id}: its schedule promises no run"));
    } else if found.is_paused {
        context.out.line(&format!("{dag_id} is paused: none of these is made"));
    }
    for run in &found.expected_runs {
        let (date, due) = (context.out.time(run.logical_date.0), context.out.time(run.run_after.0));
        let of = if date == due { String::new() } else { format!(", of {date}") };
        context.out.line(&format!("{due}{of}"));
    }
    Ok(Exit::Ok)
}
