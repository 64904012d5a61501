//! What tries wrote: whole once they are over, from their executor while they run.
//!
//! A try's log is lines of JSON, `{"t": instant, "s": source, "l": level, "m": message, …}`. While it
//! runs its executor has them and is asked in slices; with its end they are a blob.
mod follow;
mod lines;
mod slice;

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
pub(crate) use follow::{__path_follow, follow};
use futures::{Stream, StreamExt as _, future::ready, stream};
use serde::Deserialize;
use serde_json::Value;
use slice::{Reader, Slice, Stretch, Wanted};
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
    let mut reader = Reader::new(state, wanted);
    let row = reader.row().await?;
    let ndjson = accepts(&headers, "application/x-ndjson");
    let Stretch { texts, next, complete } = if query.full_content.unwrap_or(false) || ndjson {
        reader.rest(&row, offset).await?
    } else {
        let Slice { text, next, complete } = reader.slice(&row, offset, Duration::ZERO).await?;
        Stretch { texts: vec![text], next, complete }
    };
    // The executor is done with it, and what it wrote is a blob only once its word is in the log.
    let over = complete && row.end.is_some();
    let token = (!over).then(|| next.to_string());
    if !ndjson {
        let body = Body::from_stream(document(texts, token).map(Ok::<_, Infallible>));
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    }
    let body = stream::iter(texts).map(|text| Ok::<_, Infallible>(lines::ndjson(&text)));
    let body = Body::from_stream(body);
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response();
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        let name = HeaderName::from_static("airflow-continuation-token");
        response.headers_mut().insert(name, token);
    }
    Ok(response)
}

/// A [`TryLogs`], slice by slice: all its lines at once would take several times what is stored.
fn document(texts: Vec<Bytes>, token: Option<String>) -> impl Stream<Item = String> + Send {
    let mut before = "";
    let lines = stream::iter(texts).map(move |text| {
        let mut part = String::new();
        for line in lines::sent(&text) {
            part.extend([before, &line]);
            before = ",";
        }
        part
    });
    let token = Value::from(token);
    let end = format!("],\"continuation_token\":{token}}}");
    let (start, end) = (r#"{"content":["#.to_owned(), end);
    stream::once(ready(start)).chain(lines).chain(stream::once(ready(end)))
}
