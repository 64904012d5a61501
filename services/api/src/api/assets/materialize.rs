//! Brings an asset up to date: by a run of the DAG whose task does that.
use std::collections::BTreeSet;

use axum::{Json, extract::State};
use dagbok_events::DagId;
use serde_json::Value;

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath},
        runs::trigger_dag,
        state::ApiState,
    },
    no_asset,
};
use crate::shapes::{Detail, RunResponse, TriggerBody};

/// Makes a run of the one DAG that brings an asset up to date.
#[utoipa::path(post, path = "/api/v2/assets/{asset_id}/materialize", tag = "Asset",
    params(("asset_id" = u32, Path)), request_body = TriggerBody,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn materialize(
    State(state): State<ApiState>,
    InPath(id): InPath<u32>,
    caller: Caller,
    InBody(body): InBody<TriggerBody>,
) -> Result<Json<RunResponse>, ApiError> {
    let found = state.read(move |store| {
        let row = store.asset(id)?.ok_or_else(|| no_asset(id))?;
        let dags: BTreeSet<DagId> = row.producing.into_iter().map(|(dag_id, _)| dag_id).collect();
        Ok((dags, row.asset.name))
    });
    let (dags, name) = found.await?;
    let mut several = dags.iter();
    match (several.next(), several.next()) {
        (Some(dag_id), None) => trigger_dag(&state, dag_id.clone(), caller, body).await.map(Json),
        (None, _) => Err(ApiError::NotFound(format!(
            "no DAG brings the asset {id} ({name}) up to date: none has a task with it among its outlets"
        ))),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = dags.iter().map(DagId::as_str).collect();
            Err(ApiError::Conflict(Value::String(format!(
                "more than one DAG brings the asset {id} ({name}) up to date: {}; trigger one of them instead",
                names.join(", ")
            ))))
        }
    }
}
