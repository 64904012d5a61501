//! What an HTTP provider's answer means.
use dagbok_alerts::Answered;
use dagbok_events::Micros;
use reqwest::{RequestBuilder, Response, StatusCode, header::RETRY_AFTER};

/// How much of an answer is read, in bytes.
const READ: usize = 2_048;
/// How much of it is recorded, in characters.
const SHOWN: usize = 300;

/// Sends, and says what came of it; `id_of` finds what the provider calls the message in what it answered.
pub(super) async fn send(
    request: RequestBuilder,
    id_of: impl FnOnce(&str) -> Option<String>,
) -> Answered {
    let response = match request.send().await {
        Ok(response) => response,
        // The address may be a secret.
        Err(error) => return failed(None, text_of(&error.without_url()), None),
    };
    let status = response.status();
    let retry_after = retry_after(&response);
    let body = start_of(response).await;
    let number = Some(status.as_u16());
    if status.is_success() {
        return Answered::Accepted { status: number, provider_id: id_of(&body) };
    }
    let shown: String = body.trim().chars().take(SHOWN).collect();
    let why = if shown.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {shown}")
    };
    let may_help = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if may_help {
        failed(number, why, retry_after)
    } else {
        Answered::Rejected { status: number, why }
    }
}

fn failed(status: Option<u16>, why: String, retry_after: Option<Micros>) -> Answered {
    Answered::Failed { status, why, retry_after }
}

/// An error with its innermost cause, which is what tells.
fn text_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}

/// `Retry-After` in seconds; a date is not looked at, since clocks differ.
fn retry_after(response: &Response) -> Option<Micros> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Micros::from_secs)
}

async fn start_of(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk[..chunk.len().min(READ - bytes.len())]);
            }
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
