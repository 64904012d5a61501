//! Every key of `alerting.toml`. The comments are the reference: they become the schema's descriptions.
use std::{collections::BTreeMap, path::PathBuf};

use dagbok_config::Period;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};

use super::crew::{MuteSection, PersonSection, ScheduleSection};

/// The schema of the whole file.
pub(super) fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<File>().to_value()
}

/// The whole of `alerting.toml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    /// What links in messages begin with: the address by which people reach the UI or the API.
    pub(super) external_url: Option<String>,
    /// Who can be told, by name, as `[receivers.NAME]`.
    pub(super) receivers: BTreeMap<String, ReceiverSection>,
    /// People by name, as `[people.NAME]`.
    pub(super) people: BTreeMap<String, PersonSection>,
    /// Who is on call when, by name, as `[schedules.NAME]`.
    pub(super) schedules: BTreeMap<String, ScheduleSection>,
    /// Times at which routes that name them tell nobody, by name, as `[mute_times.NAME]`.
    pub(super) mute_times: BTreeMap<String, MuteSection>,
    /// Chains of steps by name, as `[chains.NAME]`: who is told next where nobody acknowledges.
    pub(super) chains: BTreeMap<String, ChainSection>,
    /// Who watches alerting from outside: a web address that alarms where no sign of life comes. Without one nobody
    /// is told when alerting itself, its machine or its network is gone.
    pub(super) dead_mans_switch: Option<SwitchSection>,
    /// What links in messages are signed with.
    pub(super) links: Option<LinksSection>,
    /// Root causes that keep what follows from them from being told by itself, in Alertmanager's words. Some hold
    /// without being named: a silent scheduler and the runs that are missing for it, a DAG file that can't be read
    /// and what is missing for it.
    pub(super) inhibit: Vec<InhibitSection>,
    /// From when on a number or a time counts as wrong, for the DAGs that match. Of several that match, the first that
    /// says something counts.
    pub(super) thresholds: Vec<ThresholdsSection>,
    /// Where it says what to do about what a rule finds: a web address by the rule's name, as `run_failed`. A route's own
    /// `runbook` goes before it.
    pub(super) runbooks: BTreeMap<String, String>,
    /// From when on the disk of the installation's folder counts as nearly full.
    pub(super) disk: DiskSection,
    /// Which internal addresses webhooks may go to.
    pub(super) guard: GuardSection,
    /// The root of the routes: the platform's, to which goes whatever no other takes. With one receiver and no
    /// route, that receiver is told of everything.
    pub(super) route: Option<RouteSection>,
}

/// What keeps addresses that anybody may have written from leading into one's own network: those of `webhook`, `slack`,
/// `teams` and `ical_url` do not go to internal addresses (of this machine, private, link-local, a cloud's metadata), by
/// whatever name, and redirects are not followed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GuardSection {
    /// Internal addresses that may be gone to all the same: an address, a network as `10.1.0.0/16`, a host, or all below one
    /// as `*.corp.example.org`.
    pub(super) allow: Vec<String>,
}

/// The disk on which the installation writes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DiskSection {
    /// Less than so many percent free is critical: 5 where it is not said, 50 at most. With 0 nothing is said of the disk,
    /// nor of how fast it fills.
    pub(super) low_percent: Option<u8>,
}

impl File {
    /// Takes calendars' files out. Who has nothing else keeps an empty schedule.
    pub(super) fn without_calendars(&mut self) {
        for schedule in self.schedules.values_mut() {
            schedule.is_lame = schedule.ical.take().is_some();
        }
    }
}

/// A sign of life, by HTTP, as healthchecks.io and others take it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchSection {
    /// Its address, which lets anybody say that all is well: a secret. Where telling people is in trouble, that is
    /// said to the same address with `/fail`.
    pub(super) url: SecretRef,
    /// How often it is sent.
    #[serde(default = "a_minute")]
    pub(super) every: Period,
}

const fn a_minute() -> Period {
    Period::secs(60)
}

/// From when on something counts as wrong.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ThresholdsSection {
    /// Which DAGs, as `owner="ml"`, by the labels `dag`, `owner`, `tags` and `email`: all of them match. Without any,
    /// every DAG.
    pub(super) matchers: Vec<String>,
    /// A run that takes more than so many percent of what nearly all of the newest took, and ten minutes longer, is
    /// `run_slow`; 300 where nobody says, 0 for never.
    pub(super) slow_percent: Option<u32>,
    /// A DAG whose last success is older is `stale`: `72h` for a model that must not be older than three days.
    pub(super) max_age: Option<Period>,
    /// A scheduled run that is not done so long after the end of its data interval is `deadline_missed`, besides
    /// what the DAG's file says.
    pub(super) within: Option<Period>,
    /// A question that a task asks people is `question_waiting` after so long; an hour where nobody says. One that has an end
    /// of its own is so at the latest once a quarter of its time is left.
    pub(super) answer_within: Option<Period>,
    /// What a try of a task may have of memory, in MiB: from nine tenths of it, or where it grows so that it will be
    /// reached within three runs, the DAG is `memory_high`.
    #[schemars(range(min = 1))]
    pub(super) memory_mib: Option<u64>,
}

/// Links that acknowledge without a login.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinksSection {
    /// A secret of 32 characters or more, the same for every replica of alerting. Without one each machine draws its own
    /// and keeps it in `links.key` beside its configuration: a link that another machine made holds for nobody.
    pub(super) key: SecretRef,
}

/// A root cause and what follows from it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InhibitSection {
    /// Which alerts are root causes; all of them match.
    #[schemars(length(min = 1))]
    pub(super) source: Vec<String>,
    /// Which follow from them; all of them match.
    #[schemars(length(min = 1))]
    pub(super) target: Vec<String>,
    /// Labels that both have alike.
    #[serde(default)]
    pub(super) equal: Vec<String>,
}

/// A receiver. Exactly one of `webhook`, `slack`, `teams`, `email`, `pagerduty` and `alertmanager` says how it is told.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiverSection {
    /// The receiver that is told in its place where it rejects a message, or fails five times.
    #[serde(default)]
    pub(super) fallback: Option<String>,
    /// Until which day what it is told by holds, as `2027-03-31`: a key, a token, a certificate. From two weeks before that is
    /// an alert (`credentials_expiring`).
    #[serde(default)]
    pub(super) expires: Option<String>,
    /// Whether it is told that an alert is over.
    #[serde(default = "yes")]
    pub(super) send_resolved: bool,
    /// How many messages it has within a time; what is above is told together in one message, once there is room. What
    /// is critical is told at once all the same, and so is an alert's end.
    #[serde(default)]
    pub(super) limit: Option<LimitSection>,
    /// In which words it is told, in place of the plain ones.
    #[serde(default)]
    pub(super) template: Option<TemplateSection>,
    /// A web address of your own.
    #[serde(default)]
    pub(super) webhook: Option<WebhookSection>,
    /// A Slack channel.
    #[serde(default)]
    pub(super) slack: Option<SlackSection>,
    /// A channel of Microsoft Teams.
    #[serde(default)]
    pub(super) teams: Option<TeamsSection>,
    /// Mailboxes.
    #[serde(default)]
    pub(super) email: Option<EmailSection>,
    /// A PagerDuty service.
    #[serde(default)]
    pub(super) pagerduty: Option<PagerDutySection>,
    /// A Prometheus Alertmanager.
    #[serde(default)]
    pub(super) alertmanager: Option<AlertmanagerSection>,
}

/// How many messages a receiver has within a time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSection {
    /// So many at most.
    #[schemars(range(min = 1, max = 200))]
    pub(super) messages: u32,
    /// Within any such time.
    pub(super) per: Period,
}

/// Words as templates in Jinja's language. They may name `title` and `text` (the plain words), `summary`, `status`,
/// `purpose`, `severity`, `owner`, `dag`, `labels`, `details`, `causes`, `count`, `since`, `ended_at`, `link`, `route` and
/// `namespace`; what takes too long or comes to nothing is an alert, and the message goes out in plain words.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateSection {
    /// One line: what comes of it is put on one, and cut at 1,000 bytes.
    #[serde(default)]
    pub(super) title: Option<String>,
    /// All of it. The link that acknowledges follows by itself.
    #[serde(default)]
    pub(super) text: Option<String>,
}

fn yes() -> bool {
    true
}

/// A secret by where it is kept: never written here itself. One of the two.
#[derive(Clone, Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretRef {
    /// The name of an environment variable that holds it.
    #[serde(default)]
    pub(super) env: Option<String>,
    /// A file that holds it; blanks at its ends do not count. A relative path begins where this file lies.
    #[serde(default)]
    pub(super) file: Option<PathBuf>,
}

/// Errors of serde's name the value that they did not expect: where somebody wrote the secret itself, that would be
/// shown, logged and kept.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            env: Option<String>,
            file: Option<PathBuf>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Named(Named),
            Other(IgnoredAny),
        }
        match Given::deserialize(deserializer)? {
            Given::Named(Named { env, file }) => Ok(Self { env, file }),
            Given::Other(_) => Err(D::Error::custom(
                "a secret is never written here: name where it is, `{ env = \"NAME\" }` or `{ file = \"path\" }`",
            )),
        }
    }
}

/// A POST of JSON, signed as Standard Webhooks has it where a secret is named.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookSection {
    /// The address, `https://…` or `http://…`.
    #[serde(default)]
    pub(super) url: Option<String>,
    /// The address, where it is a secret itself.
    #[serde(default)]
    pub(super) url_from: Option<SecretRef>,
    /// What `webhook-signature` is made with: `whsec_` and Base64, or any text.
    #[serde(default)]
    pub(super) secret: Option<SecretRef>,
}

/// A channel of Slack: an incoming webhook (`url`), or an app with a bot token (`token` and `channel`), which keeps a thread
/// for each alert and changes its first message once somebody has it in hand and once it is over.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackSection {
    /// The incoming webhook's address, which lets anybody write: a secret.
    #[serde(default)]
    pub(super) url: Option<SecretRef>,
    /// The app's bot token (`xoxb-…`), with the scope `chat:write`.
    #[serde(default)]
    pub(super) token: Option<SecretRef>,
    /// The channel's id, as `C0123456789`, or its name, as `#ml`. The app has to be in it.
    #[serde(default)]
    pub(super) channel: Option<String>,
    /// The address of Slack's API.
    #[serde(default = "slack_api")]
    pub(super) api_url: String,
}

fn slack_api() -> String {
    "https://slack.com/api".to_owned()
}

/// The webhook of a workflow of Microsoft Teams ("when a Teams webhook request is received").
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamsSection {
    /// Its address, which lets anybody write: a secret.
    pub(super) url: SecretRef,
}

/// Events v2 of PagerDuty.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PagerDutySection {
    /// The service's integration key.
    pub(super) routing_key: SecretRef,
    /// The address of the events API.
    #[serde(default = "pagerduty")]
    pub(super) url: String,
    /// What PagerDuty signs its webhooks with, where one leads to `/api/v2/dagbok/alerts/pagerduty`: whoever
    /// acknowledges or resolves an incident there does so here.
    #[serde(default)]
    pub(super) webhook_secret: Option<SecretRef>,
}

fn pagerduty() -> String {
    "https://events.pagerduty.com/v2/enqueue".to_owned()
}

/// The API v2 of a Prometheus Alertmanager.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertmanagerSection {
    /// The address that it is reached by, without `/api/v2/alerts`.
    pub(super) url: String,
    /// After what time it is told again of what is not over, whoever has it in hand. What it was not told again for four
    /// times as long is over there.
    #[serde(default = "a_quarter")]
    pub(super) resend: Period,
}

const fn a_quarter() -> Period {
    Period::secs(900)
}

/// Mail by SMTP, as text and as a page.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailSection {
    /// The server, as `mail.example.org:587`; the port is 587 with `starttls`, 465 with `tls`, 25 with `none`
    /// where not said.
    pub(super) smarthost: String,
    /// How the connection is kept from others' eyes.
    #[serde(default)]
    pub(super) tls: MailTls,
    /// Who it is from, as `dagbok@example.org`.
    pub(super) from: String,
    /// Who it is to.
    #[serde(default)]
    pub(super) to: Vec<String>,
    /// Whether it is also to those whom the DAG's file names: of failures (`email` with `email_on_failure`), and they alone
    /// of tasks that are tried again (`email_on_retry`).
    #[serde(default)]
    pub(super) dag_email: bool,
    /// Who logs in.
    #[serde(default)]
    pub(super) username: Option<String>,
    /// With what.
    #[serde(default)]
    pub(super) password: Option<SecretRef>,
}

/// How a mail server's connection is kept from others' eyes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MailTls {
    /// It begins in clear and must change to TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all: for a server on this machine.
    None,
}

/// Who is told, step by step, until somebody acknowledges.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainSection {
    /// The steps, in order.
    #[schemars(length(min = 1))]
    pub(super) steps: Vec<StepSection>,
    /// How often the chain begins again after its last step.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub(super) repeat: u32,
}

/// A step of a chain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepSection {
    /// Receivers that are told. All that a step names is told at once.
    #[serde(default)]
    pub(super) receivers: Vec<String>,
    /// People who are told.
    #[serde(default)]
    pub(super) people: Vec<String>,
    /// Schedules of which whoever is on call is told.
    #[serde(default)]
    pub(super) schedules: Vec<String>,
    /// People of whom one is told, by turns from alert to alert.
    #[serde(default)]
    pub(super) round_robin: Vec<String>,
    /// How long an acknowledgement is waited for before the next step. A step that reaches nobody is not waited for.
    #[serde(default = "five_minutes")]
    pub(super) wait: Period,
}

const fn five_minutes() -> Period {
    Period::secs(300)
}

/// A route, in Alertmanager's words.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteSection {
    /// Its name in what is recorded; its matchers where not said.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Which alerts, as `owner="ml"`, with `=`, `!=`, `=~`, `!~`: all of them match. The root takes everything.
    #[serde(default)]
    pub(super) matchers: Vec<String>,
    /// Who is told; the route's above where not said.
    #[serde(default)]
    pub(super) receiver: Option<String>,
    /// The chain that is told, in place of a receiver.
    #[serde(default)]
    pub(super) chain: Option<String>,
    /// Whether the routes after this one are looked at too.
    #[serde(default, rename = "continue")]
    pub(super) goes_on: bool,
    /// How long what happens again waits until that is told; 5 minutes where nobody says.
    #[serde(default)]
    pub(super) group_interval: Option<Period>,
    /// Labels whose values must be the same for alerts to be told together, besides the owner, which always must.
    #[serde(default)]
    pub(super) group_by: Option<Vec<String>>,
    /// How many alerts of a group are told one by one before others are told with them: 5 where nobody says, or 1
    /// where `group_by` is said.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) group_after: Option<u32>,
    /// How long the first of a group waits for others; nothing where nobody says, and never where it is critical.
    #[serde(default)]
    pub(super) group_wait: Option<Period>,
    /// Names of the times at which it tells nobody, in place of those of the route above. What opens then is told once that
    /// time is over, where it is not over itself: critical alerts too, so name none where these must wake somebody.
    #[serde(default)]
    pub(super) mute_times: Option<Vec<String>>,
    /// Where it says what to do about what goes this way, as a web address; the route's above where not said. It is the
    /// label `runbook`, and stands in every message.
    #[serde(default)]
    pub(super) runbook: Option<String>,
    /// When an alert that nobody acknowledges is told again; 4 hours where nobody says.
    #[serde(default)]
    pub(super) repeat_interval: Option<Period>,
    /// Narrower ones; the first that matches takes it.
    #[serde(default)]
    pub(super) routes: Vec<RouteSection>,
}
