//! What each service asks for on NATS, subject by subject, and what a user may do by the server's own word. The list is
//! held to `deploy/nats/users.conf` by a test, so that neither says more or less than the other.
use dagbok_runlog::PortResult;
use serde::Deserialize;

use crate::{
    error::AskError,
    link::{Link, read_answer},
};

/// Where a server says what whoever asks may do.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// Services that have users of their own.
pub const SERVICES: [&str; 6] =
    ["scheduler", "executor", "triggerer", "processor", "ui", "alerting"];

/// What may be done on which subjects; an empty list of what is allowed allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Granted {
    /// Patterns that are allowed.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Patterns that are denied all the same.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Permissions {
    /// What it may send.
    #[serde(default)]
    pub publish: Granted,
    /// What it may hear.
    #[serde(default)]
    pub subscribe: Granted,
}

impl Granted {
    /// Whether all of a pattern is granted.
    pub fn has(&self, wanted: &str) -> bool {
        let covers = |patterns: &[String]| patterns.iter().any(|it| covers(it, wanted));
        (self.allow.is_empty() || covers(&self.allow)) && !covers(&self.deny)
    }

    /// Whether surely nothing of a pattern is granted. Who grants it piece by piece, by the names of streams and
    /// queues, grants all that is asked for without that one pattern covers it.
    pub fn lacks(&self, wanted: &str) -> bool {
        let touched = self.allow.is_empty() || self.allow.iter().any(|it| meets(it, wanted));
        !touched || self.deny.iter().any(|it| covers(it, wanted))
    }
}

impl Permissions {
    /// What of a service's subjects in a namespace is surely not granted, sending first; an executor's are of `queues`.
    pub fn missing(&self, service: &str, namespace: &str, queues: &[String]) -> Vec<String> {
        let sends = published(service, namespace, queues).into_iter();
        let sends = sends.filter(|it| self.publish.lacks(it)).map(|it| format!("publish {it}"));
        let hears = subscribed(namespace).into_iter();
        let hears = hears.filter(|it| self.subscribe.lacks(it)).map(|it| format!("subscribe {it}"));
        sends.chain(hears).collect()
    }

    /// What a scheduler can't lead without, of what is surely not granted.
    pub fn leading_lacks(&self, namespace: &str) -> Vec<String> {
        let needed = LEADING.iter().map(|it| it.replace('%', namespace));
        needed.filter(|it| self.publish.lacks(it)).map(|it| format!("publish {it}")).collect()
    }
}

/// Whether `pattern` stands for all that `wanted` stands for.
fn covers(pattern: &str, wanted: &str) -> bool {
    let (mut pattern, mut wanted) = (pattern.split('.'), wanted.split('.'));
    loop {
        match (pattern.next(), wanted.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(own), Some(token)) if own == token => {}
            _ => return false,
        }
    }
}

/// Whether two patterns stand for a subject that is the same.
fn meets(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(own), Some(token)) if own == token || own == "*" || token == "*" => {}
            _ => return false,
        }
    }
}

/// What every service hears.
pub fn subscribed(namespace: &str) -> Vec<String> {
    vec!["_INBOX.>".to_owned(), format!("dagbok.{namespace}.signals.>")]
}

/// What a service sends; an executor that of its `queues`. Empty for what is no service.
pub fn published(service: &str, namespace: &str, queues: &[String]) -> Vec<String> {
    let common = ["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$SYS.REQ.USER.INFO", "_INBOX.>"];
    let parts: &[&[&str]] = match service {
        "scheduler" => &[SCHEDULER],
        "executor" => &[SIGNALS, INBOX, BLOBS, STATE, EXECUTOR, QUEUE],
        "triggerer" => &[SIGNALS, INBOX, BLOBS, STATE_GET, TRIGGERER],
        "processor" => &[SIGNALS, INBOX, BLOBS, STATE, LOG, PROCESSOR],
        "ui" => &[SIGNALS, INBOX, BLOBS_READ, STATE, LOG, SNAPSHOTS_READ, ALERTS_READ, UI],
        "alerting" => &[BLOBS_READ, STATE_GET, LOG, SNAPSHOTS_READ, ALERTS_READ, ALERTING],
        _ => return Vec::new(),
    };
    let own = parts.iter().copied().flatten().copied();
    let all = common.into_iter().chain(own).map(|it| it.replace('%', namespace));
    let each = |it: String| -> Vec<String> {
        if it.contains('#') {
            queues.iter().map(|queue| it.replace('#', queue)).collect()
        } else {
            vec![it]
        }
    };
    all.flat_map(each).collect()
}

/// Without these nobody leads: the lease can't be held, or nothing be decided.
const LEADING: &[&str] = &["dagbok.%.log.>", "$KV.dagbok_%_state.>"];

const SIGNALS: &[&str] = &["dagbok.%.signals.>"];
const INBOX: &[&str] = &["dagbok.%.inbox.*"];
const BLOBS_READ: &[&str] =
    &["$JS.API.DIRECT.GET.dagbok_%_blobs", "$JS.API.DIRECT.GET.dagbok_%_blobs.>"];
const BLOBS: &[&str] = &[
    "dagbok.%.blobs.>",
    "$JS.API.DIRECT.GET.dagbok_%_blobs",
    "$JS.API.DIRECT.GET.dagbok_%_blobs.>",
];
const STATE_GET: &[&str] =
    &["$JS.API.DIRECT.GET.KV_dagbok_%_state.>", "$JS.API.STREAM.MSG.GET.KV_dagbok_%_state"];
const STATE: &[&str] = &[
    "$JS.API.DIRECT.GET.KV_dagbok_%_state.>",
    "$JS.API.STREAM.MSG.GET.KV_dagbok_%_state",
    "$JS.API.CONSUMER.CREATE.KV_dagbok_%_state.>",
    "$JS.API.CONSUMER.MSG.NEXT.KV_dagbok_%_state.*",
    "$JS.API.CONSUMER.DELETE.KV_dagbok_%_state.*",
];
const LOG: &[&str] = &[
    "$JS.API.DIRECT.GET.dagbok_%_log",
    "$JS.API.CONSUMER.CREATE.dagbok_%_log.>",
    "$JS.API.CONSUMER.MSG.NEXT.dagbok_%_log.*",
    "$JS.API.CONSUMER.DELETE.dagbok_%_log.*",
];
const SNAPSHOTS_READ: &[&str] =
    &["$JS.API.DIRECT.GET.dagbok_%_snapshots", "$JS.API.DIRECT.GET.dagbok_%_snapshots.>"];
const ALERTS_READ: &[&str] = &[
    "$JS.API.DIRECT.GET.dagbok_%_alerts",
    "$JS.API.CONSUMER.CREATE.dagbok_%_alerts.>",
    "$JS.API.CONSUMER.MSG.NEXT.dagbok_%_alerts.*",
    "$JS.API.CONSUMER.DELETE.dagbok_%_alerts.*",
];
const SCHEDULER: &[&str] = &[
    "dagbok.%.log.>",
    "dagbok.%.inbox.*",
    "dagbok.%.work.>",
    "dagbok.%.triggers.>",
    "dagbok.%.blobs.>",
    "dagbok.%.snapshots.>",
    "dagbok.%.signals.>",
    "$KV.dagbok_%_state.>",
    "$JS.API.STREAM.CREATE.dagbok_%_log",
    "$JS.API.STREAM.CREATE.dagbok_%_inbox",
    "$JS.API.STREAM.CREATE.dagbok_%_work",
    "$JS.API.STREAM.CREATE.dagbok_%_triggers",
    "$JS.API.STREAM.CREATE.dagbok_%_blobs",
    "$JS.API.STREAM.CREATE.dagbok_%_snapshots",
    "$JS.API.STREAM.CREATE.KV_dagbok_%_state",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.STREAM.PURGE.dagbok_%_snapshots",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.API.CONSUMER.DELETE.>",
    "$JS.ACK.>",
];
/// For each queue, `#`.
const QUEUE: &[&str] = &[
    "$JS.API.CONSUMER.CREATE.dagbok_%_work.#.>",
    "$JS.API.CONSUMER.MSG.NEXT.dagbok_%_work.#",
    "$JS.API.CONSUMER.INFO.dagbok_%_work.#",
    "$JS.API.CONSUMER.DELETE.dagbok_%_work.#",
    "$JS.ACK.dagbok_%_work.#.>",
];
const EXECUTOR: &[&str] = &[
    "$JS.API.STREAM.MSG.GET.dagbok_%_work",
    "$KV.dagbok_%_state.passed.>",
    "$KV.dagbok_%_state.presence.>",
    "$KV.dagbok_%_state.xcom.>",
];
const TRIGGERER: &[&str] = &[
    "$JS.API.CONSUMER.CREATE.dagbok_%_triggers.triggers.>",
    "$JS.API.CONSUMER.MSG.NEXT.dagbok_%_triggers.triggers",
    "$JS.API.CONSUMER.INFO.dagbok_%_triggers.triggers",
    "$JS.API.CONSUMER.DELETE.dagbok_%_triggers.triggers",
    "$JS.ACK.dagbok_%_triggers.triggers.>",
    "$JS.API.STREAM.MSG.GET.dagbok_%_triggers",
];
const PROCESSOR: &[&str] = &["$KV.dagbok_%_state.processor.>"];
const UI: &[&str] = &["$JS.API.STREAM.PURGE.dagbok_%_blobs"];
const ALERTING: &[&str] = &[
    "$JS.API.STREAM.CREATE.dagbok_%_alerts",
    "dagbok.%.alerts.>",
    "$KV.dagbok_%_state.lease.alerting",
    "dagbok.%.snapshots.alerting",
    "dagbok.%.snapshots.alerting.>",
    "dagbok.%.snapshots.alerting-configuration",
    "dagbok.%.snapshots.alerting-configuration.>",
    "dagbok.%.snapshots.alerting-book",
    "dagbok.%.snapshots.alerting-book.>",
    "dagbok.%.snapshots.alerting-calendars",
    "dagbok.%.snapshots.alerting-calendars.>",
    "dagbok.%.snapshots.alerting-links",
    "dagbok.%.snapshots.alerting-links.>",
    "$JS.API.STREAM.PURGE.dagbok_%_snapshots",
];

/// What whoever is connected may do; `None` where there are no limits, or the server does not say.
pub(crate) async fn granted(link: &Link) -> PortResult<Option<Permissions>> {
    #[derive(Deserialize)]
    struct User {
        permissions: Option<Permissions>,
    }
    #[derive(Deserialize)]
    struct Said {
        data: User,
    }
    let asked = link.ask(USER_INFO, None, bytes::Bytes::new()).await;
    match asked.and_then(|answer| read_answer::<Said>(&answer)) {
        Ok(said) => Ok(said.data.permissions),
        Err(AskError::NobodyThere(_)) => Ok(None),
        Err(error) => Err(error.port("user's permissions")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_stands_for() {
        for (pattern, wanted) in [
            ("a.>", "a.b"),
            ("a.>", "a.b.>"),
            ("a.>", "a.*.c"),
            ("a.*", "a.b"),
            ("a.*", "a.*"),
            ("a", "a"),
        ] {
            assert!(covers(pattern, wanted), "{pattern} {wanted}");
        }
        for (pattern, wanted) in [
            ("a.>", "a"),
            ("a.*", "a.b.c"),
            ("a.*", "a.>"),
            ("a.b", "a.*"),
            ("a", "b"),
            ("a.b", "a"),
        ] {
            assert!(!covers(pattern, wanted), "{pattern} {wanted}");
        }
    }

    /// The lists of subjects of a user in the configuration that is shipped: allowed and denied to send, and to hear.
    fn of_file(user: &str) -> Permissions {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats/users.conf");
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n");
        let of = text.split(&format!("user: {user}\n")).nth(1).unwrap();
        let of = of.split("user: ").next().unwrap();
        let quoted = |text: &str| -> Vec<String> {
            text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let (sends, hears) = of.split_once("subscribe:").unwrap();
        let (allow, deny) = sends.split_once("deny:").unwrap_or((sends, ""));
        let granted = |allow, deny| Granted { allow: quoted(allow), deny: quoted(deny) };
        Permissions { publish: granted(allow, deny), subscribe: granted(hears, "") }
    }

    #[test]
    fn the_configuration_that_is_shipped_grants_what_is_needed_and_no_more() {
        let queues = ["default".to_owned()];
        for service in SERVICES {
            let granted = of_file(service);
            let none = Vec::<String>::new();
            assert_eq!(granted.missing(service, "default", &queues), none, "{service}");
            // Of what is shipped one pattern covers each.
            for needed in published(service, "default", &queues) {
                assert!(granted.publish.has(&needed), "{service}: {needed}");
            }
            // The scheduler's is written as what it may not do.
            if service != "scheduler" {
                let needed = published(service, "default", &queues);
                for grant in &granted.publish.allow {
                    assert!(needed.contains(grant), "{service} does not need {grant}");
                }
            }
        }
        let executor = of_file("executor");
        let lacks = executor.missing("scheduler", "default", &queues);
        assert!(lacks.contains(&"publish dagbok.default.log.>".to_owned()), "{lacks:?}");
        assert_eq!(executor.leading_lacks("default").first(), lacks.first());
        assert_eq!(of_file("scheduler").leading_lacks("default"), Vec::<String>::new());
    }

    #[test]
    fn who_grants_it_stream_by_stream_and_queue_by_queue_grants_it() {
        let publish = |allow: &[&str]| Permissions {
            publish: Granted {
                allow: allow.iter().map(|it| (*it).to_owned()).collect(),
                deny: Vec::new(),
            },
            subscribe: Granted::default(),
        };
        let streams = ["log", "inbox", "work", "triggers", "blobs", "snapshots"];
        let mut narrow: Vec<String> = streams
            .iter()
            .flat_map(|it| {
                ["STREAM.CREATE.", "STREAM.INFO.", "STREAM.MSG.GET."]
                    .map(|what| format!("$JS.API.{what}dagbok_team_{it}"))
            })
            .chain(["log", "inbox"].iter().flat_map(|it| {
                ["CREATE", "INFO", "MSG.NEXT", "DELETE"]
                    .map(|what| format!("$JS.API.CONSUMER.{what}.dagbok_team_{it}.>"))
            }))
            .collect();
        narrow.extend(
            [
                "$JS.API.STREAM.CREATE.KV_dagbok_team_state",
                "$KV.dagbok_team_state.lease.>",
                "$JS.API.INFO",
                "$SYS.REQ.USER.INFO",
                "_INBOX.>",
                "dagbok.team.>",
                "$JS.ACK.dagbok_team_inbox.>",
                "$JS.API.STREAM.PURGE.dagbok_team_snapshots",
                "$JS.API.DIRECT.GET.dagbok_team_log",
            ]
            .map(str::to_owned),
        );
        let narrow: Vec<&str> = narrow.iter().map(String::as_str).collect();
        let granted = publish(&narrow);
        assert_eq!(granted.missing("scheduler", "team", &[]), Vec::<String>::new());
        assert!(!granted.missing("scheduler", "other", &[]).is_empty());
        let gpu = ["gpu".to_owned()];
        let other = "publish $JS.ACK.dagbok_team_work.default.>".to_owned();
        let granted = publish(&[
            "$JS.ACK.dagbok_team_work.gpu.>",
            "$JS.API.>",
            "$KV.>",
            "$SYS.>",
            "_INBOX.>",
            "dagbok.>",
        ]);
        assert_eq!(granted.missing("executor", "team", &gpu), Vec::<String>::new());
        assert_eq!(granted.missing("executor", "team", &["default".to_owned()]), [other]);
        let denied = Granted { allow: Vec::new(), deny: vec!["dagbok.team.log.>".to_owned()] };
        let denied = Permissions { publish: denied, subscribe: Granted::default() };
        assert_eq!(denied.leading_lacks("team"), ["publish dagbok.team.log.>"]);
    }
}
