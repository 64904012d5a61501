//! `dagbok dags pause` and `unpause`; with `--json` the API's `DAGResponse`.
use dagbok_api::shapes::{DagPatch, DagResponse};
use reqwest::Method;

use crate::{
    api::{Api, Sent},
    context::Context,
    exit::Exit,
    failure::Outcome,
};

pub(crate) async fn set_paused(context: &Context, dag_id: &str, is_paused: bool) -> Outcome {
    let api = Api::of(context).await?;
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
