//! A Slack channel, by its incoming webhook.
use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use reqwest::Client;
use serde_json::json;

use super::http;

/// What one block may hold, in characters.
const BLOCK: usize = 2_900;

pub(super) async fn send(client: &Client, url: &Secret, message: &Message) -> Answered {
    // Plain words begin with the title; a receiver's own may not.
    let rest = message.text.strip_prefix(&message.title).unwrap_or(&message.text);
    let title = escaped(&message.title);
    let rest: String = escaped(rest).chars().take(BLOCK.saturating_sub(title.len())).collect();
    let mut blocks = vec![json!({
        "type": "section",
        "text": { "type": "mrkdwn", "text": format!("*{title}*\n{}", rest.trim_start()) },
    })];
    if let Some(link) = &message.acknowledge {
        let said = format!("<{}|Acknowledge>", escaped(link));
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": said } }));
    }
    let body = json!({ "text": escaped(&message.title), "blocks": blocks });
    http::send(client.post(url.reveal()).json(&body), |_| None).await
}

/// The three characters that Slack takes for its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
