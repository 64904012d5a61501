//! What is asked with a signature in place of a login: the link in a message, and PagerDuty's webhooks.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dagbok_alerts::{Ask, AskBody, Book, By, Refusal, limits::LINK_HOLDS};
use dagbok_events::Timestamp;
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::Value;

use crate::config::{Receiver, Ways};

/// Bytes of the key.
pub(crate) const KEY_BYTES: usize = 32;

/// Makes and opens signed links. Whoever has one may acknowledge that one alert until its time is over, and nothing
/// else.
#[derive(Debug)]
pub(crate) struct Links(hmac::Key);

/// What a link says.
struct Link {
    id: u64,
    until: Timestamp,
    receiver: String,
}

impl Links {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A key that nobody has yet.
    pub(crate) fn fresh_key() -> Option<Vec<u8>> {
        let mut key = vec![0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(key)
    }

    /// The address at which an alert can be acknowledged by whoever `receiver` reaches.
    pub(crate) fn address(&self, base: &str, id: u64, receiver: &str, now: Timestamp) -> String {
        let until = now.plus(LINK_HOLDS).0 / 1_000_000;
        let said = format!("{id}.{until}.{receiver}");
        let tag = hmac::sign(&self.0, said.as_bytes());
        let (said, tag) = (URL_SAFE_NO_PAD.encode(said), URL_SAFE_NO_PAD.encode(tag));
        format!("{}/api/v2/dagbok/alerts/link/{said}.{tag}", base.trim_end_matches('/'))
    }

    fn open(&self, token: &str) -> Option<Link> {
        let (said, tag) = token.split_once('.')?;
        let said = URL_SAFE_NO_PAD.decode(said).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, &said, &tag).ok()?;
        let said = String::from_utf8(said).ok()?;
        let mut parts = said.splitn(3, '.');
        let (id, until) = (parts.next()?.parse().ok()?, parts.next()?.parse::<i64>().ok()?);
        let until = Timestamp(until.saturating_mul(1_000_000));
        Some(Link { id, until, receiver: parts.next()?.to_owned() })
    }
}

/// What was asked, where a signature stands for who asks.
pub(crate) enum Opened {
    /// To be decided.
    Ask(Ask),
    /// Only which alert it is about was asked.
    About(u64),
    /// Nothing is to be done about it.
    Nothing,
}

/// Checks the signature of what bears one.
pub(crate) fn open(
    links: &Links,
    ways: &Ways,
    book: &Book,
    now: Timestamp,
    ask: Ask,
) -> Result<Opened, Refusal> {
    match &ask.body {
        AskBody::Link { token, acknowledge } => {
            let forged =
                || Refusal::Forged("this link was not made here, or is not whole".to_owned());
            let link = links.open(token).ok_or_else(forged)?;
            if now >= link.until {
                let why = format!("this link held until {}", link.until);
                return Err(Refusal::Expired(why));
            }
            if !acknowledge {
                return Ok(Opened::About(link.id));
            }
            let reason = Some("by the link in its message".to_owned());
            let body = AskBody::Acknowledge { id: link.id };
            Ok(Opened::Ask(Ask { by: By::Receiver(link.receiver), reason, body }))
        }
        AskBody::PagerDuty { signature, body } => pagerduty(ways, book, signature, body),
        _ => Ok(Opened::Ask(ask)),
    }
}

/// An event of PagerDuty's webhooks v3, signed by `v1=` and HMAC-SHA256 of the body in hexadecimal.
fn pagerduty(ways: &Ways, book: &Book, signature: &str, body: &str) -> Result<Opened, Refusal> {
    let signed = ways.receivers.iter().find(|(_, receiver)| match receiver {
        Receiver::PagerDuty { webhook_secret: Some(secret), .. } => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
            let given = signature.split(',').filter_map(|it| it.trim().strip_prefix("v1="));
            given.filter_map(bytes).any(|tag| hmac::verify(&key, body.as_bytes(), &tag).is_ok())
        }
        _ => false,
    });
    let Some((name, _)) = signed else {
        let why = "no receiver's `webhook_secret` made this signature".to_owned();
        return Err(Refusal::Forged(why));
    };
    let wrong = || Refusal::Invalid("this is no event of PagerDuty's webhooks v3".to_owned());
    let said: Value = serde_json::from_str(body).map_err(|_| wrong())?;
    let event = said.get("event").ok_or_else(wrong)?;
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    let kind = text("/event_type").ok_or_else(wrong)?;
    let (Some(key), true) =
        (text("/data/incident_key"), matches!(kind, "incident.acknowledged" | "incident.resolved"))
    else {
        return Ok(Opened::Nothing);
    };
    // PagerDuty says of its own incidents too, and says again what came from here.
    let Some(alert) = book.by_key(key).filter(|alert| alert.is_open()) else {
        return Ok(Opened::Nothing);
    };
    let body = match kind {
        "incident.resolved" => AskBody::Resolve { id: alert.id },
        _ if !alert.is_firing() => return Ok(Opened::Nothing),
        _ => AskBody::Acknowledge { id: alert.id },
    };
    let who = text("/agent/summary").unwrap_or("somebody");
    let reason = Some(format!("by {who} in PagerDuty").chars().take(200).collect());
    Ok(Opened::Ask(Ask { by: By::Receiver(name.clone()), reason, body }))
}

/// Bytes of a text in hexadecimal.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_800_000_000_000_000);

    #[test]
    fn a_link_opens_where_it_was_made_and_until_its_time_is_over() {
        let (links, other) = (Links::new(b"one"), Links::new(b"two"));
        let address = links.address("https://d.example.org/", 7, "on-call", NOON);
        let token = address.rsplit('/').next().expect("a token");
        let said = |token: &str, links: &Links, now| {
            let body = AskBody::Link { token: token.to_owned(), acknowledge: true };
            let ask = Ask { by: By::Rules, reason: None, body };
            open(links, &Ways::default(), &Book::default(), now, ask)
        };
        let Ok(Opened::Ask(ask)) = said(token, &links, NOON) else { panic!("it opens") };
        assert_eq!(ask.by, By::Receiver("on-call".to_owned()));
        assert_eq!(ask.body, AskBody::Acknowledge { id: 7 });
        assert!(matches!(said(token, &other, NOON), Err(Refusal::Forged(_))));
        assert!(matches!(said(token, &links, NOON.plus(LINK_HOLDS)), Err(Refusal::Expired(_))));
        let (said_part, tag) = token.split_once('.').expect("two parts");
        let changed = URL_SAFE_NO_PAD.decode(said_part).expect("Base64");
        let changed = String::from_utf8(changed).expect("text").replacen('7', "8", 1);
        let forged = format!("{}.{tag}", URL_SAFE_NO_PAD.encode(changed));
        assert!(matches!(said(&forged, &links, NOON), Err(Refusal::Forged(_))));
        for bad in ["", ".", "x", "a.b", &token[..token.len() - 2]] {
            assert!(matches!(said(bad, &links, NOON), Err(Refusal::Forged(_))), "{bad}");
        }
    }
}
