//! A try's log line by line, as it happens.
use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery},
        state::ApiState,
    },
    slice::{SLICE_BYTES, Wanted, json_line, slice},
};
use crate::shapes::Detail;

/// How long an executor is asked to wait for the next line.
const LINE_WAIT: Duration = Duration::from_secs(5);
/// How long to wait before an executor that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

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
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks))
        .into_response())
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
        let found =
            slice(&self.state, &self.wanted, &row, self.offset, SLICE_BYTES, LINE_WAIT).await;
        let over = row.end.is_some();
        match found {
            Ok(found) if !found.lines.is_empty() => {
                self.offset = found.next;
                let text = found.lines.iter().map(json_line).collect();
                Some(Step { text, goes_on: !(over && found.complete) })
            }
            Ok(found) if over && found.complete => {
                Some(Step { text: String::new(), goes_on: false })
            }
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
