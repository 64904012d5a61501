//! What tries wrote: whole once they are over, from their executor while they run.
//!
//! A try's log is lines of JSON, `{"t": instant, "s": source, "l": level, "m": message, …}`. While it
//! runs its executor has them and is asked in slices; with its end they are a blob.
mod follow;
mod kept;
mod lines;
mod slice;
mod usage;

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
pub(crate) use follow::{__path_follow, follow};
use futures::{Stream, StreamExt as _, future::ready, stream, stream::BoxStream};
pub(crate) use kept::KeptLogs;
use serde::Deserialize;
use serde_json::Value;
pub(crate) use slice::{Reader, Wanted};
use slice::{Slice, Stretch};
pub(crate) use usage::{__path_usage, usage};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, accepts, flag},
    state::ApiState,
};
use crate::{
    model::rows::TryRow,
    shapes::{Detail, TryLogs},
};

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
    #[serde(deserialize_with = "flag")]
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
    let reader = Reader::new(state, wanted);
    let row = reader.row().await?;
    let ndjson = accepts(&headers, "application/x-ndjson");
    let whole = query.full_content.unwrap_or(false) || ndjson;
    if whole && row.kept_log().is_some() {
        // That it is gone is told now, and only now.
        reader.slice(&row, offset, Duration::ZERO).await?;
        return Ok(respond(kept(reader, row, offset), None, ndjson));
    }
    let Stretch { texts, next, complete } = if whole {
        reader.rest(&row, offset).await?
    } else {
        let Slice { text, next, complete } = reader.slice(&row, offset, Duration::ZERO).await?;
        Stretch { texts: vec![text], next, complete }
    };
    // The executor is done with it, and what it wrote is a blob only once its word is in the log.
    let over = complete && row.end.is_some();
    let token = (!over).then(|| next.to_string());
    Ok(respond(stream::iter(texts).map(Ok).boxed(), token, ndjson))
}

type Texts = BoxStream<'static, io::Result<Bytes>>;

/// A log that is kept, slice by slice as it is read.
fn kept(reader: Reader, row: TryRow, offset: u64) -> Texts {
    let reading = Some((reader, row, offset));
    let texts = stream::unfold(reading, |reading| async move {
        let (reader, row, offset) = reading?;
        match reader.slice(&row, offset, Duration::ZERO).await {
            Ok(Slice { text, next, complete }) => {
                let more = (!complete && next > offset).then_some((reader, row, next));
                Some((Ok(text), more))
            }
            Err(error) => {
                tracing::warn!(?error, "a try's log can't be read on");
                Some((Err(io::Error::other("the log can't be read on")), None))
            }
        }
    });
    texts.boxed()
}

fn respond(texts: Texts, token: Option<String>, ndjson: bool) -> Response {
    if !ndjson {
        let body = Body::from_stream(document(texts, token));
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let body = Body::from_stream(texts.map(|text| text.map(|text| lines::ndjson(&text))));
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response();
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        let name = HeaderName::from_static("airflow-continuation-token");
        response.headers_mut().insert(name, token);
    }
    response
}

/// A [`TryLogs`], slice by slice: all its lines at once would take several times what is stored.
fn document(texts: Texts, token: Option<String>) -> impl Stream<Item = io::Result<String>> + Send {
    let mut before = "";
    let lines = texts.map(move |text| {
        let mut part = String::new();
        for line in lines::sent(&text?) {
            part.extend([before, &line]);
            before = ",";
        }
        Ok(part)
    });
    let token = Value::from(token);
    let end = format!("],\"continuation_token\":{token}}}");
    let (start, end) = (r#"{"content":["#.to_owned(), end);
    stream::once(ready(Ok(start))).chain(lines).chain(stream::once(ready(Ok(end))))
}
