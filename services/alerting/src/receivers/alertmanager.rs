//! A Prometheus Alertmanager, by its API v2.
use dagbok_alerts::{Answered, Message, RUNBOOK};
use dagbok_config::Secret;
use dagbok_events::{Micros, Timestamp};
use reqwest::Client;
use serde_json::json;

use super::http;

/// What nobody ends is over there after so many times of telling it again: one or two of these may be lost.
const RESENDS: i64 = 4;

pub(super) async fn send(
    client: &Client,
    url: &Secret,
    resend: Micros,
    message: &Message,
    at: Timestamp,
) -> Answered {
    let address = format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/'));
    let mut labels = message.labels.clone();
    // An annotation there: labels are what an alert is known by.
    labels.remove(RUNBOOK);
    let rule = labels.get("rule").cloned().unwrap_or_default();
    labels.insert("alertname".to_owned(), format!("dagbok_{rule}"));
    labels.insert("dedup_key".to_owned(), message.dedup_key.clone());
    let mut alert = json!({
        "labels": labels,
        "annotations": { "summary": message.title, "description": message.text },
        "startsAt": message.since,
        "endsAt": message.ended_at.unwrap_or_else(|| at.plus(Micros(resend.0.saturating_mul(RESENDS)))),
    });
    if let Some(runbook) = &message.runbook {
        alert["annotations"]["runbook_url"] = json!(runbook);
    }
    if let Some(link) = &message.link {
        alert["generatorURL"] = json!(link);
    }
    http::send(client.post(address).json(&[alert]), |_| None).await
}
