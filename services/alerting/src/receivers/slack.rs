//! A Slack channel, by its incoming webhook.
use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use reqwest::Client;
use serde_json::{Value, json};

use super::http;

/// What one block may hold, in characters.
const BLOCK: usize = 2_900;
/// What of that the title may take, and all of a notification's text.
const TITLE: usize = 1_000;

pub(super) async fn send(client: &Client, url: &Secret, message: &Message) -> Answered {
    http::send(client.post(url.reveal()).json(&body(message)), |_| None).await
}

fn body(message: &Message) -> Value {
    // Plain words begin with the title; a receiver's own may not.
    let rest = message.text.strip_prefix(&message.title).unwrap_or(&message.text);
    let title = escaped(&message.title, TITLE);
    let rest = escaped(rest.trim_start(), BLOCK - title.chars().count());
    let mut blocks = vec![json!({
        "type": "section",
        "text": { "type": "mrkdwn", "text": format!("*{title}*\n{rest}") },
    })];
    if let Some(link) = &message.acknowledge {
        let said = format!("<{}|Acknowledge>", escaped(link, BLOCK));
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": said } }));
    }
    json!({ "text": title, "blocks": blocks })
}

/// A text without the three characters that Slack takes for its own, cut where it would have more than `most`
/// characters then, and never within what stands for one of those.
fn escaped(text: &str, most: usize) -> String {
    let mut left = most;
    let mut taken = String::new();
    for c in text.chars() {
        let mut buffer = [0; 4];
        let part = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => c.encode_utf8(&mut buffer),
        };
        let Some(rest) = left.checked_sub(part.chars().count()) else { break };
        taken.push_str(part);
        left = rest;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_as_slack_counts_it() {
        assert_eq!(escaped("a<b", 5), "a&lt;");
        assert_eq!(escaped("a<b", 4), "a", "and never within an escape");
        assert_eq!(escaped(&"&".repeat(3_000), TITLE).len(), TITLE);
        assert_eq!(escaped("\u{e4}\u{e4}", 1), "\u{e4}");
    }
}
