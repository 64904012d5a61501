//! `dagbok dags trigger`; with `--json` the API's `DAGRunResponse`, with `--wait` what `runs wait` says.
use dagbok_api::shapes::{DagResponse, RunResponse, TriggerBody};
use reqwest::Method;

use super::conf_object;
use crate::{
    api::{Api, Sent},
    cli::{Run, Trigger},
    codes::Code,
    commands::runs::until_over,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{program, quoted},
};

pub(crate) async fn trigger(context: &Context, args: &Trigger) -> Outcome {
    let body = TriggerBody {
        dag_run_id: args.run_id.clone(),
        logical_date: args.logical_date.map(|at| at.to_string()),
        conf: args.conf.as_deref().map(conf_object).transpose()?,
        note: args.note.clone(),
        partition_key: args.partition_key.clone(),
        ..TriggerBody::default()
    };
    let api = Api::of(context).await?;
    let dag_ids = handles::dags(context, &api, &args.dag_ids, For::Changing).await?;
    let many = dag_ids.len() > 1;
    let mut made = Vec::new();
    for dag_id in &dag_ids {
        match one(context, &api, args, (dag_id, many), &body).await {
            Ok(run) => made.push(run),
            Err(failure) => {
                for run in &made {
                    let (dag, run) = (&run.dag_id, &run.run_id);
                    context
                        .out
                        .note(&format!("{dag} {run} was made before `{dag_id}` was refused"));
                }
                return Err(failure);
            }
        }
    }
    let mut exit = Exit::Ok;
    for run in made.iter().filter(|_| args.wait) {
        let ended = until_over(context, &api, run, None, (true, many)).await?;
        // How the first ended that did not end well.
        exit = if exit == Exit::Ok { ended } else { exit };
    }
    Ok(exit)
}

/// Makes a run of one DAG.
async fn one(
    context: &Context,
    api: &Api,
    args: &Trigger,
    (dag_id, many): (&str, bool),
    body: &TriggerBody,
) -> Result<Run, Failure> {
    let sent: Sent<RunResponse> =
        api.send(Method::POST, &["dags", dag_id, "dagRuns"], body).await?;
    let out = context.out;
    let (run_id, state) = match &sent {
        Sent::Done(run) => (run.dag_run_id.as_str(), run.state.as_str()),
        Sent::Accepted(accepted) => {
            (accepted["dag_run_id"].as_str().unwrap_or_default(), "accepted")
        }
    };
    if run_id.is_empty() {
        return Err(Failure::new(Code::ApiFailed, "the API did not say which run was made"));
    }
    if args.wait && out.is_json() {
        out.note(&format!("{dag_id} {run_id} is waited for"));
    }
    match &sent {
        // Of a run that is waited for, how it ended is the one document.
        _ if out.is_json() && args.wait => {}
        Sent::Done(run) if out.is_json() => out.one_of(many, run),
        Sent::Accepted(accepted) if out.is_json() => out.one_of(many, accepted),
        _ => {
            out.line(&format!("{dag_id} {run_id} is {state}"));
            if state == "queued" && is_paused(api, dag_id).await {
                out.note(&format!(
                    "the DAG is paused, and its runs wait: `dagbok dags unpause {dag_id}`"
                ));
            }
            if !args.wait {
                let (dag, run) = (quoted(dag_id), quoted(run_id));
                out.line(&format!("  next: {} runs wait {dag} {run}", program()));
            }
        }
    }
    out.name(&format!("{dag_id} {run_id}"));
    Ok(Run { dag_id: dag_id.to_owned(), run_id: run_id.to_owned() })
}

/// Whether a run waits because its DAG is paused; where that can't be had, nothing is said.
async fn is_paused(api: &Api, dag_id: &str) -> bool {
    api.get::<DagResponse>(&["dags", dag_id], &[]).await.is_ok_and(|dag| dag.is_paused)
}
