//! `dagbok dags pause` and `unpause`; with `--json` the API's `DAGResponse`.
use dagbok_api::shapes::{DagPatch, DagResponse, DateTime, UnpausePreview};
use reqwest::Method;

use crate::{
    api::{Api, Sent},
    cli::{Pause, Unpause},
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
    output::Out,
};

pub(crate) async fn pause(context: &Context, args: &Pause) -> Outcome {
    let api = Api::of(context).await?;
    let dag_ids = handles::dags(context, &api, &args.dag_ids, For::Changing).await?;
    for dag_id in &dag_ids {
        set_paused(context, &api, dag_id, true, dag_ids.len() > 1).await?;
    }
    Ok(Exit::Ok)
}

pub(crate) async fn unpause(context: &Context, args: &Unpause) -> Outcome {
    let api = Api::of(context).await?;
    let dag_ids = handles::dags(context, &api, &args.dag_ids, For::Changing).await?;
    for dag_id in &dag_ids {
        unpause_one(context, &api, dag_id, (args.only.dry_run, dag_ids.len() > 1)).await?;
    }
    Ok(Exit::Ok)
}

async fn unpause_one(
    context: &Context,
    api: &Api,
    dag_id: &str,
    (dry_run, many): (bool, bool),
) -> Outcome {
    let out = context.out;
    if out.is_json() && !dry_run {
        return set_paused(context, api, dag_id, false, many).await;
    }
    let preview: UnpausePreview =
        api.get(&["dagbok", "dags", dag_id, "unpausePreview"], &[]).await?;
    if dry_run && out.is_json() {
        out.one_of(many, &preview);
        return Ok(Exit::Ok);
    }
    let made = if dry_run { "would be made at once" } else { "are due, and made now" };
    out.line(&told(out, &preview, made));
    if dry_run {
        return Ok(Exit::Ok);
    }
    set_paused(context, api, dag_id, false, many).await
}

/// What is made, in a line.
fn told(out: Out, preview: &UnpausePreview, made: &str) -> String {
    let dag_id = &preview.dag_id;
    // What a run stands for names it, and is said in full.
    let date = |date: Option<DateTime>| date.map(|at| at.0.to_string());
    let next = preview.next_run_after.map(|at| out.time(at.0));
    match (preview.runs, date(preview.first_logical_date), date(preview.last_logical_date)) {
        (0, ..) => match next {
            Some(next) => format!("{dag_id}: no run is due; the next one is at {next}"),
            None => format!("{dag_id}: no run is due"),
        },
        (1, Some(first), _) => format!("{dag_id}: one run, of {first}: these {made}"),
        (count, Some(first), Some(last)) => {
            format!("{dag_id}: {count} runs, from {first} to {last}: these {made}")
        }
        (count, Some(first), None) => {
            format!("{dag_id}: {count} runs and more, from {first} on: these {made}")
        }
        (count, None, _) => format!("{dag_id}: {count} runs: these {made}"),
    }
}

async fn set_paused(
    context: &Context,
    api: &Api,
    dag_id: &str,
    is_paused: bool,
    many: bool,
) -> Outcome {
    let sent: Sent<DagResponse> =
        api.send(Method::PATCH, &["dags", dag_id], &DagPatch { is_paused }).await?;
    match sent {
        Sent::Done(dag) if context.out.is_json() => context.out.one_of(many, &dag),
        Sent::Accepted(it) if context.out.is_json() => context.out.one_of(many, &it),
        _ => context
            .out
            .line(&format!("{dag_id} is {}", if is_paused { "paused" } else { "not paused" })),
    }
    context.out.name(dag_id);
    Ok(Exit::Ok)
}
