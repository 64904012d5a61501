//! Executors, and how the installation is. No fold has either: they are asked each time that a snapshot is made.
use axum::{Json, extract::State};
use serde_json::Value;

use super::{
    super::{errors::ApiError, executors, monitor, state::ApiState},
    view::View,
};
use crate::shapes::{Detail, UiExecutors};

/// Executors that are shown.
const ROWS: usize = 500;

/// Executors with how the installation is.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/executors", tag = "UI", responses(
    (status = 200, body = UiExecutors), (status = 503, body = Detail)
))]
pub(crate) async fn executors(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    View::Executors.snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(state: &ApiState) -> Result<UiExecutors, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let Json(health) = monitor::health(State(state.clone())).await;
    let (executors, total) = executors::some(state, false, 0, ROWS).await?;
    Ok(UiExecutors { seq, as_of: now.into(), mark: String::new(), health, executors, total })
}
