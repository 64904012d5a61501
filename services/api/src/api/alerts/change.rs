//! What people do about an alert.
use axum::{Json, extract::State};
use dagbok_alerts::AskBody;

use super::{ask, one};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody, InPath},
        history::reason_of,
        state::ApiState,
    },
    shapes::{AlertChange, AlertResponse, AlertTest, Detail},
};

/// Says that somebody has an alert in hand: nobody further is told of it.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/{alert_id}/acknowledge", tag = "Alert",
    params(("alert_id" = u64, Path)), request_body = AlertChange, responses(
    (status = 200, body = AlertResponse), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn acknowledge(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
    caller: Caller,
    InBody(body): InBody<AlertChange>,
) -> Result<Json<AlertResponse>, ApiError> {
    change(&state, caller, body, AskBody::Acknowledge { id }).await
}

/// Says that an alert is over; another is opened only by what happens after.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/{alert_id}/resolve", tag = "Alert",
    params(("alert_id" = u64, Path)), request_body = AlertChange, responses(
    (status = 200, body = AlertResponse), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn resolve(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
    caller: Caller,
    InBody(body): InBody<AlertChange>,
) -> Result<Json<AlertResponse>, ApiError> {
    change(&state, caller, body, AskBody::Resolve { id }).await
}

async fn change(
    state: &ApiState,
    caller: Caller,
    body: AlertChange,
    what: AskBody,
) -> Result<Json<AlertResponse>, ApiError> {
    let note = reason_of(body.note, "note")?;
    let id = ask(state, caller, note, what).await?;
    one(state, id).await.map(Json)
}

/// Has a receiver told by the real way, marked as a test: an alert of its own, in which the answer is to be seen.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/test", tag = "Alert", request_body = AlertTest, responses(
    (status = 200, body = AlertResponse), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<AlertTest>,
) -> Result<Json<AlertResponse>, ApiError> {
    let receiver = body.receiver;
    let id = ask(&state, caller, None, AskBody::Test { receiver }).await?;
    one(&state, id).await.map(Json)
}
