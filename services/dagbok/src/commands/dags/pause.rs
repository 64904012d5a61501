//! `dagbok dags pause` and `unpause`; with `--json` the API's `DAGResponse`.
use dagbok_api::shapes::{DagPatch, DagResponse, DateTime, UnpausePreview};
use reqwest::Method;

use crate::{
    api::{Api, Sent},
    cli::Unpause,
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
};

pub(crate) async fn pause(context: &Context, dag_id: &str) -> Outcome {
    let api = Api::of(context).await?;
    let dag_id = handles::dag(context, &api, dag_id, For::Changing).await?;
    set_paused(context, &api, &dag_id, true).await
}

pub(crate) async fn unpause(context: &Context, args: &Unpause) -> Outcome {
    let api = Api::of(context).await?;
    let dag_id = handles::dag(context, &api, &args.dag_id, For::Changing).await?;
    let dag_id = dag_id.as_str();
    if context.out.is_json() && !args.dry_run {
        return set_paused(context, &api, dag_id, false).await;
    }
    let preview: UnpausePreview =
        api.get(&["dagbok", "dags", dag_id, "unpausePreview"], &[]).await?;
    if args.dry_run && context.out.is_json() {
        context.out.document(&preview);
        return Ok(Exit::Ok);
    }
    let made = if args.dry_run { "would be made at once" } else { "are due, and made now" };
    context.out.line(&told(&preview, made));
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    set_paused(context, &api, dag_id, false).await
}

/// What is made, in a line.
fn told(preview: &UnpausePreview, made: &str) -> String {
    let dag_id = &preview.dag_id;
    let date = |date: Option<DateTime>| date.map(|at| at.0.to_string());
    let next = date(preview.next_run_after);
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

async fn set_paused(context: &Context, api: &Api, dag_id: &str, is_paused: bool) -> Outcome {
    let sent: Sent<DagResponse> =
        api.send(Method::PATCH, &["dags", dag_id], &DagPatch { is_paused }).await?;
    match sent {
        Sent::Done(dag) if context.out.is_json() => context.out.document(&dag),
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        _ => context
            .out
            .line(&format!("{dag_id} is {}", if is_paused { "paused" } else { "not paused" })),
    }
    Ok(Exit::Ok)
}
