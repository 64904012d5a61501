//! `dagbok tasks xcoms`; with `--json` the API's `XComCollectionResponse`, or with `--key` its `XComResponse`.
use dagbok_api::shapes::{XComCollection, XComEntry, XComValue};

use crate::{
    api::Api,
    cli::Xcoms,
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
    output::{Table, copy_name},
};

/// Shows which values a task has handed on, or one of them.
pub(crate) async fn show(context: &Context, args: &Xcoms) -> Outcome {
    let api = Api::of(context).await?;
    let (run, task) =
        handles::run_and_task(context, &api, &args.run, &args.task_id, For::Reading).await?;
    let mut path = vec!["dags", &run.dag_id, "dagRuns", &run.run_id];
    path.extend(["taskInstances", &task, "xcomEntries"]);
    let copy = args.map_index.map(|index| ("map_index", index.to_string()));
    let out = context.out;
    if let Some(key) = &args.key {
        path.push(key);
        let query: Vec<_> = copy.into_iter().collect();
        let found: XComValue = api.get(&path, &query).await?;
        if out.is_json() {
            out.document(&found);
        } else {
            out.line(found.value.get());
        }
        return Ok(Exit::Ok);
    }
    let page = [("limit", args.limit.to_string()), ("offset", args.offset.to_string())];
    let order = ("order_by", "map_index".to_owned());
    let query: Vec<_> = copy.into_iter().chain(page).chain([order]).collect();
    let found: XComCollection = api.get(&path, &query).await?;
    if out.is_json() {
        out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["task", "key", "handed on"]);
    for entry in &found.xcom_entries {
        table.row(vec![name_of(entry), entry.key.clone(), out.time(entry.timestamp.0)]);
    }
    if let Some(until) = &found.kept_until {
        out.note(&format!(
            "what it had handed on was kept until {}, by retention.xcoms, and is forgotten",
            out.time(until.0)
        ));
        if found.xcom_entries.is_empty() {
            return Ok(Exit::Ok);
        }
    }
    let shown = found.xcom_entries.len();
    out.page(&table, "It has handed on nothing.", shown, args.offset, found.total_entries);
    Ok(Exit::Ok)
}

fn name_of(entry: &XComEntry) -> String {
    copy_name(&entry.task_id, entry.map_index)
}
