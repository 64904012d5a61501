//! `dagbok dags errors`; with `--json` the API's `ImportErrorCollectionResponse`. Errors are what it
//! lists, so that finding some is no failure.
use dagbok_api::shapes::ImportErrorCollection;

use super::way_there;
use crate::{api::Api, context::Context, exit::Exit, failure::Outcome};

pub(crate) async fn errors(context: &Context) -> Outcome {
    let query = [("limit", "1000".to_owned())];
    let found: ImportErrorCollection =
        Api::of(context).await?.get(&["importErrors"], &query).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&found);
        return Ok(Exit::Ok);
    }
    if found.import_errors.is_empty() {
        out.line("Every DAG file can be read.");
    }
    for error in &found.import_errors {
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
    Ok(Exit::Ok)
}
