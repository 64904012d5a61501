//! The facts of the alert log: what was found wrong, who was told, and what they answered. Only ever added to.
use dagbok_events::{RunKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AlertScope, BlobsObserved, CalendarRefused, CalendarTaken, DiskObserved, HeartbeatForgotten,
    HeartbeatReceived, Labels, ProjectionObserved, Rule, SignOfLife, SignOfLifeAccepted,
    SignOfLifeFailed, StoreObserved,
};

/// Who decided, or asked for it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The rules of alerting.
    Rules,
    /// A person, by name.
    User(String),
    /// A receiver, by its name.
    Receiver(String),
}

/// One decision of alerting: the unit of append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecord {
    /// When it was decided, by the alerter's clock; earlier than the record before it only where the clock went back.
    pub at: Timestamp,
    /// Who decided or asked.
    pub by: By,
    /// Why, in the words of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run log's last sequence that was known then.
    pub seen: u64,
    /// The fact, then whatever followed from it.
    pub facts: Vec<AlertFact>,
}

/// Something that happened to an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlertFact {
    /// Alerting began in this namespace.
    AlertingBegan(AlertingBegan),
    /// A configuration is in force from now on.
    ConfigurationTaken(ConfigurationTaken),
    /// A configuration can't be read; the last good one stays in force.
    ConfigurationRefused(ConfigurationRefused),
    /// Something is wrong, and was not before.
    AlertOpened(Box<AlertOpened>),
    /// It went wrong once more while its alert is open.
    AlertRecurred(Box<AlertRecurred>),
    /// Somebody has it in hand.
    AlertAcknowledged(AlertAcknowledged),
    /// Nobody took it in time: the next ones are told.
    AlertEscalated(AlertEscalated),
    /// It is over.
    AlertResolved(AlertResolved),
    /// What these matchers match is not told for a time.
    AlertSilenced(AlertSilenced),
    /// A silence is over before its time.
    AlertUnsilenced(AlertUnsilenced),
    /// Somebody is about to be told: durable before anything is sent.
    NotificationAttempted(Box<NotificationAttempted>),
    /// A receiver's provider took it. That is no word of anybody having read it.
    NotificationAccepted(NotificationAccepted),
    /// Somebody would be told, and had as many messages lately as the configuration allows: it is told with others.
    NotificationWithheld(Box<NotificationWithheld>),
    /// A provider did not take it, and is asked again.
    NotificationFailed(NotificationFailed),
    /// A provider will not take it, or was asked for too long: it is given up.
    NotificationRejected(NotificationRejected),
    /// The alerter's clock shows much less than at the record before.
    ClockWentBack(AlertingClockWentBack),
    /// An alert is not told by itself for now: it is known what of, or somebody silenced it.
    AlertSuppressed(AlertSuppressed),
    /// An alert is told by itself from now on: what it was told with is over.
    AlertReleased(AlertReleased),
    /// A sign of life is about to be sent to whoever watches alerting from outside.
    SignOfLife(SignOfLife),
    /// Whoever watches from outside did not take a sign of life.
    SignOfLifeFailed(SignOfLifeFailed),
    /// Whoever watches from outside takes signs of life again.
    SignOfLifeAccepted(SignOfLifeAccepted),
    /// Something outside says that it lives, and when it will say so again.
    HeartbeatReceived(HeartbeatReceived),
    /// A heartbeat is not expected any more.
    HeartbeatForgotten(HeartbeatForgotten),
    /// A calendar says another thing of who is on call, or can be had again.
    CalendarTaken(CalendarTaken),
    /// A calendar can't be had or read; what was read last holds.
    CalendarRefused(CalendarRefused),
    /// How much room is on the disk, where it changed or it is long since that was noted.
    DiskObserved(DiskObserved),
    /// Alerting is behind the run log for some time, or is so no more.
    ProjectionObserved(ProjectionObserved),
    /// How much is taken of what the broker may hold, where it changed or it is long since that was noted.
    StoreObserved(StoreObserved),
    /// The object store where big things lie has not done what it is asked for a while, or does so again.
    BlobsObserved(BlobsObserved),
}

/// See [`AlertFact::ClockWentBack`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertingClockWentBack {
    /// The latest time that it showed.
    pub from: Timestamp,
    /// What it shows now: whatever began later began then, and waits as long from there.
    pub to: Timestamp,
}

/// See [`AlertFact::AlertingBegan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertingBegan {
    /// Name of the namespace, which is part of every alert's key.
    pub namespace: String,
}

/// Why an alert is not told by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SuppressedWhy {
    /// It is told with others of its owner.
    Grouped,
    /// It follows from another, which is told.
    Inhibited,
    /// Somebody silenced it.
    Silenced,
    /// Its route is mute at that time.
    Muted,
}

impl SuppressedWhy {
    /// As it stands in facts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Grouped => "grouped",
            Self::Inhibited => "inhibited",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
        }
    }
}

/// See [`AlertFact::AlertSuppressed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertSuppressed {
    /// Number of the alert.
    pub id: u64,
    /// Why it is not told by itself.
    pub why: SuppressedWhy,
    /// Number of the alert that it is told with, or that it follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
    /// Number of the silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<u64>,
}

/// See [`AlertFact::AlertReleased`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertReleased {
    /// Number of the alert.
    pub id: u64,
}

/// See [`AlertFact::ConfigurationTaken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationTaken {
    /// SHA-256 of the file's text, in hexadecimal; of no text where there is no file.
    pub digest: String,
    /// Receivers by name.
    pub receivers: Vec<String>,
    /// Schedules whose calendars are had by their addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<String>,
}

/// See [`AlertFact::ConfigurationRefused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationRefused {
    /// SHA-256 of the file's text, in hexadecimal.
    pub digest: String,
    /// File, line and what is allowed.
    pub why: String,
}

/// See [`AlertFact::AlertOpened`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertOpened {
    /// Its number, from one, in the order of opening.
    pub id: u64,
    /// What was found wrong.
    pub rule: Rule,
    /// Whose trouble it is.
    pub scope: AlertScope,
    /// Counts the incidents of that rule and scope, from one.
    pub generation: u32,
    /// What providers know it by.
    pub dedup_key: String,
    /// What routes and silences match.
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    /// What else is known, by name, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
    /// The run log's sequences that justify it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<u64>,
    /// When it went wrong.
    pub since: Timestamp,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunKey>,
    /// W3C's `traceparent` of that run's span: what is told is part of its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Of a test: the one receiver that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

/// See [`AlertFact::AlertRecurred`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecurred {
    /// Number of the alert.
    pub id: u64,
    /// One line for people, in place of the one before.
    pub summary: String,
    /// What else is known now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
    /// The run log's sequences that came in addition, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<u64>,
    /// The run that it is about now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunKey>,
    /// W3C's `traceparent` of that run's span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// See [`AlertFact::AlertAcknowledged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertAcknowledged {
    /// Number of the alert.
    pub id: u64,
}

/// Why the next ones are told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EscalatedWhy {
    /// It went wrong once more.
    Recurred,
    /// Nobody acknowledged it in time.
    NotAcknowledged,
    /// Nobody of the step before could be reached.
    NobodyReached,
    /// It is still so, and nobody has it in hand.
    StillFiring,
}

/// See [`AlertFact::AlertEscalated`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertEscalated {
    /// Number of the alert.
    pub id: u64,
    /// How often its chain was begun since it opened, from zero.
    pub turn: u32,
    /// Place in the chain, from zero.
    pub step: u32,
    /// Why the next ones are told.
    pub why: EscalatedWhy,
}

/// Why an alert is over.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedWhy {
    /// What was wrong is so no more.
    Recovered,
    /// Somebody says so.
    ByHand,
    /// It went wrong once more after it was acknowledged: another alert takes its place.
    Superseded,
    /// The test came to its end.
    Tested,
}

/// See [`AlertFact::AlertResolved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertResolved {
    /// Number of the alert.
    pub id: u64,
    /// Why it is over.
    pub why: ResolvedWhy,
    /// The run log's sequence by which it is so no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_seq: Option<u64>,
}

/// See [`AlertFact::AlertSilenced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertSilenced {
    /// Number of the silence, from one.
    pub silence: u64,
    /// Which alerts: all of them match, in Alertmanager's words, as `dag="etl"`.
    pub matchers: Vec<String>,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// See [`AlertFact::AlertUnsilenced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertUnsilenced {
    /// Number of the silence.
    pub silence: u64,
}

/// What is said.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// That something is wrong.
    Trigger,
    /// That somebody has it in hand.
    Acknowledge,
    /// That it is over.
    Resolve,
    /// That it still is so, to a receiver that forgets what it is not told again.
    Refresh,
}

impl Purpose {
    /// As it stands in facts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
            Self::Refresh => "refresh",
        }
    }
}

/// See [`AlertFact::NotificationAttempted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationAttempted {
    /// Number of the alert.
    pub id: u64,
    /// Which delivery: the same for each of its attempts.
    pub message: String,
    /// What is said.
    pub purpose: Purpose,
    /// Who is told, by the receiver's name.
    pub receiver: String,
    /// By which route: `platform` where none matched.
    pub route: String,
    /// How often its chain was begun since it opened, from zero.
    pub turn: u32,
    /// Place in the chain, from zero.
    pub step: u32,
    /// Counts the attempts of this delivery, from one.
    pub attempt: u32,
    /// In whose place this receiver is told, where that one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Whom that reaches, where the chain names people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// SHA-256 of the text that is sent, in hexadecimal.
    pub text_digest: String,
    /// What it tells besides: messages to the same receiver that were withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathers: Option<Gathered>,
    /// Why the words that the configuration has for this receiver could not be used: plain ones are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_since: Option<String>,
}

/// What one message tells besides its own alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gathered {
    /// Numbers of the alerts.
    pub alerts: Vec<u64>,
    /// What the first of them say, a line each.
    pub first: Vec<String>,
}

/// See [`AlertFact::NotificationWithheld`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationWithheld {
    /// Number of the alert.
    pub id: u64,
    /// Which delivery: it keeps that name where it is sent after all.
    pub message: String,
    /// Who is told, by the receiver's name.
    pub receiver: String,
    /// By which route.
    pub route: String,
    /// How often its chain was begun since it opened, from zero.
    pub turn: u32,
    /// Place in the chain, from zero.
    pub step: u32,
    /// Whom that reaches, where the chain names people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// See [`AlertFact::NotificationAccepted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationAccepted {
    /// Number of the alert.
    pub id: u64,
    /// Name of the delivery, the same for each of its attempts.
    pub message: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The provider's status, where it has numbers: HTTP's, SMTP's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the provider calls it, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// How long the provider took, in milliseconds.
    pub took_ms: u64,
}

/// See [`AlertFact::NotificationFailed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationFailed {
    /// Number of the alert.
    pub id: u64,
    /// Name of the delivery, the same for each of its attempts.
    pub message: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The provider's status, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    pub why: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// See [`AlertFact::NotificationRejected`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationRejected {
    /// Number of the alert.
    pub id: u64,
    /// Name of the delivery, the same for each of its attempts.
    pub message: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The provider's status, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    pub why: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
