//! `alerting.toml`: read, checked, and held against what is allowed, with the line of what is wrong.
mod build;
mod crew;
mod file;
pub(crate) mod ical;
mod place;
mod reload;
mod routes;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use dagbok_alerts::Policy;
use dagbok_config::Secret;
use dagbok_events::{Micros, Timestamp, hex};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub(crate) use crew::{named_strangers, of_people};
pub(crate) use file::MailTls;
pub(crate) use reload::{Looked, Reloader};

use crate::receivers::{Gate, Guard};

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// Which file.
    pub file: PathBuf,
    /// Where in it, from 1; `None` where it is about the whole.
    pub line: Option<usize>,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            Some(line) => write!(f, "`{}`, line {line}: {what}", file.display()),
            None => write!(f, "`{}`: {what}", file.display()),
        }
    }
}

/// A configuration that can be put in force.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Who is told of what.
    pub policy: Policy,
    /// How each is told.
    pub(crate) receivers: BTreeMap<String, Receiver>,
    /// Where signs of life go.
    pub(crate) switch: Option<Secret>,
    /// What links are signed with.
    pub(crate) links: Option<Secret>,
    /// Which internal addresses may be told.
    pub(crate) guard: Guard,
    /// Calendars that are had by their addresses, by their schedules. What they say is not in the policy.
    pub(crate) calendars: BTreeMap<String, Calendar>,
    /// Files of calendars.
    pub(crate) files: Vec<PathBuf>,
}

/// A calendar that is had by its address.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    /// The address.
    pub(crate) url: Secret,
    /// How often it is asked for.
    pub(crate) every: Duration,
    /// The clock that times without a zone go by.
    pub(crate) zone: TimeZone,
}

impl Loaded {
    /// What can't be reached since the guard does not let it, names looked up as they would be: for whoever edits the
    /// configuration. A name that nobody knows just now is none of them.
    pub async fn guarded(&self) -> Vec<String> {
        let gate = Gate::beside(|name| std::env::var(name).ok());
        gate.put(self.guard.clone());
        let mut refused = Vec::new();
        for (what, url) in build::guarded(&self.receivers, &self.calendars) {
            let found = gate.refuses(url.reveal()).await;
            refused.extend(found.map(|why| format!("{what} can't be reached: {why}")));
        }
        refused
    }

    /// Whether somebody outside is told that alerting lives.
    pub fn is_watched(&self) -> bool {
        self.switch.is_some()
    }
}

/// How everybody is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways {
    /// Receivers by name.
    pub(crate) receivers: BTreeMap<String, Receiver>,
    /// Where signs of life go.
    pub(crate) switch: Option<Secret>,
    /// What links are signed with; the machine's own key where nobody says.
    pub(crate) links: Option<Secret>,
    /// Which internal addresses may be told.
    pub(crate) guard: Guard,
    /// Calendars that are had by their addresses, by their schedules.
    pub(crate) calendars: BTreeMap<String, Calendar>,
}

impl From<Loaded> for Ways {
    fn from(loaded: Loaded) -> Self {
        let Loaded { receivers, switch, links, guard, calendars, .. } = loaded;
        Self { receivers, switch, links, guard, calendars }
    }
}

/// How somebody is told. Secrets are in here, and in nothing that is shown or recorded.
#[derive(Clone, Debug)]
pub(crate) enum Receiver {
    /// A web address of the user's own.
    Webhook {
        /// The address.
        url: Secret,
        /// What signatures are made with.
        secret: Option<Secret>,
    },
    /// A Slack channel, by its incoming webhook.
    Slack {
        /// The address, which is the secret.
        url: Secret,
    },
    /// A Slack channel, by an app that is in it.
    SlackBot {
        /// The address of Slack's API.
        api: Secret,
        /// The app's bot token.
        token: Secret,
        /// The channel.
        channel: String,
    },
    /// A channel of Microsoft Teams, by a workflow's webhook.
    Teams {
        /// The address, which is the secret.
        url: Secret,
    },
    /// A PagerDuty service, by Events v2.
    PagerDuty {
        /// The address of the events API.
        url: Secret,
        /// The service's integration key.
        routing_key: Secret,
        /// What its webhooks are signed with.
        webhook_secret: Option<Secret>,
    },
    /// A Prometheus Alertmanager, by its API v2.
    Alertmanager {
        /// The address of its API.
        url: Secret,
        /// After what time it is told again.
        resend: Micros,
    },
    /// Mailboxes.
    Email(Box<Mail>),
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// The server.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// How the connection is kept from others' eyes.
    pub(crate) tls: MailTls,
    /// Who it is from.
    pub(crate) from: String,
    /// Who it is to.
    pub(crate) to: Vec<String>,
    /// Whether it is to those whom the DAG's file names too.
    pub(crate) dag_email: bool,
    /// Who logs in, and with what.
    pub(crate) login: Option<(String, Secret)>,
}

/// The JSON schema of `alerting.toml`.
pub fn schema() -> serde_json::Value {
    file::schema()
}

/// Reads a configuration's text. `path` is for messages, and where relative paths of secrets begin; calendars are read
/// around `now`.
pub fn load(path: &Path, text: &str, now: Timestamp) -> Result<Loaded, ConfigError> {
    let file = place::read(path, text)?;
    build::loaded((path, text), &file, true, now)
}

/// The same, where files of calendars can't be read: nobody is on call by them.
pub(crate) fn load_without_calendars(
    path: &Path,
    text: &str,
    now: Timestamp,
) -> Result<Loaded, ConfigError> {
    let mut file = place::read(path, text)?;
    file.without_calendars();
    build::loaded((path, text), &file, true, now)
}

/// Reads all but secrets: nobody can be told anything by what it answers.
pub fn load_without_secrets(
    path: &Path,
    text: &str,
    now: Timestamp,
) -> Result<Loaded, ConfigError> {
    let file = place::read(path, text)?;
    build::loaded((path, text), &file, false, now)
}

/// Reads who is told of what, and no secret.
pub fn load_policy(path: &Path, text: &str, now: Timestamp) -> Result<Policy, ConfigError> {
    load_without_secrets(path, text, now).map(|loaded| loaded.policy)
}

/// Reads a configuration that somebody only tries: no secret of it, and no file that it names.
pub(crate) fn load_tried(text: &str, now: Timestamp) -> Result<Policy, ConfigError> {
    let path = Path::new("alerting.toml");
    let file = place::read(path, text)?;
    let has_calendar = |it: &crew::ScheduleSection| it.ical.is_some() || it.ical_url.is_some();
    if let Some((name, _)) = file.schedules.iter().find(|(_, it)| has_calendar(it)) {
        let what = format!("`schedules.{name}.ical`: what is only tried names no calendar");
        return Err(ConfigError { file: path.to_owned(), line: None, what });
    }
    build::loaded((path, text), &file, false, now).map(|loaded| loaded.policy)
}

/// SHA-256 of a configuration's text, in hexadecimal.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
