//! What an HTTP provider's answer means.
use dagbok_alerts::Answered;
use dagbok_events::Micros;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};

use super::guard::Guarded;

/// How much of an answer is read, in bytes.
const READ: usize = 2_048;
/// How much of it is recorded, in characters.
const SHOWN: usize = 300;

/// What a provider answered with a status of success.
pub(super) struct Taken {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<Micros>,
}

/// Sends, and says what came of it; `id_of` finds what the provider calls the message in what it answered.
pub(super) async fn send(
    request: RequestBuilder,
    id_of: impl FnOnce(&str) -> Option<String>,
) -> Answered {
    match ask(request, READ).await {
        Ok(taken) => {
            Answered::Accepted { status: Some(taken.status), provider_id: id_of(&taken.body) }
        }
        Err(answered) => answered,
    }
}

/// Sends, and hands over at most `read` bytes of what was answered where that is a success.
pub(super) async fn ask(request: RequestBuilder, read: usize) -> Result<Taken, Answered> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(unsent(error)),
    };
    let status = response.status();
    let retry_after = retry_after(&response);
    if let Some(why) = leads(&response) {
        return Err(Answered::Rejected { status: Some(status.as_u16()), why });
    }
    let body = start_of(response, read).await;
    if status.is_success() {
        return Ok(Taken { status: status.as_u16(), body, retry_after });
    }
    let number = Some(status.as_u16());
    let shown: String = body.trim().chars().take(SHOWN).collect();
    let why = if shown.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {shown}")
    };
    let may_help = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(if may_help {
        failed(number, why, retry_after)
    } else {
        Answered::Rejected { status: number, why }
    })
}

/// Where an answer leads elsewhere: nobody follows it, since it may lead anywhere.
pub(super) fn leads(response: &Response) -> Option<String> {
    let status = response.status();
    let to = response.headers().get(LOCATION).filter(|_| status.is_redirection())?;
    let url = to.to_str().ok().and_then(|to| response.url().join(to).ok());
    let host = url.and_then(|it| it.host_str().map(str::to_owned)).unwrap_or_default();
    Some(format!("it answered {status} and leads to `{host}`: a redirect is not followed"))
}

/// What never arrived. Another try may help, but not where the address is one that nobody may be sent to.
pub(super) fn unsent(error: reqwest::Error) -> Answered {
    // The address may be a secret.
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(it) = cause {
        if let Some(guarded) = it.downcast_ref::<Guarded>() {
            return Answered::Rejected { status: None, why: guarded.to_string() };
        }
        cause = it.source();
    }
    failed(None, text_of(&error), None)
}

pub(super) fn failed(status: Option<u16>, why: String, retry_after: Option<Micros>) -> Answered {
    Answered::Failed { status, why, retry_after }
}

/// An error with its innermost cause, which is what tells.
pub(super) fn text_of(error: &reqwest::Error) -> String {
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

async fn start_of(mut response: Response, read: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < read {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk[..chunk.len().min(read - bytes.len())]);
            }
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
