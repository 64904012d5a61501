//! Waiting for runs to be over.
use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use dagbok_events::RunKey;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, run_key},
        state::ApiState,
    },
    one,
};
use crate::{
    model::rows::RunState,
    shapes::{Detail, RunResponse, RunWait},
};

/// Waits until the run is over, the time is up, or the service stops.
async fn wait_until_over(
    state: &ApiState,
    key: &RunKey,
    within: Duration,
) -> Result<RunResponse, ApiError> {
    let deadline = tokio::time::Instant::now() + within;
    let mut standing = state.model.progress().subscribe();
    loop {
        standing.mark_unchanged();
        let run = one(state, key.clone()).await?;
        if is_over(&run) || state.shutdown.is_started() {
            return Ok(run);
        }
        tokio::select! {
            () = state.shutdown.started() => {}
            () = tokio::time::sleep_until(deadline) => return one(state, key.clone()).await,
            changed = standing.changed() => changed.map_err(|error| ApiError::bug(&error))?,
        }
    }
}

fn is_over(run: &RunResponse) -> bool {
    RunState::ALL.iter().any(|state| state.is_over() && state.word() == run.state)
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Seconds, up to 60; 30 where not said.
    timeout: Option<f64>,
}

/// Waits for a run to be over, and answers with the run.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/wait", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), WaitQuery),
    responses((status = 200, body = RunWait), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn wait(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<WaitQuery>,
) -> Result<Json<RunWait>, ApiError> {
    let within = seconds_of("timeout", query.timeout.unwrap_or(30.0))?.min(Duration::from_mins(1));
    let dag_run = wait_until_over(&state, &run_key(&dag, &run)?, within).await?;
    Ok(Json(RunWait { finished: is_over(&dag_run), dag_run }))
}

fn seconds_of(field: &str, seconds: f64) -> Result<Duration, ApiError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        ApiError::invalid(
            "value_error",
            &["query", field],
            "must be a number of seconds, 0 or more",
        )
    })
}

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest: who waits wants a sign of life.
const LONGEST: Duration = Duration::from_mins(1);

/// How often to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntervalQuery {
    /// Seconds between two looks, from 0.05 to 60: less or more is taken for that.
    interval: f64,
}

/// Waits for a run to be over, with a line of JSON for each look at its state.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), IntervalQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn wait_lines(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<IntervalQuery>,
) -> Result<Response, ApiError> {
    let key = run_key(&dag, &run)?;
    let interval = seconds_of("interval", query.interval)?.clamp(SHORTEST, LONGEST);
    let first = one(&state, key.clone()).await?;
    let lines = stream::unfold(Some(first), move |shown| {
        let (state, key) = (state.clone(), key.clone());
        async move {
            let run = shown?;
            let line = format!("{}\n", json!({ "state": run.state }));
            if is_over(&run) || state.shutdown.is_started() {
                return Some((Ok::<_, Infallible>(line), None));
            }
            let next = wait_until_over(&state, &key, interval).await.ok();
            Some((Ok(line), next))
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
