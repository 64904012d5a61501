//! A channel of Microsoft Teams, by a workflow's webhook: an adaptive card.
use dagbok_alerts::{Answered, Message, Status};
use dagbok_config::Secret;
use reqwest::Client;
use serde_json::{Value, json};

use super::http;

/// The longest request that Teams takes, in bytes: 28 KB, less what a proxy may add.
const BODY: usize = 27_000;
/// What one card may say, in characters.
const TEXT: usize = 12_000;

pub(super) async fn send(client: &Client, url: &Secret, message: &Message) -> Answered {
    http::send(client.post(url.reveal()).json(&body(message)), |_| None).await
}

/// A card that fits: what is said is cut by halves until it does, since characters take one to twelve bytes.
fn body(message: &Message) -> Value {
    let mut most = TEXT;
    loop {
        let card = card(message, most);
        if most == 0 || card.to_string().len() <= BODY {
            return card;
        }
        most /= 2;
    }
}

fn card(message: &Message, most: usize) -> Value {
    let color = match message.status {
        Status::Firing => "attention",
        Status::Acknowledged => "warning",
        Status::Resolved => "good",
    };
    // Plain words begin with the title; a receiver's own may not.
    let rest = message.text.strip_prefix(&message.title).unwrap_or(&message.text);
    let rest: String = rest.trim_start().chars().take(most).collect();
    // A card joins lines that follow one another; two ends of a line part them.
    let rest = rest.replace('\n', "\n\n");
    let open = |title: &str, url: &Option<String>| {
        let url = url.as_ref()?;
        Some(json!({ "type": "Action.OpenUrl", "title": title, "url": url }))
    };
    let actions = [
        open("Acknowledge", &message.acknowledge),
        open("Show", &message.link),
        open("Runbook", &message.runbook),
    ];
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
