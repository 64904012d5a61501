//! Executors, and how the installation is. No fold has either: they are asked each time that a snapshot is made.
use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    super::{errors::ApiError, executors, extract::InQuery, monitor, state::ApiState},
    view::View,
};
use crate::shapes::{Detail, UiExecutors};

/// Executors of a page.
const PAGE: usize = 200;

/// How many executors come before a page of the list, whose pages count from 1.
pub(super) const fn before_page(page: usize) -> usize {
    page.saturating_sub(1).saturating_mul(PAGE)
}

/// Which executors are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExecutorsQuery {
    /// How many come before the page, which has 200.
    pub(super) offset: Option<usize>,
}

/// Executors with how the installation is.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/executors", tag = "UI", params(ExecutorsQuery), responses(
    (status = 200, body = UiExecutors), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn executors(
    State(state): State<ApiState>,
    InQuery(query): InQuery<ExecutorsQuery>,
) -> Result<Json<Value>, ApiError> {
    View::Executors(query).snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(
    state: &ApiState,
    query: &ExecutorsQuery,
) -> Result<UiExecutors, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let Json(health) = monitor::health(State(state.clone())).await;
    let offset = query.offset.unwrap_or(0);
    let (executors, total) = executors::some(state, false, offset, PAGE).await?;
    let as_of = now.into();
    Ok(UiExecutors { seq, as_of, mark: String::new(), health, executors, offset, total })
}
