//! Heartbeats: what outside of Dagbok says regularly that it lives, and is an alert where it does not.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_alerts::{AskBody, Heartbeat};
use dagbok_events::{Micros, Timestamp};

use super::{ask, known};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody, InPath},
        state::ApiState,
    },
    shapes::{Detail, HeartbeatBody, HeartbeatCollection, HeartbeatResponse},
};

fn shown(name: &str, beat: &Heartbeat, now: Timestamp) -> HeartbeatResponse {
    HeartbeatResponse {
        name: name.to_owned(),
        at: beat.at.into(),
        due: beat.at.plus(beat.period).into(),
        missing_at: beat.missing_at().into(),
        missing: beat.missing_at() <= now,
        owner: beat.owner.clone(),
    }
}

/// Heartbeats that are expected, by name.
#[utoipa::path(get, path = "/api/v2/dagbok/heartbeats", tag = "Alert", responses(
    (status = 200, body = HeartbeatCollection), (status = 503, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
) -> Result<Json<HeartbeatCollection>, ApiError> {
    let now = state.clock.now();
    let heartbeats: Vec<HeartbeatResponse> = known(&state)
        .await?
        .read(|book| book.heartbeats().map(|(name, beat)| shown(name, beat, now)).collect());
    let total_entries = heartbeats.len();
    Ok(Json(HeartbeatCollection { heartbeats, total_entries }))
}

/// Says that something lives: where it has not said so again after its period and grace, that is an alert, which the
/// next heartbeat ends.
#[utoipa::path(post, path = "/api/v2/dagbok/heartbeats/{name}", tag = "Alert",
    params(("name" = String, Path)), request_body = HeartbeatBody, responses(
    (status = 200, body = HeartbeatResponse), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn beat(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
    caller: Caller,
    InBody(body): InBody<HeartbeatBody>,
) -> Result<Json<HeartbeatResponse>, ApiError> {
    let period = Micros::from_secs(body.period_seconds);
    let grace = Micros::from_secs(body.grace_seconds);
    let asked = AskBody::Heartbeat { name: name.clone(), period, grace, owner: body.owner };
    ask(&state, caller, None, asked).await?;
    let now = state.clock.now();
    let found = known(&state).await?.read(|book| {
        let mut all = book.heartbeats();
        all.find(|(it, _)| **it == name).map(|(name, beat)| shown(name, beat, now))
    });
    found.map(Json).ok_or_else(|| ApiError::bug(&"a heartbeat was taken that is not there"))
}

/// Has a heartbeat not expected any more.
#[utoipa::path(delete, path = "/api/v2/dagbok/heartbeats/{name}", tag = "Alert",
    params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn forget(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    ask(&state, caller, None, AskBody::ForgetHeartbeat { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
