//! A Slack channel: by its incoming webhook, or as an app that has a bot token. The app keeps a thread for each alert: what
//! happens again is said in it, and its first message is changed when somebody has the alert in hand and when it is over.
use dagbok_alerts::{Answered, Message, Purpose};
use dagbok_config::Secret;
use dagbok_events::Micros;
use reqwest::{Client, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::http;

/// How much of an answer is read, in bytes: it repeats the message.
const READ: usize = 256 << 10;
/// Error codes by which Slack says that another time may do.
const MAY_HELP: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];
/// Those by which it refuses who asks.
const CREDENTIALS: [&str; 10] = [
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "missing_scope",
    "org_login_required",
    "ekm_access_denied",
    "two_factor_setup_required",
];
/// Those by which it says that the thread's first message can't be changed any more.
const GONE: [&str; 3] = ["message_not_found", "cant_update_message", "edit_window_closed"];
/// Those by which it says that nothing can be written where the thread is.
const MOVED: [&str; 4] = ["channel_not_found", "is_archived", "not_in_channel", "thread_not_found"];
/// What one block may hold, in characters.
const BLOCK: usize = 2_900;
/// What of that the title may take, and all of a notification's text.
const TITLE: usize = 1_000;

pub(super) async fn send(client: &Client, url: &Secret, message: &Message) -> Answered {
    http::send(client.post(url.reveal()).json(&body(message)), |_| None).await
}

/// A channel as an app writes to it.
pub(super) struct Bot<'a> {
    /// The address of the API, without the method.
    pub(super) api: &'a Secret,
    pub(super) token: &'a Secret,
    /// The channel, by its id or its name.
    pub(super) channel: &'a str,
}

/// What came of one call.
enum Called {
    /// Slack took it, and names the message.
    Ok { status: u16, place: Option<(String, String)> },
    /// It did not, by this code.
    No { status: u16, code: String, needed: Option<String>, retry_after: Option<Micros> },
    /// It never got so far.
    Not(Answered),
}

/// Tells a channel. `thread` is what Slack called the first message about the alert, where there was one.
pub(super) async fn post(
    client: &Client,
    bot: &Bot<'_>,
    message: &Message,
    thread: Option<&str>,
) -> Answered {
    let root = thread.and_then(|it| it.split_once('/')).filter(|(_, ts)| is_stamp(ts));
    let mut body = body(message);
    body["unfurl_links"] = json!(false);
    let is_change = message.purpose != Purpose::Trigger;
    if let Some((channel, ts)) = root.filter(|_| is_change) {
        let mut change = body.clone();
        (change["channel"], change["ts"]) = (json!(channel), json!(ts));
        match call(client, bot, "chat.update", &change).await {
            Called::No { code, .. } if GONE.contains(&code.as_str()) => {}
            Called::No { code, .. } if MOVED.contains(&code.as_str()) => {
                return anew(client, bot, &mut body).await;
            }
            other => return answered(other),
        }
    }
    // In the thread, by the channel's id: who was told there may have another name by now.
    body["channel"] = json!(root.map_or(bot.channel, |(channel, _)| channel));
    if let Some((_, ts)) = root {
        body["thread_ts"] = json!(ts);
        // Who wrote in no thread is not told of what comes in it.
        if !is_change {
            body["reply_broadcast"] = json!(true);
        }
    }
    match call(client, bot, "chat.postMessage", &body).await {
        Called::No { code, .. } if root.is_some() && MOVED.contains(&code.as_str()) => {
            anew(client, bot, &mut body).await
        }
        other => answered(other),
    }
}

/// Tells the channel that is configured now: that of the thread is gone.
async fn anew(client: &Client, bot: &Bot<'_>, body: &mut Value) -> Answered {
    body["channel"] = json!(bot.channel);
    if let Some(it) = body.as_object_mut() {
        it.remove("thread_ts");
        it.remove("reply_broadcast");
    }
    answered(call(client, bot, "chat.postMessage", body).await)
}

/// Whether a message is called so by Slack, as `1355517523.000005`: a receiver may have been another provider's before.
fn is_stamp(text: &str) -> bool {
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    text.split_once('.').is_some_and(|(one, other)| is_number(one) && is_number(other))
}

async fn call(client: &Client, bot: &Bot<'_>, method: &str, body: &Value) -> Called {
    let address = format!("{}/{method}", bot.api.reveal().trim_end_matches('/'));
    let request = client
        .post(address)
        .bearer_auth(bot.token.reveal())
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .body(body.to_string());
    let taken = match http::ask(request, READ).await {
        Ok(taken) => taken,
        Err(answered) => return Called::Not(answered),
    };
    let Ok(said) = serde_json::from_str::<Value>(&taken.body) else {
        let why = "its answer is no JSON of Slack's".to_owned();
        return Called::Not(http::failed(Some(taken.status), why, None));
    };
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    if said.get("ok").and_then(Value::as_bool) == Some(true) {
        let place = text("channel").zip(text("ts"));
        return Called::Ok { status: taken.status, place };
    }
    let code = text("error").unwrap_or_else(|| "no code".to_owned());
    let (status, retry_after) = (taken.status, taken.retry_after);
    Called::No { status, code, needed: text("needed"), retry_after }
}

fn answered(called: Called) -> Answered {
    match called {
        Called::Ok { status, place } => Answered::Accepted {
            status: Some(status),
            provider_id: place.map(|(channel, ts)| format!("{channel}/{ts}")),
        },
        Called::No { status, code, retry_after, .. } if MAY_HELP.contains(&code.as_str()) => {
            http::failed(Some(status), format!("Slack answered {code}"), retry_after)
        }
        Called::No { code, needed, .. } if CREDENTIALS.contains(&code.as_str()) => {
            let needed = needed.map(|it| format!(" (needed: {it})")).unwrap_or_default();
            // HTTP's own number for what Slack says with 200.
            let why = format!("Slack refuses the credentials: {code}{needed}");
            Answered::Rejected { status: Some(401), why }
        }
        Called::No { status, code, needed, .. } => {
            let needed = needed.map(|it| format!(" (needed: {it})")).unwrap_or_default();
            let why = format!("Slack answered {code}{needed}");
            Answered::Rejected { status: Some(status), why }
        }
        Called::Not(answered) => answered,
    }
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
    let link = |url: &String, said: &str| format!("<{}|{said}>", escaped(url, BLOCK / 2));
    let links = [
        message.acknowledge.as_ref().map(|it| link(it, "Acknowledge")),
        message.runbook.as_ref().map(|it| link(it, "Runbook")),
    ];
    let said = links.into_iter().flatten().collect::<Vec<_>>().join("  ");
    if !said.is_empty() {
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

    #[test]
    fn a_thread_is_slacks_or_none() {
        assert!(is_stamp("1355517523.000005"));
        for other in ["", "2026", "abc.1", "1.", "1.2/3"] {
            assert!(!is_stamp(other), "{other}");
        }
    }
}
