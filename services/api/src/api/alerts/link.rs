//! What needs no login, since a signature stands for it: the link in a message, which leads to a page with one
//! button, and PagerDuty's webhooks. Looking at the page changes nothing: mail programs look at links by themselves.
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use dagbok_alerts::{AskBody, By, Refusal, Reply};
use serde_json::json;

use super::{known, view};
use crate::api::{errors::ApiError, extract::InPath, state::ApiState};

/// What the paths of signed links begin with.
pub(crate) const PREFIX: &str = "/api/v2/dagbok/alerts/link/";
/// The largest body of a webhook, in bytes.
const HOOK_BYTES: usize = 256 << 10;
/// The header with PagerDuty's signatures.
const SIGNATURE: &str = "x-pagerduty-signature";

/// The page to which a message's link leads: what is wrong, and one button.
#[utoipa::path(get, path = "/api/v2/dagbok/alerts/link/{token}", tag = "Alert", params(("token" = String, Path)),
    responses(
    (status = 200, content_type = "text/html"), (status = 403, content_type = "text/html"),
    (status = 410, content_type = "text/html"), (status = 503, content_type = "text/html")
))]
pub(crate) async fn look(State(state): State<ApiState>, InPath(token): InPath<String>) -> Response {
    shown(&state, token, false).await
}

/// Says that whoever the message reached has the alert in hand.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/link/{token}", tag = "Alert", params(("token" = String, Path)),
    responses(
    (status = 200, content_type = "text/html"), (status = 403, content_type = "text/html"),
    (status = 409, content_type = "text/html"), (status = 410, content_type = "text/html"),
    (status = 503, content_type = "text/html")
))]
pub(crate) async fn acknowledge(
    State(state): State<ApiState>,
    InPath(token): InPath<String>,
) -> Response {
    shown(&state, token, true).await
}

async fn shown(state: &ApiState, token: String, acknowledge: bool) -> Response {
    match super::asked(state, By::Rules, None, AskBody::Link { token, acknowledge }).await {
        Ok(Reply::Done { id, .. }) => of_alert(state, id, acknowledge).await,
        Ok(Reply::Refused(refusal)) => {
            let (status, title) = match &refusal {
                Refusal::Forged(_) => (StatusCode::FORBIDDEN, "This link does not hold"),
                Refusal::Expired(_) => (StatusCode::GONE, "This link is over"),
                Refusal::NotFound(_) => (StatusCode::NOT_FOUND, "There is no such alert"),
                Refusal::Conflict(_) => (StatusCode::CONFLICT, "Nothing was changed"),
                Refusal::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "That can't be done"),
            };
            page(status, title, &[&refusal.to_string()], false)
        }
        Ok(Reply::Studied(_)) => {
            let why = "Nothing was changed.";
            page(StatusCode::INTERNAL_SERVER_ERROR, "That was not asked", &[why], false)
        }
        Err(error) => {
            tracing::warn!(?error, "a link can't be answered");
            let why = "Alerting can't be reached now. Nothing was changed: try again in a minute.";
            page(StatusCode::SERVICE_UNAVAILABLE, "Not now", &[why], false)
        }
    }
}

async fn of_alert(state: &ApiState, id: u64, is_done: bool) -> Response {
    let now = state.clock.now();
    let found = match known(state).await {
        Ok(alerts) => alerts.read(|book| book.alert(id).map(|it| view::shown(book, it, now))),
        Err(_) => None,
    };
    let Some(alert) = found else {
        let why = "It is over for so long that only the log has it.";
        return page(StatusCode::NOT_FOUND, "There is no such alert", &[why], false);
    };
    let by = alert.changed_by.as_deref().unwrap_or_default();
    let at = alert.changed_at.map(|at| at.0.to_string()).unwrap_or_default();
    let state_line = match alert.state.as_str() {
        "firing" => format!("Nobody has it in hand. Since {}.", alert.since.0),
        state => format!("It is {state}: {by}, at {at}."),
    };
    let title = if is_done { "You have it in hand" } else { "An alert" };
    page(StatusCode::OK, title, &[&alert.summary, &state_line], alert.state == "firing")
}

/// A page that needs nothing but itself, and that no other may show in a frame.
fn page(status: StatusCode, title: &str, lines: &[&str], has_button: bool) -> Response {
    let lines: String =
        lines.iter().map(|line| ["<p>", &escaped(line), "</p>\n"].concat()).collect();
    let button = if has_button {
        "<form method=\"post\"><button type=\"submit\">Acknowledge</button></form>\n"
    } else {
        ""
    };
    let html = include_str!("link.html")
        .replace("{title}", &escaped(title))
        .replace("{lines}", &lines)
        .replace("{button}", button);
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (status, headers, html).into_response()
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('{', "&#123;")
}

/// What PagerDuty says of an incident: whoever acknowledges or resolves it there does so here.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/pagerduty", tag = "Alert",
    request_body(content = String, content_type = "application/json"), responses(
    (status = 200, body = serde_json::Value), (status = 403, body = crate::shapes::Detail),
    (status = 413, body = crate::shapes::Detail), (status = 422, body = crate::shapes::Detail),
    (status = 503, body = crate::shapes::Detail)
))]
pub(crate) async fn pagerduty(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wrong = |why: &str| ApiError::invalid("value_error", &["body"], why.to_owned());
    if body.len() > HOOK_BYTES {
        let detail = json!({ "detail": format!("a webhook has up to {HOOK_BYTES} bytes") });
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, axum::Json(detail)).into_response());
    }
    let signature = headers.get(SIGNATURE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let signature = signature.chars().take(4_096).collect();
    let body = String::from_utf8(body.to_vec()).map_err(|_| wrong("the body is no text"))?;
    match super::asked(&state, By::Rules, None, AskBody::PagerDuty { signature, body }).await? {
        Reply::Done { id, .. } => {
            let alert = (id > 0).then_some(id);
            Ok(axum::Json(json!({ "alert_id": alert })).into_response())
        }
        // Somebody was quicker: PagerDuty need not send it again.
        Reply::Studied(_) => Err(ApiError::bug(&"nobody asked the rules")),
        Reply::Refused(Refusal::Conflict(why)) => {
            Ok(axum::Json(json!({ "alert_id": null, "detail": why })).into_response())
        }
        Reply::Refused(refusal) => Err(super::refused(refusal)),
    }
}
