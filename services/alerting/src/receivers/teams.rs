//! A channel of Microsoft Teams, by a workflow's webhook: an adaptive card.
use dagbok_alerts::{Answered, Message, Status};
use dagbok_config::Secret;
use reqwest::Client;
use serde_json::{Value, json};

use super::http;

/// What one card may say, in characters: Teams takes messages of 28 KB.
const TEXT: usize = 12_000;

pub(super) async fn send(client: &Client, url: &Secret, message: &Message) -> Answered {
    http::send(client.post(url.reveal()).json(&body(message)), |_| None).await
}

fn body(message: &Message) -> Value {
    let color = match message.status {
        Status::Firing => "attention",
        Status::Acknowledged => "warning",
        Status::Resolved => "good",
    };
    // Plain words begin with the title; a receiver's own may not.
    let rest = message.text.strip_prefix(&message.title).unwrap_or(&message.text);
    let rest: String = rest.trim_start().chars().take(TEXT).collect();
    // A card joins lines that follow one another; two ends of a line part them.
    let rest = rest.replace('\n', "\n\n");
    let open = |title: &str, url: &Option<String>| {
        let url = url.as_ref()?;
        Some(json!({ "type": "Action.OpenUrl", "title": title, "url": url }))
    };
    let actions = [open("Acknowledge", &message.acknowledge), open("Show", &message.link)];
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "TextBlock", "text": message.title, "weight": "bolder", "wrap": true, "color": color },
                    { "type": "TextBlock", "text": rest, "wrap": true },
                ],
                "actions": actions.into_iter().flatten().collect::<Vec<_>>(),
            },
        }],
    })
}
