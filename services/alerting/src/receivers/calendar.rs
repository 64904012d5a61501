//! Calendars that are had by their addresses: asked for only where they changed, and of bounded length.
use dagbok_alerts::Answered;
use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};

use super::http;
use crate::{
    config::ical::BYTES,
    term::calendars::{Asking, Got},
};

/// Asks for one. `None` where it is as it was.
pub(super) async fn fetch(client: &Client, asking: &Asking) -> Result<Option<Got>, String> {
    let mut request = client.get(asking.url.reveal()).header(ACCEPT, "text/calendar, */*;q=0.1");
    if let Some(etag) = &asking.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    if let Some(modified) = &asking.modified {
        request = request.header(IF_MODIFIED_SINCE, modified);
    }
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(why_of(http::unsent(error))),
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    if !response.status().is_success() {
        return Err(match http::leads(&response) {
            Some(why) => why,
            None => format!("it answered {}", response.status()),
        });
    }
    let header = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().filter(|it| it.len() <= 1_024).map(str::to_owned)
    };
    let (etag, modified) = (header(ETAG), header(LAST_MODIFIED));
    let too_long = || format!("it has more than {} MiB", BYTES >> 20);
    if response.content_length().is_some_and(|it| it > BYTES) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| http::text_of(&error.without_url()))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > BYTES {
            return Err(too_long());
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    Ok(Some(Got { text: text.into(), etag, modified }))
}

fn why_of(answered: Answered) -> String {
    match answered {
        Answered::Failed { why, .. } | Answered::Rejected { why, .. } => why,
        Answered::Accepted { .. } => String::new(),
    }
}
