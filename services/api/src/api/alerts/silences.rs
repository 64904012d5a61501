//! Silences: what is not told for a time.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_alerts::{AskBody, Silence};
use dagbok_events::Timestamp;

use super::{ask, known};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, instant},
        state::ApiState,
    },
    shapes::{Detail, SilenceBody, SilenceCollection, SilenceResponse},
};

fn shown(number: u64, silence: &Silence, now: Timestamp) -> SilenceResponse {
    SilenceResponse {
        silence_id: number,
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        since: silence.since.into(),
        until: silence.until.into(),
        active: silence.since <= now && now < silence.until,
        by: silence.by.text(),
        reason: silence.reason.clone(),
    }
}

/// Silences that hold and those that are over, newest first.
#[utoipa::path(get, path = "/api/v2/dagbok/silences", tag = "Alert", responses(
    (status = 200, body = SilenceCollection), (status = 503, body = Detail)
))]
pub(crate) async fn silences(
    State(state): State<ApiState>,
) -> Result<Json<SilenceCollection>, ApiError> {
    let now = state.clock.now();
    let mut silences = known(&state).await?.read(|book| {
        book.silences().map(|(number, it)| shown(number, it, now)).collect::<Vec<_>>()
    });
    silences.reverse();
    let total_entries = silences.len();
    Ok(Json(SilenceCollection { silences, total_entries }))
}

/// Has alerts that match not told until a time; they are opened and shown all the same.
#[utoipa::path(post, path = "/api/v2/dagbok/silences", tag = "Alert", request_body = SilenceBody, responses(
    (status = 201, body = SilenceResponse), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn silence(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<SilenceBody>,
) -> Result<(StatusCode, Json<SilenceResponse>), ApiError> {
    let until = instant(&body.until)
        .map_err(|why| ApiError::invalid("datetime_parsing", &["body", "until"], why))?;
    let matchers = body.matchers;
    let number =
        ask(&state, caller, Some(body.reason), AskBody::Silence { matchers, until }).await?;
    let now = state.clock.now();
    let found = known(&state).await?.read(|book| {
        let mut all = book.silences();
        all.find(|(it, _)| *it == number).map(|(number, it)| shown(number, it, now))
    });
    let found = found.ok_or_else(|| ApiError::bug(&"a silence was made that is not there"))?;
    Ok((StatusCode::CREATED, Json(found)))
}

/// Ends a silence before its time.
#[utoipa::path(delete, path = "/api/v2/dagbok/silences/{silence_id}", tag = "Alert",
    params(("silence_id" = u64, Path)), responses(
    (status = 204), (status = 404, body = Detail), (status = 409, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn unsilence(
    State(state): State<ApiState>,
    InPath(silence): InPath<u64>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    ask(&state, caller, None, AskBody::Unsilence { silence }).await?;
    Ok(StatusCode::NO_CONTENT)
}
