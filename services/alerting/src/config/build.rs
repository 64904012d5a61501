//! From what the file says to what is put in force.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use dagbok_alerts::{Chain, Matcher, Policy, ReceiverRules, Route, Step};
use dagbok_config::{Period, Secret};
use dagbok_events::Micros;
use url::Url;

use super::{
    ConfigError, Loaded, Mail, MailTls, Receiver,
    file::{
        ChainSection, EmailSection, File, ReceiverSection, RouteSection, SecretRef, WebhookSection,
    },
    place::line_of,
};

/// How long further causes wait, where nobody says.
const GROUP_INTERVAL: Period = Period::secs(300);
/// When an alert is told again, where nobody says.
const REPEAT_INTERVAL: Period = Period::secs(4 * 3_600);

/// What is being read, for errors.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

type Checked<T> = Result<T, ConfigError>;

impl Source<'_> {
    fn wrong(&self, at: &[&str], what: impl std::fmt::Display) -> ConfigError {
        let line = line_of(self.text, at);
        ConfigError {
            file: self.path.to_owned(),
            line,
            what: format!("`{}`: {what}", at.join(".")),
        }
    }

    /// Reads a secret from where it is kept.
    fn secret(&self, at: &[&str], from: &SecretRef) -> Checked<Secret> {
        let text = match (&from.env, &from.file) {
            (Some(name), None) => std::env::var(name).map_err(|_| {
                self.wrong(
                    at,
                    format!("the environment variable `{name}` is not set, or is no text"),
                )
            })?,
            (None, Some(file)) => {
                let folder = self.path.parent().unwrap_or(Path::new("."));
                let file = folder.join(file);
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

    fn url(&self, at: &[&str], text: &str) -> Checked<Secret> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url.filter(Url::has_host) {
            Some(_) => Ok(Secret::new(text)),
            None => Err(self.wrong(at, "an address begins with `https://` or `http://`")),
        }
    }
}

pub(super) fn loaded(path: &Path, text: &str, file: &File) -> Checked<Loaded> {
    let source = Source { path, text };
    let (mut rules, mut receivers) = (BTreeMap::new(), BTreeMap::new());
    for (name, section) in &file.receivers {
        let receiver = receiver(&source, name, section)?;
        let acknowledges = matches!(receiver, Receiver::PagerDuty { .. });
        let resolves = section.send_resolved;
        let fallback = section.fallback.clone();
        rules.insert(name.clone(), ReceiverRules { fallback, resolves, acknowledges });
        receivers.insert(name.clone(), receiver);
    }
    let mut chains = BTreeMap::new();
    for (name, section) in &file.chains {
        chains.insert(name.clone(), chain(&source, name, section, file)?);
    }
    let root = match &file.route {
        Some(section) => Some(root(&source, file, &chains, section)?),
        None => only_receiver(&source, file)?,
    };
    if let Some(url) = &file.external_url {
        source.url(&["external_url"], url)?;
    }
    let policy = Policy { receivers: rules, root, external_url: file.external_url.clone() };
    policy.check().map_err(|error| match &error {
        dagbok_alerts::PolicyError::Circle { name } => {
            source.wrong(&["receivers", name, "fallback"], &error)
        }
        _ => source.wrong(&["receivers"], &error),
    })?;
    let warnings = unused(file);
    Ok(Loaded { policy, receivers, warnings })
}

/// Without a route the one receiver is told of everything.
fn only_receiver(source: &Source<'_>, file: &File) -> Checked<Option<Route>> {
    let mut names = file.receivers.keys();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => Ok(Some(Route {
            name: "platform".to_owned(),
            matchers: Vec::new(),
            chain: Chain::of(only, micros(Period::secs(300))),
            goes_on: false,
            group_interval: micros(GROUP_INTERVAL),
            repeat_interval: micros(REPEAT_INTERVAL),
            routes: Vec::new(),
        })),
        (Some(_), Some(_)) => {
            let what =
                "there are several, so `[route]` has to say which is told: `receiver = \"NAME\"`";
            Err(source.wrong(&["receivers"], what))
        }
    }
}

fn root(
    source: &Source<'_>,
    file: &File,
    chains: &BTreeMap<String, Chain>,
    section: &RouteSection,
) -> Checked<Route> {
    if !section.matchers.is_empty() {
        let what = "the root takes everything; put matchers into `[[route.routes]]`";
        return Err(source.wrong(&["route", "matchers"], what));
    }
    if section.receiver.is_none() && section.chain.is_none() {
        let what = "the root says who is told of what no other route takes: `receiver` or `chain`";
        return Err(source.wrong(&["route"], what));
    }
    let above = Route {
        name: "platform".to_owned(),
        matchers: Vec::new(),
        chain: Chain { steps: Vec::new(), repeat: 0 },
        goes_on: false,
        group_interval: micros(GROUP_INTERVAL),
        repeat_interval: micros(REPEAT_INTERVAL),
        routes: Vec::new(),
    };
    let mut root = route(source, file, chains, &above, section, &["route".to_owned()])?;
    root.name = section.name.clone().unwrap_or_else(|| "platform".to_owned());
    Ok(root)
}

fn route(
    source: &Source<'_>,
    file: &File,
    chains: &BTreeMap<String, Chain>,
    above: &Route,
    section: &RouteSection,
    at: &[String],
) -> Checked<Route> {
    let place = |more: &[&str]| -> Vec<String> {
        at.iter().cloned().chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    let wrong = |more: &[&str], what: &dyn std::fmt::Display| {
        let place = place(more);
        source.wrong(&place.iter().map(String::as_str).collect::<Vec<_>>(), what)
    };
    let parse = |(index, text): (usize, &String)| {
        let index = index.to_string();
        text.parse::<Matcher>().map_err(|error| wrong(&["matchers", &index], &error))
    };
    let matchers = section.matchers.iter().enumerate().map(parse).collect::<Checked<Vec<_>>>()?;
    let chain = match (&section.receiver, &section.chain) {
        (Some(_), Some(_)) => {
            return Err(wrong(&["chain"], &"a route has a `receiver` or a `chain`, not both"));
        }
        (Some(name), None) => {
            known(file, name).map_err(|what| wrong(&["receiver"], &what))?;
            Chain::of(name, micros(Period::secs(300)))
        }
        (None, Some(name)) => chains.get(name).cloned().ok_or_else(|| {
            let there: Vec<&str> = chains.keys().map(String::as_str).collect();
            wrong(&["chain"], &format!("there is no chain `{name}`; there are: {}", list(&there)))
        })?,
        (None, None) => above.chain.clone(),
    };
    let within = |name: &str, period: Option<Period>, otherwise: Micros| match period {
        Some(period) if period.0.as_secs() < 1 || period > Period::LONGEST => {
            Err(wrong(&[name], &"from `1s` to a year"))
        }
        Some(period) => Ok(micros(period)),
        None => Ok(otherwise),
    };
    let mut made = Route {
        name: section.name.clone().unwrap_or_else(|| section.matchers.join(", ")),
        matchers,
        chain,
        goes_on: section.goes_on,
        group_interval: within("group_interval", section.group_interval, above.group_interval)?,
        repeat_interval: within("repeat_interval", section.repeat_interval, above.repeat_interval)?,
        routes: Vec::new(),
    };
    for (index, inside) in section.routes.iter().enumerate() {
        let at = place(&["routes", &index.to_string()]);
        let inside = route(source, file, chains, &made, inside, &at)?;
        made.routes.push(inside);
    }
    Ok(made)
}

fn chain(source: &Source<'_>, name: &str, section: &ChainSection, file: &File) -> Checked<Chain> {
    if section.steps.is_empty() {
        return Err(source.wrong(&["chains", name, "steps"], "a chain has at least one step"));
    }
    if section.repeat > 100 {
        return Err(source.wrong(&["chains", name, "repeat"], "from 0 to 100"));
    }
    let mut steps = Vec::new();
    for (index, step) in section.steps.iter().enumerate() {
        let index = index.to_string();
        let at = ["chains", name, "steps", &index];
        if step.receivers.is_empty() {
            return Err(source.wrong(&at, "a step tells at least one receiver"));
        }
        if step.wait.0.as_secs() < 1 || step.wait > Period::LONGEST {
            return Err(source.wrong(&[&at[..], &["wait"]].concat(), "from `1s` to a year"));
        }
        for receiver in &step.receivers {
            known(file, receiver)
                .map_err(|what| source.wrong(&[&at[..], &["receivers"]].concat(), what))?;
        }
        steps.push(Step { receivers: step.receivers.clone(), wait: micros(step.wait) });
    }
    Ok(Chain { steps, repeat: section.repeat })
}

fn known(file: &File, name: &str) -> Result<(), String> {
    if file.receivers.contains_key(name) {
        return Ok(());
    }
    let there: Vec<&str> = file.receivers.keys().map(String::as_str).collect();
    Err(format!("there is no receiver `{name}`; there are: {}", list(&there)))
}

fn list(names: &[&str]) -> String {
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
        section.email.is_some(),
        section.pagerduty.is_some(),
        section.alertmanager.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() != 1 {
        let what = "a receiver is told in one way: `webhook`, `slack`, `email`, `pagerduty` or `alertmanager`";
        return Err(source.wrong(&["receivers", name], what));
    }
    if let Some(webhook) = &section.webhook {
        return hook(source, name, webhook);
    }
    if let Some(slack) = &section.slack {
        return Ok(Receiver::Slack {
            url: source.secret(&["receivers", name, "slack", "url"], &slack.url)?,
        });
    }
    if let Some(pagerduty) = &section.pagerduty {
        let url = source.url(&["receivers", name, "pagerduty", "url"], &pagerduty.url)?;
        let routing_key = source
            .secret(&["receivers", name, "pagerduty", "routing_key"], &pagerduty.routing_key)?;
        return Ok(Receiver::PagerDuty { url, routing_key });
    }
    if let Some(alertmanager) = &section.alertmanager {
        let url = source.url(&["receivers", name, "alertmanager", "url"], &alertmanager.url)?;
        return Ok(Receiver::Alertmanager { url });
    }
    let email = section.email.as_ref().expect("one of the five is there");
    mail(source, name, email).map(|mail| Receiver::Email(Box::new(mail)))
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
        return Err(source.wrong(&at("to"), "somebody is to be told"));
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
        login,
    })
}

/// Receivers and chains that nothing names.
fn unused(file: &File) -> Vec<String> {
    let Some(root) = &file.route else { return Vec::new() };
    let mut named = Named::default();
    named.add(root);
    for (_, chain) in file.chains.iter().filter(|(name, _)| named.chains.contains(name.as_str())) {
        let told = chain.steps.iter().flat_map(|step| &step.receivers);
        named.receivers.extend(told.map(String::as_str));
    }
    named.receivers.extend(file.receivers.values().filter_map(|it| it.fallback.as_deref()));
    let lonely = file.receivers.keys().filter(|name| !named.receivers.contains(name.as_str()));
    let idle = file.chains.keys().filter(|name| !named.chains.contains(name.as_str()));
    lonely
        .map(|name| format!("nothing names the receiver `{name}`: it is never told"))
        .chain(idle.map(|name| format!("nothing names the chain `{name}`")))
        .collect()
}

/// What routes name.
#[derive(Default)]
struct Named<'a> {
    receivers: BTreeSet<&'a str>,
    chains: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn add(&mut self, route: &'a RouteSection) {
        self.receivers.extend(route.receiver.as_deref());
        self.chains.extend(route.chain.as_deref());
        route.routes.iter().for_each(|inside| self.add(inside));
    }
}

fn micros(period: Period) -> Micros {
    Micros(i64::try_from(period.0.as_micros()).unwrap_or(i64::MAX))
}
