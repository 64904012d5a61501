//! What tries wrote: whole once they are over, from their executor while they run.
//!
//! A try's log is lines of JSON, `{"t": instant, "s": source, "l": level, "m": message, …}`. While it
//! runs its executor has them and is asked in slices; with its end they are a blob.
use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use dagbok_events::{ExecutorId, MapIndex, RunKey, TaskId, TryKey, TryNumber, decode_any, encode_any};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names};
use futures::stream;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, map_index, no_try, run_key, task_id, try_number},
    state::ApiState,
    tasks::instance,
};
use crate::{
    model::rows::TryRow,
    shapes::{Detail, LogLine, TryLogs},
};

/// Bytes of a log that are asked for at once.
const SLICE_BYTES: u32 = 256 << 10;
/// How long an executor may take to answer, beyond what it is asked to wait.
const EXECUTOR_PATIENCE: Duration = Duration::from_secs(2);
/// How long an executor is asked to wait for the next line.
const LINE_WAIT: Duration = Duration::from_secs(5);
/// How long to wait before an executor that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A try, as asked for.
#[derive(Clone, Debug)]
struct Wanted {
    run: RunKey,
    task_id: TaskId,
    map: MapIndex,
    number: TryNumber,
}

impl Wanted {
    fn new(dag: &str, run: &str, task: &str, number: u16, map: Option<i32>) -> Result<Self, ApiError> {
        Ok(Self {
            run: run_key(dag, run)?,
            task_id: task_id(task)?,
            map: map_index(map),
            number: try_number(number, task)?,
        })
    }

    fn key(&self) -> TryKey {
        TryKey {
            dag_id: self.run.dag_id.clone(),
            run_id: self.run.run_id.clone(),
            task_id: self.task_id.clone(),
            map_index: self.map,
            try_number: self.number,
        }
    }

    /// The try as the rows have it now.
    async fn row(&self, state: &ApiState) -> Result<TryRow, ApiError> {
        let wanted = self.clone();
        let found = state.read(move |store| {
            let Self { run, task_id, map, number } = &wanted;
            instance(store, run, task_id.as_str(), Some(*map))?;
            let found = store.one_try(run, task_id, *map, *number)?;
            found.ok_or_else(|| no_try(task_id.as_str(), number.get()))
        });
        found.await
    }
}

/// A stretch of a log.
#[derive(Debug)]
struct Slice {
    lines: Vec<LogLine>,
    /// Where to go on.
    next: u64,
    /// Whether nothing will follow.
    complete: bool,
}

/// The stretch after `offset`, at most `max` bytes of it; waits up to `wait` for one while the try
/// runs.
async fn slice(
    state: &ApiState,
    wanted: &Wanted,
    row: &TryRow,
    offset: u64,
    max: u32,
    wait: Duration,
) -> Result<Slice, ApiError> {
    if let Some(log) = &row.log {
        let bytes = state.ports.blobs.get(log.digest.as_str()).await?;
        let bytes = bytes.ok_or_else(|| {
            ApiError::NotFound(format!("the log of this try is gone: the blob {} is missing", log.digest))
        })?;
        return Ok(cut(&bytes, offset, max));
    }
    match &row.executor {
        Some(executor) if row.end.is_none() => from_executor(state, wanted, executor, offset, max, wait).await,
        // Queued: it may come. Over without a log: nothing will.
        _ => Ok(Slice { lines: Vec::new(), next: offset, complete: row.end.is_some() }),
    }
}

/// Whole lines of a blob from `offset` on.
fn cut(bytes: &Bytes, offset: u64, max: u32) -> Slice {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let rest = &bytes[from..];
    let most = usize::try_from(max).unwrap_or(usize::MAX);
    let end = if rest.len() <= most {
        rest.len()
    } else {
        let within = rest[..most].iter().rposition(|&byte| byte == b'\n');
        // A line longer than the slice comes whole all the same.
        let line = within.or_else(|| rest.iter().position(|&byte| byte == b'\n'));
        line.map_or(rest.len(), |at| at + 1)
    };
    let lines = lines_of(&String::from_utf8_lossy(&rest[..end]));
    Slice { lines, next: (from + end) as u64, complete: from + end == bytes.len() }
}

async fn from_executor(
    state: &ApiState,
    wanted: &Wanted,
    executor: &ExecutorId,
    offset: u64,
    max: u32,
    wait: Duration,
) -> Result<Slice, ApiError> {
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let query = TryLogQuery { key: wanted.key(), offset, max, wait_ms };
    let subject = names::log_subject(executor);
    let asked = state.ports.signals.request(&subject, encode_any(&query).into(), wait + EXECUTOR_PATIENCE);
    match asked.await {
        Ok(answer) => {
            let answer: TryLogSlice = decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
            let TryLogSlice { next_offset, lines, complete } = answer;
            Ok(Slice { lines: lines_of(&lines), next: next_offset, complete })
        }
        Err(error) => Err(ApiError::Unavailable(format!(
            "the try runs on executor {executor}, which did not hand over its log: {error}"
        ))),
    }
}

fn lines_of(text: &str) -> Vec<LogLine> {
    text.lines().filter(|line| !line.is_empty()).map(line_of).collect()
}

/// A stored line in Airflow's words; one that is no JSON comes as it is.
fn line_of(line: &str) -> LogLine {
    let Ok(mut more) = serde_json::from_str::<Map<String, Value>>(line) else {
        return LogLine {
            timestamp: None,
            event: line.to_owned(),
            level: None,
            source: None,
            more: Map::new(),
        };
    };
    let mut text = |name: &str| match more.shift_remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let (timestamp, event, level, source) = (text("t"), text("m"), text("l"), text("s"));
    for name in ["timestamp", "event", "level", "source"] {
        more.shift_remove(name);
    }
    LogLine { timestamp, event: event.unwrap_or_default(), level, source, more }
}

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
        ApiError::BadRequest("`token` must be the `continuation_token` of an answer before".to_owned())
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
        return Ok(Json(TryLogs { content: found.lines, continuation_token: token }).into_response());
    }
    let text: String = found.lines.iter().map(json_line).collect();
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response();
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        let name = HeaderName::from_static("airflow-continuation-token");
        response.headers_mut().insert(name, token);
    }
    Ok(response)
}

fn json_line(line: &LogLine) -> String {
    serde_json::to_string(line).expect("lines have text keys") + "\n"
}

/// Whether the request asks for this kind of answer by name.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(kind)))
}

/// From where on the log is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowQuery {
    /// Which copy of the task; −1 where not said.
    map_index: Option<i32>,
    /// A `continuation_token`; from the beginning where not said.
    offset: Option<u64>,
}

/// What a try writes, line by line as it happens, until it is over: lines of JSON. A blank line is a
/// sign of life.
#[utoipa::path(get, path = "/api/v2/dagbok/logs/{dag_id}/{dag_run_id}/{task_id}/{try_number}/follow", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("try_number" = u16, Path), FollowQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    InPath((dag, run, task, number)): InPath<(String, String, String, u16)>,
    InQuery(query): InQuery<FollowQuery>,
) -> Result<Response, ApiError> {
    let wanted = Wanted::new(&dag, &run, &task, number, query.map_index)?;
    wanted.row(&state).await?;
    let follower = Some(Follower { state, wanted, offset: query.offset.unwrap_or(0) });
    let chunks = stream::unfold(follower, |follower| async move {
        let mut follower = follower?;
        let step = follower.step().await;
        Some((Ok::<_, Infallible>(step.text), step.goes_on.then_some(follower)))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks)).into_response())
}

struct Follower {
    state: ApiState,
    wanted: Wanted,
    offset: u64,
}

struct Step {
    text: String,
    goes_on: bool,
}

impl Follower {
    /// The next lines, or a blank one after a while without.
    async fn step(&mut self) -> Step {
        let beat = tokio::time::Instant::now() + self.state.patience.heartbeat;
        loop {
            let shutdown = self.state.shutdown.clone();
            let step = tokio::select! {
                () = shutdown.started() => Some(Step { text: String::new(), goes_on: false }),
                step = self.look() => step,
            };
            match step {
                Some(step) => return step,
                None if tokio::time::Instant::now() >= beat => {
                    return Step { text: "\n".to_owned(), goes_on: true };
                }
                None => {}
            }
        }
    }

    /// Looks once; `None` where there is nothing new.
    async fn look(&mut self) -> Option<Step> {
        let mut standing = self.state.model.progress().subscribe();
        standing.mark_unchanged();
        let Ok(row) = self.wanted.row(&self.state).await else {
            // The rows have gone: they are being rebuilt, or the service stops.
            return Some(Step { text: String::new(), goes_on: false });
        };
        let found = slice(&self.state, &self.wanted, &row, self.offset, SLICE_BYTES, LINE_WAIT).await;
        let over = row.end.is_some();
        match found {
            Ok(found) if !found.lines.is_empty() => {
                self.offset = found.next;
                let text = found.lines.iter().map(json_line).collect();
                Some(Step { text, goes_on: !(over && found.complete) })
            }
            Ok(found) if over && found.complete => Some(Step { text: String::new(), goes_on: false }),
            Ok(_) | Err(ApiError::Unavailable(_)) if !over => {
                // Queued, or its executor has nothing to say: look again when the log moves, or soon.
                let _ = tokio::time::timeout(ASK_AGAIN, standing.changed()).await;
                None
            }
            Ok(_) => None,
            Err(_) => Some(Step { text: String::new(), goes_on: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_with_a_line() {
        let bytes = Bytes::from_static(b"{\"m\":\"one\"}\n{\"m\":\"two\"}\nthree\n");
        let first = cut(&bytes, 0, 14);
        assert_eq!((first.lines.len(), first.next, first.complete), (1, 12, false));
        let rest = cut(&bytes, first.next, 1_000);
        assert_eq!((rest.lines.len(), rest.complete), (2, true));
        assert_eq!(rest.lines[1].event, "three", "a line that is no JSON is shown as it is");
        let long = cut(&bytes, 0, 3);
        assert_eq!((long.lines.len(), long.next), (1, 12), "a line longer than the slice comes whole");
        assert!(cut(&bytes, 1 << 40, 10).complete);
    }
}
