//! `dagbok dags errors`; with `--json` the API's `ImportErrorCollectionResponse`. Errors are what it
//! lists, so that finding some is no failure.
use dagbok_api::shapes::{DagCollection, ImportErrorCollection};

use super::{local::not_carried_out, way_there};
use crate::{api::Api, context::Context, exit::Exit, failure::Outcome};

pub(crate) async fn errors(context: &Context) -> Outcome {
    let query = [("limit", "1000".to_owned())];
    let api = Api::of(context).await?;
    let found: ImportErrorCollection = api.get(&["importErrors"], &query).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&found);
        return Ok(Exit::Ok);
    }
    if found.import_errors.is_empty() {
        out.line("Every DAG file can be read.");
    }
    for error in &found.import_errors {
        out.name(&error.filename);
        let place = match error.dagbok.line {
            Some(line) => format!("{}, line {line}", error.filename),
            None => error.filename.clone(),
        };
        out.line(&format!("{place}: {}: {}", error.dagbok.exception, error.dagbok.message));
        if !error.dagbok.keeps.is_empty() {
            out.line(&format!("  as they were before run on: {}", error.dagbok.keeps.join(", ")));
        }
        let (exception, message) = (&error.dagbok.exception, &error.dagbok.message);
        for line in way_there(&error.stack_trace, exception, message).lines() {
            out.line(&format!("  {line}"));
        }
    }
    // Those are no errors of their files: named beside them, with where they stand.
    let dags = api.all(&["dags"], |page: DagCollection| (page.dags, page.total_entries)).await?;
    let told =
        dags.iter().flat_map(|dag| dag.dagbok.not_carried_out.iter().map(move |it| (dag, it)));
    for (at, (dag, it)) in told.enumerate() {
        if at == 0 {
            out.line("");
            out.line("Read, and not carried out:");
        }
        let file = &dag.fileloc;
        let text = not_carried_out(&it.what, it.task_id.as_deref(), it.more, it.line);
        out.line(&format!("  {file}: {}: {text}", dag.dag_id));
    }
    Ok(Exit::Ok)
}
