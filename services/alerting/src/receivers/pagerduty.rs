//! PagerDuty's Events API v2: an incident is triggered, acknowledged and resolved under one key. 202 means that it
//! was taken, not that anybody was woken.
use dagbok_alerts::{Answered, Message, Purpose};
use dagbok_config::Secret;
use reqwest::Client;
use serde_json::{Value, json};

use super::http;

/// The longest summary, in characters.
const SUMMARY: usize = 1_024;

pub(super) async fn send(
    client: &Client,
    url: &Secret,
    routing_key: &Secret,
    message: &Message,
) -> Answered {
    let body = body(routing_key, message);
    http::send(client.post(url.reveal()).json(&body), |answer| {
        let answer: Value = serde_json::from_str(answer).ok()?;
        answer.get("dedup_key")?.as_str().map(str::to_owned)
    })
    .await
}

fn body(routing_key: &Secret, message: &Message) -> Value {
    let action = message.purpose.word();
    let mut event = json!({
        "routing_key": routing_key.reveal(),
        "event_action": action,
        "dedup_key": message.dedup_key,
    });
    if message.purpose != Purpose::Trigger {
        return event;
    }
    let label = |name: &str| message.labels.get(name).map(String::as_str);
    let summary: String = message.title.chars().take(SUMMARY).collect();
    let mut details: serde_json::Map<String, Value> =
        message.details.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    details.insert("text".to_owned(), json!(message.text));
    event["payload"] = json!({
        "summary": summary,
        "source": format!("dagbok/{}", label("namespace").unwrap_or_default()),
        "severity": label("severity").unwrap_or("error"),
        "timestamp": message.since,
        "component": label("dag").or_else(|| label("file")),
        "group": label("owner"),
        "class": label("rule"),
        "custom_details": details,
    });
    event["client"] = json!("Dagbok");
    if let Some(link) = &message.link {
        event["client_url"] = json!(link);
    }
    let links: Vec<Value> = [
        (&message.link, "the run"),
        (&message.acknowledge, "acknowledge"),
        (&message.runbook, "runbook"),
    ]
    .into_iter()
    .filter_map(|(link, text)| Some(json!({ "href": link.as_ref()?, "text": text })))
    .collect();
    if !links.is_empty() {
        event["links"] = json!(links);
    }
    event
}
