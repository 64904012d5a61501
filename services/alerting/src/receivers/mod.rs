//! How each kind of receiver is told. One POST or one mail each; what the provider answers is put into the three
//! ways that the rules know.
mod alertmanager;
mod calendar;
mod guard;
mod http;
mod mail;
mod pagerduty;
mod slack;
mod teams;
mod webhook;

use std::{sync::Arc, time::Duration};

use dagbok_alerts::{Answered, Message};
use dagbok_config::Secret;
use dagbok_events::hex;
use dagbok_runtime::Clock;
use sha2::{Digest as _, Sha256};

pub(crate) use guard::{Gate, Guard};
pub(crate) use mail::is_mailbox;

use crate::{
    config::Receiver,
    term::calendars::{Asking, Got},
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Whoever can send.
#[derive(Debug)]
pub(crate) struct Senders {
    /// To addresses that the platform names: PagerDuty's, an Alertmanager's, the dead man's switch.
    http: reqwest::Client,
    /// To addresses that anybody may have written: not to internal ones, but for those that are allowed.
    guarded: reqwest::Client,
    gate: Gate,
    clock: Clock,
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        // A provider that moved is to be configured anew: keys are not carried elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("dagbok/", env!("CARGO_PKG_VERSION")))
}

impl Senders {
    pub(crate) fn new(clock: Clock) -> reqwest::Result<Self> {
        let gate = Gate::beside(|name| std::env::var(name).ok());
        // No connection is kept: one that was allowed may be so no more.
        let guarded = client().dns_resolver(Arc::new(gate.clone())).pool_max_idle_per_host(0);
        Ok(Self { http: client().build()?, guarded: guarded.build()?, gate, clock })
    }

    /// From now on these internal addresses may be told.
    pub(crate) fn allow(&self, guard: Guard) {
        self.gate.put(guard);
    }

    /// Says that alerting lives, or what is wrong with it.
    pub(crate) async fn sign(&self, url: &Secret, trouble: Option<&str>) -> Answered {
        let end = if trouble.is_some() { "/fail" } else { "" };
        let address = format!("{}{end}", url.reveal().trim_end_matches('/'));
        let said = trouble.unwrap_or("alerting lives").to_owned();
        http::send(self.http.post(address).body(said), |_| None).await
    }

    /// Asks for a calendar.
    pub(crate) async fn fetch(&self, asking: &Asking) -> Result<Option<Got>, String> {
        self.gate.check_url(asking.url.reveal()).map_err(|error| error.to_string())?;
        calendar::fetch(&self.guarded, asking).await
    }

    /// A client for an address that anybody may have written.
    fn outside(&self, url: &Secret) -> Result<&reqwest::Client, Answered> {
        match self.gate.check_url(url.reveal()) {
            Ok(()) => Ok(&self.guarded),
            Err(error) => Err(Answered::Rejected { status: None, why: error.to_string() }),
        }
    }

    /// Tells a receiver; `name` is the delivery's, the same for each attempt, and `thread` what the provider called the
    /// first message about the alert.
    pub(crate) async fn send(
        &self,
        receiver: &Receiver,
        name: &str,
        thread: Option<&str>,
        message: &Message,
    ) -> Answered {
        self.sent(receiver, name, thread, message).await.unwrap_or_else(|refused| refused)
    }

    async fn sent(
        &self,
        receiver: &Receiver,
        name: &str,
        thread: Option<&str>,
        message: &Message,
    ) -> Result<Answered, Answered> {
        let answered = match receiver {
            Receiver::Webhook { url, secret } => {
                let (key, at) = (secret.as_ref(), self.clock.now());
                webhook::send(self.outside(url)?, url, key, name, message, at).await
            }
            Receiver::Slack { url } => slack::send(self.outside(url)?, url, message).await,
            Receiver::SlackBot { api, token, channel } => {
                let bot = slack::Bot { api, token, channel };
                slack::post(self.outside(api)?, &bot, message, thread).await
            }
            Receiver::Teams { url } => teams::send(self.outside(url)?, url, message).await,
            Receiver::PagerDuty { url, routing_key, .. } => {
                pagerduty::send(&self.http, url, routing_key, message).await
            }
            Receiver::Alertmanager { url, resend } => {
                alertmanager::send(&self.http, url, *resend, message, self.clock.now()).await
            }
            Receiver::Email(mail) => mail::send(mail, name, message).await,
        };
        Ok(answered)
    }
}

/// A delivery's name as a short token: the same for each attempt.
fn token(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes())[..16])
}
