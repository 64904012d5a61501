//! How what kept a run or a task changed over its wait: by the log, as it went on.
use axum::{Json, extract::State};
use dagbok_events::{RunKey, Timestamp};
use dagbok_protocol::WhyAsk;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, map_index, run_key, task_id},
        state::ApiState,
    },
    ask_of, past, text,
};
use crate::shapes::{Detail, WhyChange, WhyChanges};

/// Which copy.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichCopy {
    /// Of a mapped task, from 0 on; -1 of one that is not.
    map_index: Option<i32>,
}

/// Says how what keeps a run changed, from its making to its end or to now.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/whyChanges", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), responses(
    (status = 200, body = WhyChanges), (status = 404, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn run_changes(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<WhyChanges>, ApiError> {
    let RunKey { dag_id, run_id } = run_key(&dag, &run)?;
    told(&state, ask_of(dag_id, Some(run_id), None)).await
}

/// Says the same of a task.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/tasks/{task_id}/whyChanges", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), WhichCopy),
    responses(
    (status = 200, body = WhyChanges), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn task_changes(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(query): InQuery<WhichCopy>,
) -> Result<Json<WhyChanges>, ApiError> {
    let RunKey { dag_id, run_id } = run_key(&dag, &run)?;
    let map_index = map_index(query.map_index);
    let ask = WhyAsk { map_index, ..ask_of(dag_id, Some(run_id), Some(task_id(&task)?)) };
    told(&state, ask).await
}

async fn told(state: &ApiState, ask: WhyAsk) -> Result<Json<WhyChanges>, ApiError> {
    let between = span_of(state, &ask).await?;
    let (found, complete) = past::changes(state, between, &ask).await?;
    let change = |why: &dagbok_protocol::Why| {
        let told = text::told(&ask, why, "log");
        WhyChange { at: told.at, seq: why.seq, message: told.message, is: told.is }
    };
    let changes = found.iter().map(change).collect();
    let dag_run_id = ask.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let (dag_id, task_id) = (ask.dag_id.to_string(), ask.task_id.map(|id| id.to_string()));
    Ok(Json(WhyChanges { dag_id, dag_run_id, task_id, changes, complete }))
}

/// From when to when a run is, or was, under way.
async fn span_of(state: &ApiState, ask: &WhyAsk) -> Result<(Timestamp, Timestamp), ApiError> {
    let (dag_id, run_id) = (ask.dag_id.clone(), ask.run_id.clone());
    let now = state.clock.now();
    let found = state.read(move |store| {
        let none =
            || ApiError::no_run(dag_id.as_str(), run_id.as_ref().map_or("", |id| id.as_str()));
        let run_id = run_id.clone().ok_or_else(none)?;
        let row = store.run(&RunKey { dag_id: dag_id.clone(), run_id })?.ok_or_else(none)?;
        Ok((row.queued_at, row.end_date.unwrap_or(now)))
    });
    found.await
}
