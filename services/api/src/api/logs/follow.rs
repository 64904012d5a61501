//! A try's log line by line, as it happens.
use std::{io, time::Duration};

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
    lines::ndjson,
    slice::{Reader, Wanted},
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
    let reader = Reader::new(state, wanted);
    let (row, offset) = (reader.row().await?, query.offset.unwrap_or(0));
    if row.log.is_some() {
        // That it is gone can be told now, and only now.
        reader.slice(&row, offset, Duration::ZERO).await?;
    }
    let follower = Some(Follower { reader, offset });
    let chunks = stream::unfold(follower, |follower| async move {
        let mut follower = follower?;
        match follower.step().await {
            Following::Text(text) => Some((Ok(text), Some(follower))),
            Following::End => None,
            Following::Broken => Some((Err(io::Error::other("the log can't be read on")), None)),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks))
        .into_response())
}

struct Follower {
    reader: Reader,
    offset: u64,
}

enum Following {
    Text(String),
    End,
    /// The body ends without its end: a reader must not take a part for the whole.
    Broken,
}

impl Follower {
    /// The next lines, or a blank one after a while without.
    async fn step(&mut self) -> Following {
        let shutdown = self.reader.state.shutdown.clone();
        let beat = tokio::time::Instant::now() + self.reader.state.patience.heartbeat;
        loop {
            let step = tokio::select! {
                () = shutdown.started() => Some(Following::End),
                step = self.look() => step,
            };
            match step {
                Some(step) => return step,
                None if tokio::time::Instant::now() >= beat => {
                    return Following::Text("\n".to_owned());
                }
                None => {}
            }
        }
    }

    /// Looks once; `None` where there is nothing new, a while later.
    async fn look(&mut self) -> Option<Following> {
        let mut standing = self.reader.state.model.progress().subscribe();
        standing.mark_unchanged();
        let (row, found) = match self.reader.row().await {
            Ok(row) => {
                let found = self.reader.slice(&row, self.offset, LINE_WAIT).await;
                (row, found)
            }
            // The rows have gone: they are being rebuilt, or can't be kept up.
            Err(error) => return Some(broken(&error)),
        };
        match found {
            Ok(found) if found.next > self.offset => {
                self.offset = found.next;
                Some(Following::Text(ndjson(&found.text)))
            }
            Ok(found) if found.complete && row.end.is_some() => Some(Following::End),
            Ok(_) | Err(ApiError::Unavailable(_)) => {
                // Queued, its executor has nothing to say, or its log can't be had now: look again when
                // the log moves, or soon.
                let _ = tokio::time::timeout(ASK_AGAIN, standing.changed()).await;
                None
            }
            Err(error) => Some(broken(&error)),
        }
    }
}

fn broken(error: &ApiError) -> Following {
    tracing::warn!(?error, "a try's log can't be followed on");
    Following::Broken
}
