//! How each kind of receiver is told. One POST or one mail each; what the provider answers is put into the three
//! ways that the rules know.
mod alertmanager;
mod http;
mod mail;
mod pagerduty;
mod slack;
mod teams;
mod webhook;

use std::time::Duration;

use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use dagbok_events::hex;
use dagbok_runtime::Clock;
use sha2::{Digest as _, Sha256};

pub(crate) use mail::is_mailbox;

use crate::config::Receiver;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Whoever can send.
#[derive(Debug)]
pub(crate) struct Senders {
    http: reqwest::Client,
    clock: Clock,
}

impl Senders {
    pub(crate) fn new(clock: Clock) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A provider that moved is to be configured anew: keys are not carried elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dagbok/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, clock })
    }

    /// Says that alerting lives, or what is wrong with it.
    pub(crate) async fn sign(&self, url: &Secret, trouble: Option<&str>) -> Answered {
        let end = if trouble.is_some() { "/fail" } else { "" };
        let address = format!("{}{end}", url.reveal().trim_end_matches('/'));
        let said = trouble.unwrap_or("alerting lives").to_owned();
        http::send(self.http.post(address).body(said), |_| None).await
    }

    /// Tells a receiver; `name` is the delivery's, the same for each attempt.
    pub(crate) async fn send(
        &self,
        receiver: &Receiver,
        name: &str,
        message: &Message,
    ) -> Answered {
        match receiver {
            Receiver::Webhook { url, secret } => {
                let key = secret.as_ref();
                let at = self.clock.now();
                webhook::send(&self.http, url, key, name, message, at).await
            }
            Receiver::Slack { url } => slack::send(&self.http, url, message).await,
            Receiver::Teams { url } => teams::send(&self.http, url, message).await,
            Receiver::PagerDuty { url, routing_key, .. } => {
                pagerduty::send(&self.http, url, routing_key, message).await
            }
            Receiver::Alertmanager { url } => {
                alertmanager::send(&self.http, url, message, self.clock.now()).await
            }
            Receiver::Email(mail) => mail::send(mail, name, message).await,
        }
    }
}

/// A delivery's name as a short token: the same for each attempt.
fn token(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes())[..16])
}
