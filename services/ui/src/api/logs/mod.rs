//! What tries wrote: whole once they are over, from their executor while they run.
//!
//! A try's log is lines of JSON, `{"t": instant, "s": source, "l": level, "m": message, …}`. While it
//! runs its executor has them and is asked in slices; with its end they are a blob.
mod follow;
mod slice;

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
pub(crate) use follow::{__path_follow, follow};
use serde::Deserialize;
use slice::{SLICE_BYTES, Wanted, json_line, slice};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, accepts},
    state::ApiState,
};
use crate::shapes::{Detail, TryLogs};

/// Which stretch of the log is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Which copy of the task; −1 where not said.
    map_index: Option<i32>,
    /// The `continuation_token` of the stretch before.
    token: Option<String>,
    /// All there is, in one answer.
    full_content: Option<bool>,
}

/// What a try wrote. Lines of JSON with `Accept: application/x-ndjson`.
#[utoipa::path(get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("try_number" = u16, Path), LogQuery),
    responses((status = 200, content((TryLogs = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, body = Detail), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath((dag, run, task, number)): InPath<(String, String, String, u16)>,
    InQuery(query): InQuery<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = Wanted::new(&dag, &run, &task, number, query.map_index)?;
    let offset = query.token.as_deref().map_or(Ok(0), str::parse::<u64>).map_err(|_| {
        ApiError::BadRequest(
            "`token` must be the `continuation_token` of an answer before".to_owned(),
        )
    })?;
    let row = wanted.row(&state).await?;
    let ndjson = accepts(&headers, "application/x-ndjson");
    let all = query.full_content.unwrap_or(false) || ndjson;
    let mut found = slice(&state, &wanted, &row, offset, SLICE_BYTES, Duration::ZERO).await?;
    while all && !found.complete {
        let next = slice(&state, &wanted, &row, found.next, SLICE_BYTES, Duration::ZERO).await?;
        if next.next == found.next {
            found.complete = next.complete;
            break;
        }
        found.lines.extend(next.lines);
        (found.next, found.complete) = (next.next, next.complete);
    }
    // The executor is done with it, and what it wrote is a blob only once its word is in the log.
    let over = found.complete && row.end.is_some();
    let token = (!over).then(|| found.next.to_string());
    if !ndjson {
        return Ok(
            Json(TryLogs { content: found.lines, continuation_token: token }).into_response()
        );
    }
    let text: String = found.lines.iter().map(json_line).collect();
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response();
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        let name = HeaderName::from_static("airflow-continuation-token");
        response.headers_mut().insert(name, token);
    }
    Ok(response)
}
