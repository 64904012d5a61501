//! A web address of the user's own, with the headers of Standard Webhooks: an id that is the same for each attempt,
//! the time of the attempt, and where a secret is known a signature over both and the body.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use dagbok_events::Timestamp;
use reqwest::{Client, header::CONTENT_TYPE};
use ring::hmac;
use serde_json::{Value, json};

use super::{http, token};

pub(super) async fn send(
    client: &Client,
    url: &Secret,
    secret: Option<&Secret>,
    name: &str,
    message: &Message,
    at: Timestamp,
) -> Answered {
    let id = format!("msg_{}", token(name));
    let seconds = (at.0 / 1_000_000).to_string();
    let body = body(message, at).to_string();
    let mut request = client
        .post(url.reveal())
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", &seconds);
    if let Some(secret) = secret {
        request = request.header("webhook-signature", signature(secret, &id, &seconds, &body));
    }
    http::send(request.body(body), |_| None).await
}

/// `{type, timestamp, data}`, as the specification recommends.
fn body(message: &Message, at: Timestamp) -> Value {
    let details: serde_json::Map<String, Value> =
        message.details.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "type": format!("alert.{}", message.status.word()),
        "timestamp": at,
        "data": {
            "alert": message.id,
            "dedup_key": message.dedup_key,
            "purpose": message.purpose,
            "status": message.status.word(),
            "title": message.title,
            "text": message.text,
            "labels": message.labels,
            "details": details,
            "causes": message.causes,
            "count": message.count,
            "since": message.since,
            "ended_at": message.ended_at,
            "link": message.link,
            "acknowledge": message.acknowledge,
            "runbook": message.runbook,
        },
    })
}

/// `v1,` and the signature in Base64. A secret is `whsec_` and its bytes in Base64, or any text.
fn signature(secret: &Secret, id: &str, seconds: &str, body: &str) -> String {
    let text = secret.reveal();
    let coded = text.strip_prefix("whsec_").and_then(|coded| STANDARD.decode(coded).ok());
    let key = hmac::Key::new(hmac::HMAC_SHA256, coded.as_deref().unwrap_or(text.as_bytes()));
    let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's own libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let made = signature(&secret, id, "1614265330", "{\"test\": 2432232314}");
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
