//! `dagbok dags delete`: a DAG that no file has any more goes, with all its runs.
use dagbok_api::shapes::{DagDetails, DagVersionCollection};
use serde_json::json;

use crate::{
    api::Api,
    cli::DeleteDags,
    codes::Code,
    commands::agree::agreed,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
};

/// What goes with one DAG.
struct Going {
    dag_id: String,
    runs: u64,
    versions: usize,
}

/// Shows what would go, asks, and lets it.
pub(crate) async fn delete(context: &Context, args: &DeleteDags) -> Outcome {
    let api = Api::of(context).await?;
    let out = context.out;
    let dag_ids = handles::dags(context, &api, &args.dag_ids, For::Deleting).await?;
    let mut all = Vec::new();
    // Each can go before the first does.
    for dag_id in dag_ids {
        all.push(going(&api, dag_id).await?);
    }
    if !out.is_json() {
        for Going { dag_id, runs, versions } in &all {
            out.line(&format!("{dag_id}: {runs} runs and {versions} versions go"));
        }
    }
    let many = all.len() > 1;
    let document = |it: &Going, dry_run: bool| json!({ "dag_id": it.dag_id, "dry_run": dry_run, "runs": it.runs, "versions": it.versions });
    if args.asked.only.dry_run {
        if out.is_json() {
            for it in &all {
                out.one_of(many, &document(it, true));
            }
        }
        return Ok(Exit::Ok);
    }
    if !args.asked.yes && !agreed("whether these shall go", "Delete for good?")? {
        return Ok(Exit::Refused);
    }
    for it in &all {
        // Of very many runs some go with each request.
        let mut left = u64::MAX;
        while let Some(detail) = api.delete_some(&["dags", &it.dag_id]).await? {
            let now = detail.get("runs_left").and_then(serde_json::Value::as_u64);
            let Some(now) = now.filter(|now| *now < left) else {
                let why = format!(
                    "runs of the DAG {} are left, and no more of them go: {detail}",
                    it.dag_id
                );
                return Err(Failure::new(Code::SchedulerSilent, why)
                    .next("give the command again; it goes on where it was"));
            };
            out.note(&format!("{}: {now} runs are left", it.dag_id));
            left = now;
        }
        if out.is_json() {
            out.one_of(many, &document(it, false));
        } else {
            out.line(&format!("{} is deleted", it.dag_id));
            out.name(&it.dag_id);
        }
    }
    Ok(Exit::Ok)
}

/// What goes; or why it can't, said before anything does.
async fn going(api: &Api, dag_id: String) -> Result<Going, Failure> {
    let dag: DagDetails = api.get(&["dags", &dag_id, "details"], &[]).await?;
    if !dag.dag.is_stale {
        let why = format!("the DAG {dag_id} is in {}", dag.dag.fileloc);
        return Err(Failure::new(Code::Refused, why).next(format!(
            "take it out of that file first; to have no runs made, `dagbok dags pause {dag_id}`"
        )));
    }
    let versions: DagVersionCollection =
        api.get(&["dags", &dag_id, "dagVersions"], &[("limit", "1".to_owned())]).await?;
    // Counted already: to add up what they take, each run with its tasks would have to be read.
    let runs = dag.dag.dagbok.runs.values().sum();
    Ok(Going { dag_id, runs, versions: versions.total_entries })
}
