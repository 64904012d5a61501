//! A Prometheus Alertmanager, by its API v2.
use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use dagbok_events::{Micros, Timestamp};
use reqwest::Client;
use serde_json::json;

use super::http;

/// What nobody ends is over there after this, unless it is told again.
const ENDS_AFTER: Micros = Micros::from_secs(86_400);

pub(super) async fn send(
    client: &Client,
    url: &Secret,
    message: &Message,
    at: Timestamp,
) -> Answered {
    let address = format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/'));
    let mut labels = message.labels.clone();
    let rule = labels.get("rule").cloned().unwrap_or_default();
    labels.insert("alertname".to_owned(), format!("dagbok_{rule}"));
    labels.insert("dedup_key".to_owned(), message.dedup_key.clone());
    let mut alert = json!({
        "labels": labels,
        "annotations": { "summary": message.title, "description": message.text },
        "startsAt": message.since,
        "endsAt": message.ended_at.unwrap_or_else(|| at.plus(ENDS_AFTER)),
    });
    if let Some(link) = &message.link {
        alert["generatorURL"] = json!(link);
    }
    http::send(client.post(address).json(&[alert]), |_| None).await
}
