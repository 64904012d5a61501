//! `dagbok runs list`; with `--json` the API's `DAGRunCollectionResponse`.
use dagbok_api::shapes::RunCollection;

use super::{asked_of, duration_of, state_of};
use crate::{
    api::Api,
    cli::RunsList,
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
    output::Table,
};

pub(crate) async fn list(context: &Context, args: &RunsList) -> Outcome {
    let mut query = vec![
        ("limit", args.limit.to_string()),
        ("offset", args.offset.to_string()),
        ("order_by", "-id".to_owned()),
    ];
    query.extend(asked_of(&args.state));
    if let Some(since) = args.since {
        query.push(("run_after_gte", since.to_string()));
    }
    let api = Api::of(context).await?;
    let dag = match &args.dag_id {
        Some(dag_id) => handles::dag(context, &api, dag_id, For::Reading).await?,
        None => "~".to_owned(),
    };
    let found: RunCollection = api.get(&["dags", &dag, "dagRuns"], &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "dag", "run", "state", "type", "started", "took", "tasks", "+ended", "+by", "+version",
        "+note",
    ])
    .named_by(2);
    for run in &found.dag_runs {
        table.row(vec![
            run.dag_id.clone(),
            run.dag_run_id.clone(),
            state_of(run).to_owned(),
            run.run_type.clone(),
            run.start_date.map(|at| context.out.time(at.0)).unwrap_or_default(),
            // Of what runs it is another at each look.
            if context.out.is_added() && run.end_date.is_none() {
                String::new()
            } else {
                duration_of(run)
            },
            run.dagbok.tasks.to_string(),
            run.end_date.map(|at| context.out.time(at.0)).unwrap_or_default(),
            run.triggering_user_name.clone().unwrap_or_default(),
            run.dag_versions.last().map(|it| it.version_number.to_string()).unwrap_or_default(),
            run.note.clone().unwrap_or_default(),
        ]);
    }
    let shown = found.dag_runs.len();
    context.out.page(&table, "No runs.", shown, args.offset, found.total_entries);
    Ok(Exit::Ok)
}
