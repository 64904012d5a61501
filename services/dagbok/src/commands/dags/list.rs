//! `dagbok dags list`; with `--json` the API's `DAGCollectionResponse`.
use dagbok_api::shapes::{DagCollection, DagResponse, ImportErrorCollection};

use crate::{
    api::Api, cli::DagsList, context::Context, exit::Exit, failure::Outcome, output::Table,
};

/// Files that can't be read and are named below the list.
const NAMED: usize = 3;

pub(crate) async fn list(context: &Context, args: &DagsList) -> Outcome {
    let query = [
        ("limit", args.limit.to_string()),
        ("offset", args.offset.to_string()),
        ("exclude_stale", (!args.all).to_string()),
    ];
    let api = Api::of(context).await?;
    let found: DagCollection = api.get(&["dags"], &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let ignored: usize = found.dags.iter().map(|dag| dag.dagbok.not_carried_out.len()).sum();
    let mut table = Table::new(&[
        "dag",
        "schedule",
        "paused",
        "last run",
        "next run",
        "owner",
        "file",
        "not carried out",
        "+tags",
        "+version",
        "+last run id",
    ]);
    for dag in &found.dags {
        let last = dag.dagbok.last_run.as_ref();
        let next = dag.next_dagrun_run_after.map(|at| context.out.time(at.0));
        table.row(vec![
            dag.dag_id.clone(),
            dag.timetable_summary.clone().unwrap_or_default(),
            paused_text(dag),
            last.map(|run| run.state.clone()).unwrap_or_default(),
            next.unwrap_or_default(),
            dag.owners.join(", "),
            dag.fileloc.clone(),
            match dag.dagbok.not_carried_out.len() {
                0 => String::new(),
                n => n.to_string(),
            },
            dag.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(", "),
            dag.dagbok.version.to_string(),
            last.map(|run| run.dag_run_id.clone()).unwrap_or_default(),
        ]);
    }
    let empty = "No DAGs. `dagbok dags errors` lists the files that can't be read.";
    context.out.page(&table, empty, found.dags.len(), args.offset, found.total_entries);
    if ignored > 0 {
        context
            .out
            .note("what a DAG's file asks for and is not carried out: `dagbok dags show DAG_ID`");
    }
    let broken: ImportErrorCollection =
        api.get(&["importErrors"], &[("limit", NAMED.to_string())]).await?;
    for error in &broken.import_errors {
        let line = error.dagbok.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let what = format!("{}: {}", error.dagbok.exception, error.dagbok.message);
        context.out.note(&format!("{}{line} can't be read: {what}", error.filename));
    }
    if broken.total_entries > NAMED {
        let more = broken.total_entries - NAMED;
        context.out.note(&format!("{more} more files can't be read: `dagbok dags errors`"));
    }
    Ok(Exit::Ok)
}

/// Whether it is paused, and that it was because its runs failed.
fn paused_text(dag: &DagResponse) -> String {
    let failed = dag.dagbok.paused.as_ref().map_or(0, |why| why.failed_runs.len());
    match (dag.is_paused, failed) {
        (false, _) => String::new(),
        (true, 0) => "paused".to_owned(),
        (true, runs) => format!("paused: {runs} failed runs"),
    }
}
