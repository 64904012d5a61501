//! What people read: one message for each purpose, the same from the same history.
use dagbok_events::{Timestamp, hex};
use sha2::{Digest as _, Sha256};

use crate::{
    Alert, AlertScope, AlertState, Gathered, Labels, NotificationAttempted, Policy, Purpose,
    ResolvedWhy, Rule, limits::DETAIL_BYTES,
};

/// The label that says where it stands what to do about an alert.
pub const RUNBOOK: &str = "runbook";

/// How an alert stands, as a message says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Something is wrong.
    Firing,
    /// Somebody has it in hand.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl Status {
    /// As providers read it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// What is sent, before it has any provider's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Number of the alert.
    pub id: u64,
    /// What providers know the alert by.
    pub dedup_key: String,
    /// What is said.
    pub purpose: Purpose,
    /// How the alert stands.
    pub status: Status,
    /// One line.
    pub title: String,
    /// All of it, as plain text.
    pub text: String,
    /// The alert's labels.
    pub labels: Labels,
    /// What else is known.
    pub details: Vec<(String, String)>,
    /// The sequences that justify it.
    pub causes: Vec<u64>,
    /// How often it happened.
    pub count: u32,
    /// When it went wrong.
    pub since: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Where to look.
    pub link: Option<String>,
    /// Where to acknowledge it without logging in; no part of [`Message::text`], which is the same for everybody.
    pub acknowledge: Option<String>,
    /// Where it says what to do about it.
    pub runbook: Option<String>,
    /// Why the receiver's own words could not be used, where it has some.
    pub plain_since: Option<String>,
}

impl Message {
    /// The text with the way to acknowledge it, where there is one.
    pub fn text_with_link(&self) -> String {
        match &self.acknowledge {
            Some(link) => format!("{}\nacknowledge: {link}", self.text),
            None => self.text.clone(),
        }
    }

    /// SHA-256 of the text, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

/// What a message is, besides its alert.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// What is said.
    pub purpose: Purpose,
    /// To whom.
    pub receiver: &'a str,
    /// By which route.
    pub route: &'a str,
    /// What is told with it.
    pub gathers: Option<&'a Gathered>,
}

impl<'a> From<&'a NotificationAttempted> for Telling<'a> {
    fn from(it: &'a NotificationAttempted) -> Self {
        let (receiver, route) = (it.receiver.as_str(), it.route.as_str());
        Self { purpose: it.purpose, receiver, route, gathers: it.gathers.as_ref() }
    }
}

/// The message about an alert as it stands, in the words that its receiver has.
pub fn render(alert: &Alert, telling: &Telling<'_>, policy: &Policy) -> Message {
    let mut message = plain(alert, telling, policy);
    let words = policy.receivers.get(telling.receiver).and_then(|it| it.words.as_ref());
    match words.map(|words| words.of(&message, telling.route, &alert.summary)) {
        None => {}
        Some(Ok((title, text))) => {
            message.title = title.unwrap_or(message.title);
            message.text = text.unwrap_or(message.text);
        }
        Some(Err(why)) => message.plain_since = Some(cut(&why)),
    }
    message
}

/// The same in plain words.
fn plain(alert: &Alert, telling: &Telling<'_>, policy: &Policy) -> Message {
    let Telling { purpose, route, gathers, .. } = *telling;
    let (status, ended_at) = match &alert.state {
        AlertState::Firing => (Status::Firing, None),
        AlertState::Acknowledged { .. } => (Status::Acknowledged, None),
        AlertState::Resolved { at, .. } => (Status::Resolved, Some(*at)),
    };
    let severity = alert.labels.get("severity").map_or("", String::as_str);
    let test = if alert.rule == Rule::Test { "TEST: " } else { "" };
    let head = match purpose {
        Purpose::Trigger | Purpose::Refresh => format!("{test}[{severity}] "),
        Purpose::Acknowledge => format!("{test}[acknowledged] "),
        Purpose::Resolve => format!("{test}[resolved] "),
    };
    let title = cut(&format!("{head}{}", alert.summary));
    let link = policy.external_url.as_deref().and_then(|base| link_of(alert, base));
    let mut lines = vec![title.clone(), String::new()];
    let mut say = |name: &str, value: &str| lines.push(format!("{name}: {value}"));
    for (name, value) in &alert.details {
        say(name, value);
    }
    if alert.count > 1 {
        say("happened", &format!("{} times, last at {}", alert.count, alert.last_at));
    }
    for (name, value) in others(alert, gathers) {
        say(name, &value);
    }
    say("since", &alert.since.to_string());
    let owner = alert.labels.get("owner").map_or("nobody named", String::as_str);
    say("owner", owner);
    say("route", route);
    match &alert.state {
        AlertState::Acknowledged { by, at, .. } => {
            say("acknowledged", &format!("{} at {at}", by.text()));
        }
        AlertState::Resolved { by, at, why, .. } => {
            say("resolved", &format!("{} ({}) at {at}", resolved_text(*why), by.text()));
        }
        AlertState::Firing => {}
    }
    if let Some(link) = &link {
        say("link", link);
    }
    let runbook = alert.labels.get(RUNBOOK).cloned();
    if let Some(runbook) = &runbook {
        say(RUNBOOK, runbook);
    }
    let causes: Vec<String> = alert.causes.iter().map(ToString::to_string).collect();
    if !causes.is_empty() {
        say("log", &format!("records {}", causes.join(", ")));
    }
    say("alert", &format!("{} of namespace {}", alert.id, label(alert, "namespace")));
    Message {
        id: alert.id,
        dedup_key: alert.dedup_key.clone(),
        purpose,
        status,
        title,
        text: lines.join("\n"),
        labels: alert.labels.clone(),
        details: alert.details.clone(),
        causes: alert.causes.clone(),
        count: alert.count,
        since: alert.since,
        ended_at,
        link,
        acknowledge: None,
        runbook,
        plain_since: None,
    }
}

/// What a message tells besides: alerts that are told with this one, and messages that were withheld.
fn others(alert: &Alert, gathers: Option<&Gathered>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if alert.follows.count > 0 {
        lines.push(("told with it", format!("{} more", alert.follows.count)));
        lines.extend(alert.follows.first.iter().map(|summary| ("-", summary.clone())));
    }
    if let Some(gathers) = gathers {
        let count = gathers.alerts.len();
        lines.push(("too much to tell one by one", format!("{count} more")));
        lines.extend(gathers.first.iter().map(|title| ("-", title.clone())));
    }
    lines
}

fn label<'a>(alert: &'a Alert, name: &str) -> &'a str {
    alert.labels.get(name).map_or("", String::as_str)
}

/// Why it is over, for people.
const fn resolved_text(why: ResolvedWhy) -> &'static str {
    match why {
        ResolvedWhy::Recovered => "it recovered",
        ResolvedWhy::ByHand => "closed by hand",
        ResolvedWhy::Superseded => "it happened again, see the next alert",
        ResolvedWhy::Tested => "the test is over",
    }
}

/// The address of the run or the DAG that it is about, as Airflow's UI has them.
fn link_of(alert: &Alert, base: &str) -> Option<String> {
    let base = base.trim_end_matches('/');
    match (&alert.scope, alert.runs.last()) {
        (_, Some(run)) => {
            Some(format!("{base}/dags/{}/runs/{}", run.dag_id, encoded(run.run_id.as_str())))
        }
        (AlertScope::Dag(dag_id) | AlertScope::Task(dag_id, _), None) => {
            Some(format!("{base}/dags/{dag_id}"))
        }
        (
            AlertScope::File(_)
            | AlertScope::Receiver(_)
            | AlertScope::Heartbeat(_)
            | AlertScope::Schedule(_)
            | AlertScope::Store(_)
            | AlertScope::Namespace,
            None,
        ) => None,
    }
}

/// What of a run's id an address takes otherwise.
fn encoded(id: &str) -> String {
    id.replace('+', "%2B").replace(':', "%3A")
}

/// A text of bounded length, on one line where it is long.
pub(crate) fn cut(text: &str) -> String {
    dagbok_protocol::text::cut(text, DETAIL_BYTES)
}
