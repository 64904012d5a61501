//! What waits on queues, for whatever starts executors: a page each, with figures that a scaler can read.
use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery},
    state::ApiState,
};
use crate::shapes::{Detail, QueueCollection, QueueSignal};

/// Counts what waits on queues. Whoever folds the log for figures has it.
pub trait CountsQueues: Send + Sync + std::fmt::Debug {
    /// Every queue that was ever seen, by name; `None` while the log is not folded to its end.
    fn queues(&self) -> Option<BTreeMap<String, QueueSignal>>;
}

/// Which tries are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct QueueQuery {
    /// Only those that ask for just these labels, as `region=eu,tier=fast`, in the order of names; empty for those that
    /// ask for none.
    labels: Option<String>,
}

fn all(state: &ApiState) -> Result<BTreeMap<String, QueueSignal>, ApiError> {
    let counts = state.queues.get().ok_or_else(|| {
        ApiError::Unavailable(
            "nobody counts queues here: ask where `dagbok ui` or `dagbok standalone` serves"
                .to_owned(),
        )
    })?;
    let found = counts.queues();
    // Half a count would have a scaler end executors that are needed.
    found.ok_or_else(|| ApiError::Unavailable("the log is not folded to its end yet".to_owned()))
}

/// What waits on every queue, and who pulls from it.
#[utoipa::path(get, path = "/api/v2/dagbok/queues", tag = "Dagbok", responses(
    (status = 200, body = QueueCollection), (status = 503, body = Detail)
))]
pub(crate) async fn list(State(state): State<ApiState>) -> Result<Json<QueueCollection>, ApiError> {
    let queues: Vec<QueueSignal> = all(&state)?.into_values().collect();
    let total_entries = queues.len();
    Ok(Json(QueueCollection { queues, total_entries }))
}

/// What waits on one queue, for a scaler: KEDA's `metrics-api` reads a number by its path, as `slots_wanted`. A queue that
/// nobody has named yet has zeros.
#[utoipa::path(get, path = "/api/v2/dagbok/queues/{queue}", tag = "Dagbok",
    params(("queue" = String, Path, description = "Name of the queue."), QueueQuery),
    responses((status = 200, body = QueueSignal), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(queue): InPath<String>,
    InQuery(query): InQuery<QueueQuery>,
) -> Result<Json<QueueSignal>, ApiError> {
    let found = all(&state)?.remove(&queue);
    let found = found.unwrap_or_else(|| QueueSignal { queue, ..QueueSignal::default() });
    Ok(Json(match query.labels {
        Some(labels) => found.of_labels(labels),
        None => found,
    }))
}
