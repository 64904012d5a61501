//! From what the file says to what is put in force.
use std::{collections::BTreeMap, path::Path};

use dagbok_alerts::{Limit, Policy, ReceiverRules, Words, limits::PACE};
use dagbok_config::{Period, Secret};
use dagbok_events::{Micros, Timestamp};
use url::Url;

use super::{
    Calendar, ConfigError, Loaded, Mail, MailTls, Receiver, crew,
    file::{
        EmailSection, File, LimitSection, LinksSection, ReceiverSection, SecretRef, SlackSection,
        TemplateSection, WebhookSection,
    },
    place::line_of,
    routes,
};
use crate::receivers::Guard;

/// What is being read, for errors.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    /// Whether secrets are read from where they are kept.
    reads_secrets: bool,
    /// Around when repeating shifts are looked for.
    pub(super) now: Timestamp,
}

/// What stands for a secret that is not read: nobody can be told anything by it.
const UNREAD: &str = "https://unread.invalid/";

pub(super) type Checked<T> = Result<T, ConfigError>;

impl Source<'_> {
    pub(super) fn wrong(&self, at: &[&str], what: impl std::fmt::Display) -> ConfigError {
        let line = line_of(self.text, at);
        ConfigError {
            file: self.path.to_owned(),
            line,
            what: format!("`{}`: {what}", at.join(".")),
        }
    }

    /// Reads a secret from where it is kept.
    pub(super) fn secret(&self, at: &[&str], from: &SecretRef) -> Checked<Secret> {
        let text = match (&from.env, &from.file) {
            (Some(_), None) | (None, Some(_)) if !self.reads_secrets => UNREAD.to_owned(),
            (Some(name), None) => std::env::var(name).map_err(|_| {
                self.wrong(
                    at,
                    format!("the environment variable `{name}` is not set, or is no text"),
                )
            })?,
            (None, Some(file)) => {
                let file = self.beside(file);
                std::fs::read_to_string(&file).map_err(|error| {
                    self.wrong(at, format!("the file `{}` can't be read: {error}", file.display()))
                })?
            }
            _ => {
                let what =
                    "a secret is `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, one of the two";
                return Err(self.wrong(at, what));
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(self.wrong(at, "the secret is empty"));
        }
        Ok(Secret::new(text))
    }

    /// A path as the file has it.
    pub(super) fn beside(&self, file: &Path) -> std::path::PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(file)
    }

    pub(super) fn url(&self, at: &[&str], text: &str) -> Checked<Secret> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url.filter(Url::has_host) {
            Some(_) => Ok(Secret::new(text)),
            None => Err(self.wrong(at, "an address begins with `https://` or `http://`")),
        }
    }
}

pub(super) fn loaded(
    (path, text): (&Path, &str),
    file: &File,
    reads_secrets: bool,
    now: Timestamp,
) -> Checked<Loaded> {
    let source = Source { path, text, reads_secrets, now };
    let (rules, receivers) = all_receivers(&source, file)?;
    let mut chains = BTreeMap::new();
    for (name, section) in &file.chains {
        chains.insert(name.clone(), routes::chain(&source, name, section, file)?);
    }
    let root = match &file.route {
        Some(section) => Some(routes::root(&source, file, &chains, section)?),
        None => routes::only_receiver(&source, file)?,
    };
    if let Some(url) = &file.external_url {
        source.url(&["external_url"], url)?;
    }
    let (mut switch, mut sign_every) = (None, None);
    if let Some(section) = &file.dead_mans_switch {
        if section.every < Period::secs(1) || section.every > Period::secs(3_600) {
            return Err(source.wrong(&["dead_mans_switch", "every"], "from `1s` to an hour"));
        }
        let url = source.secret(&["dead_mans_switch", "url"], &section.url)?;
        switch = Some(source.url(&["dead_mans_switch", "url"], url.reveal())?);
        sign_every = Some(micros(section.every));
    }
    let links = file.links.as_ref().map(|section| links(&source, section)).transpose()?;
    let inhibitions = file.inhibit.iter().enumerate();
    let inhibitions = inhibitions.map(|(n, it)| routes::inhibition(&source, n, it));
    let thresholds = file.thresholds.iter().enumerate();
    let thresholds = thresholds.map(|(n, it)| routes::thresholds(&source, n, it));
    let calendars = crew::calendars(&source, file)?;
    let unread = calendars.keys().filter(|_| !reads_secrets);
    let mut policy = Policy {
        unread: unread.cloned().collect(),
        notes: routes::unused(file),
        receivers: rules,
        root,
        external_url: file.external_url.clone(),
        inhibitions: inhibitions.collect::<Checked<_>>()?,
        crew: crew::crew(&source, file)?,
        sign_every,
        thresholds: thresholds.collect::<Checked<_>>()?,
        disk_low: routes::disk_low(&source, file)?,
        mute_times: crew::mute_times(&source, file)?,
        runbooks: routes::runbooks(&source, file)?,
    };
    policy.check().map_err(|error| match &error {
        dagbok_alerts::PolicyError::Circle { name } => {
            source.wrong(&["receivers", name, "fallback"], &error)
        }
        _ => source.wrong(&["receivers"], &error),
    })?;
    let guard = guard(&source, file)?;
    for (name, schedule) in &policy.crew.schedules {
        policy.notes.extend(schedule.trouble.iter().map(|why| crew::named_strangers(name, why)));
    }
    for (what, url) in guarded(&receivers, &calendars) {
        let refused = guard.check_url(url.reveal()).err();
        policy.notes.extend(refused.map(|why| format!("{what} can't be reached: {why}")));
    }
    let files = crew::calendar_files(&source, file);
    Ok(Loaded { policy, receivers, switch, links, guard, calendars, files })
}

/// Receivers, as the rules know them and as they are told.
fn all_receivers(
    source: &Source<'_>,
    file: &File,
) -> Checked<(BTreeMap<String, ReceiverRules>, BTreeMap<String, Receiver>)> {
    let (mut rules, mut receivers) = (BTreeMap::new(), BTreeMap::new());
    for (name, section) in &file.receivers {
        let receiver = receiver(source, name, section)?;
        let acknowledges =
            matches!(receiver, Receiver::PagerDuty { .. } | Receiver::SlackBot { .. });
        let resolves = section.send_resolved;
        let fallback = section.fallback.clone();
        let limit = section.limit.map(|it| limit(source, name, it)).transpose()?;
        let words = section.template.as_ref().map(|it| words(source, name, it)).transpose()?;
        let mails_dags = section.email.as_ref().is_some_and(|email| email.dag_email);
        let refresh = match &receiver {
            Receiver::Alertmanager { resend, .. } => Some(*resend),
            _ => None,
        };
        let expires = section.expires.as_ref().map(|it| expires(source, name, it)).transpose()?;
        let known = ReceiverRules {
            fallback,
            resolves,
            acknowledges,
            mails_dags,
            limit,
            words,
            refresh,
            expires,
        };
        rules.insert(name.clone(), known);
        receivers.insert(name.clone(), receiver);
    }
    Ok((rules, receivers))
}

/// Which internal addresses may be gone to.
/// What goes by addresses that the guard looks at, and the addresses.
pub(super) fn guarded<'a>(
    receivers: &'a BTreeMap<String, Receiver>,
    calendars: &'a BTreeMap<String, Calendar>,
) -> impl Iterator<Item = (String, &'a Secret)> {
    let hooks = receivers.iter().filter_map(|(name, it)| match it {
        Receiver::Webhook { url, .. }
        | Receiver::Slack { url }
        | Receiver::SlackBot { api: url, .. }
        | Receiver::Teams { url } => Some((format!("the receiver `{name}`"), url)),
        Receiver::PagerDuty { .. } | Receiver::Alertmanager { .. } | Receiver::Email(_) => None,
    });
    let calendars = calendars.iter();
    hooks.chain(calendars.map(|(name, it)| (format!("the calendar of `{name}`"), &it.url)))
}

fn guard(source: &Source<'_>, file: &File) -> Checked<Guard> {
    let mut guard = Guard::default();
    for (index, text) in file.guard.allow.iter().enumerate() {
        let at = ["guard", "allow", &index.to_string()];
        guard.allow(text).map_err(|what| source.wrong(&at, what))?;
    }
    Ok(guard)
}

/// How much a receiver is told one by one.
fn limit(source: &Source<'_>, name: &str, section: LimitSection) -> Checked<Limit> {
    let LimitSection { messages, per } = section;
    let most = u32::try_from(PACE).unwrap_or(u32::MAX);
    if messages == 0 || messages > most {
        let at = ["receivers", name, "limit", "messages"];
        return Err(source.wrong(&at, format!("from 1 to {most}")));
    }
    if per < Period::secs(1) || per > Period::secs(86_400) {
        let at = ["receivers", name, "limit", "per"];
        return Err(source.wrong(&at, "from `1s` to `24h`"));
    }
    Ok(Limit { messages, per: micros(per) })
}

/// When what a receiver is told by holds no more: with that day's end anywhere.
fn expires(source: &Source<'_>, name: &str, text: &str) -> Checked<Timestamp> {
    let at = ["receivers", name, "expires"];
    let day: jiff::civil::Date = text
        .parse()
        .map_err(|_| source.wrong(&at, format!("`{text}` is no day, as `2027-03-31`")))?;
    let end = day.tomorrow().and_then(|it| it.to_zoned(jiff::tz::TimeZone::UTC));
    let end = end.map_err(|error| source.wrong(&at, error))?;
    Ok(Timestamp(end.timestamp().as_microsecond()))
}

/// In which words a receiver is told.
fn words(source: &Source<'_>, name: &str, section: &TemplateSection) -> Checked<Words> {
    if section.title.is_none() && section.text.is_none() {
        return Err(source.wrong(&["receivers", name, "template"], "say `title` or `text`"));
    }
    Words::new(section.title.clone(), section.text.clone()).map_err(|error| {
        let part = if error.is_title { "title" } else { "text" };
        source.wrong(&["receivers", name, "template", part], &error)
    })
}

/// What links are signed with.
fn links(source: &Source<'_>, section: &LinksSection) -> Checked<Secret> {
    let at = ["links", "key"];
    let key = source.secret(&at, &section.key)?;
    if source.reads_secrets && key.reveal().len() < 32 {
        let what =
            "a key that can't be guessed: 32 characters or more, as `openssl rand -hex 32` gives";
        return Err(source.wrong(&at, what));
    }
    Ok(key)
}

pub(super) fn known(file: &File, name: &str) -> Result<(), String> {
    if file.receivers.contains_key(name) {
        return Ok(());
    }
    let there: Vec<&str> = file.receivers.keys().map(String::as_str).collect();
    Err(format!("there is no receiver `{name}`; there are: {}", list(&there)))
}

pub(super) fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn receiver(source: &Source<'_>, name: &str, section: &ReceiverSection) -> Checked<Receiver> {
    let at = |part: &'static str| ["receivers", name, part];
    if let Some(fallback) = section.fallback.as_ref().filter(|it| *it == name) {
        let what = format!("`{fallback}` can't stand in for itself");
        return Err(source.wrong(&at("fallback"), what));
    }
    let ways = [
        section.webhook.is_some(),
        section.slack.is_some(),
        section.teams.is_some(),
        section.email.is_some(),
        section.pagerduty.is_some(),
        section.alertmanager.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() != 1 {
        let what = "a receiver is told in one way: `webhook`, `slack`, `teams`, `email`, `pagerduty` or `alertmanager`";
        return Err(source.wrong(&["receivers", name], what));
    }
    if let Some(webhook) = &section.webhook {
        return hook(source, name, webhook);
    }
    if let Some(slack) = &section.slack {
        return channel(source, name, slack);
    }
    if let Some(teams) = &section.teams {
        let url = source.secret(&["receivers", name, "teams", "url"], &teams.url)?;
        return Ok(Receiver::Teams { url });
    }
    if let Some(pagerduty) = &section.pagerduty {
        let url = source.url(&["receivers", name, "pagerduty", "url"], &pagerduty.url)?;
        let routing_key = source
            .secret(&["receivers", name, "pagerduty", "routing_key"], &pagerduty.routing_key)?;
        let at = ["receivers", name, "pagerduty", "webhook_secret"];
        let webhook_secret = pagerduty.webhook_secret.as_ref();
        let webhook_secret = webhook_secret.map(|from| source.secret(&at, from)).transpose()?;
        return Ok(Receiver::PagerDuty { url, routing_key, webhook_secret });
    }
    if let Some(alertmanager) = &section.alertmanager {
        let url = source.url(&["receivers", name, "alertmanager", "url"], &alertmanager.url)?;
        let (resend, at) = (alertmanager.resend, ["receivers", name, "alertmanager", "resend"]);
        if resend < Period::secs(1) || resend > Period::secs(86_400) {
            return Err(source.wrong(&at, "from `1s` to `24h`"));
        }
        return Ok(Receiver::Alertmanager { url, resend: micros(resend) });
    }
    let email = section.email.as_ref().expect("one of the six is there");
    mail(source, name, email).map(|mail| Receiver::Email(Box::new(mail)))
}

fn channel(source: &Source<'_>, name: &str, slack: &SlackSection) -> Checked<Receiver> {
    let at = |part: &'static str| ["receivers", name, "slack", part];
    match (&slack.url, &slack.token, &slack.channel) {
        (Some(url), None, None) => Ok(Receiver::Slack { url: source.secret(&at("url"), url)? }),
        (None, Some(token), Some(channel)) => {
            if channel.trim_start_matches('#').is_empty() || channel.len() > 100 {
                return Err(source.wrong(&at("channel"), "as `C0123456789` or `#ml`"));
            }
            let api = source.url(&at("api_url"), &slack.api_url)?;
            let token = source.secret(&at("token"), token)?;
            Ok(Receiver::SlackBot { api, token, channel: channel.clone() })
        }
        _ => {
            let what = "Slack is told by a webhook's `url`, or by a bot's `token` in a `channel`";
            Err(source.wrong(&["receivers", name, "slack"], what))
        }
    }
}

fn hook(source: &Source<'_>, name: &str, webhook: &WebhookSection) -> Checked<Receiver> {
    let at = |part: &'static str| ["receivers", name, "webhook", part];
    let url = match (&webhook.url, &webhook.url_from) {
        (Some(url), None) => source.url(&at("url"), url)?,
        (None, Some(from)) => source.secret(&at("url_from"), from)?,
        _ => {
            let what = "a webhook has `url` or `url_from`, one of the two";
            return Err(source.wrong(&["receivers", name, "webhook"], what));
        }
    };
    let secret = webhook.secret.as_ref().map(|from| source.secret(&at("secret"), from));
    Ok(Receiver::Webhook { url, secret: secret.transpose()? })
}

fn mail(source: &Source<'_>, name: &str, email: &EmailSection) -> Checked<Mail> {
    let at = |part: &'static str| ["receivers", name, "email", part];
    let usual = match email.tls {
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    };
    let (host, port) = match email.smarthost.rsplit_once(':') {
        Some((host, port)) => {
            let port = port
                .parse()
                .map_err(|_| source.wrong(&at("smarthost"), "as `mail.example.org:587`"))?;
            (host, port)
        }
        None => (email.smarthost.as_str(), usual),
    };
    if email.to.is_empty() {
        let what = "somebody is to be told, also of what has no DAG whose file names a mailbox";
        return Err(source.wrong(&at("to"), what));
    }
    for (part, address) in email.to.iter().map(|to| ("to", to)).chain([("from", &email.from)]) {
        if !crate::receivers::is_mailbox(address) {
            return Err(source.wrong(&at(part), format!("`{address}` is no mail address")));
        }
    }
    let login = match (&email.username, &email.password) {
        (Some(user), Some(password)) => {
            Some((user.clone(), source.secret(&at("password"), password)?))
        }
        (None, None) => None,
        _ => {
            return Err(source
                .wrong(&["receivers", name, "email"], "`username` and `password` go together"));
        }
    };
    if login.is_some() && email.tls == MailTls::None {
        return Err(
            source.wrong(&at("tls"), "a password is not sent in clear: `starttls` or `tls`")
        );
    }
    Ok(Mail {
        host: host.to_owned(),
        port,
        tls: email.tls,
        from: email.from.clone(),
        to: email.to.clone(),
        dag_email: email.dag_email,
        login,
    })
}

pub(super) fn micros(period: Period) -> Micros {
    Micros(i64::try_from(period.0.as_micros()).unwrap_or(i64::MAX))
}
