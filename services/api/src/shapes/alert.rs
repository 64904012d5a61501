//! Alerts, who was told of them, and silences.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// A name and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertDetail {
    /// What it is.
    pub name: String,
    /// What is known of it.
    pub value: String,
}

/// A run that an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertRun {
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub dag_run_id: String,
}

/// One attempt at telling somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertAttempt {
    /// Counts from one.
    pub number: u32,
    /// When it was recorded, before anything was sent.
    pub at: DateTime,
    /// When its outcome was recorded; null while there is none.
    pub ended_at: Option<DateTime>,
    /// The provider's status: HTTP's or SMTP's.
    pub status: Option<u16>,
    /// What went wrong.
    pub why: Option<String>,
    /// How long the provider took, in milliseconds.
    pub took_ms: Option<u64>,
}

/// One message to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertNotification {
    /// Its name: the same for each attempt.
    pub message: String,
    /// `trigger`, `acknowledge` or `resolve`.
    pub purpose: String,
    /// Who is told.
    pub receiver: String,
    /// By which route.
    pub route: String,
    /// How often the chain had been begun before.
    pub turn: u32,
    /// Place in the chain, from zero.
    pub step: u32,
    /// The receiver in whose place this one is told.
    pub instead_of: Option<String>,
    /// Whom that reaches, where the chain names people.
    pub person: Option<String>,
    /// `sending`, `waiting`, `accepted`, `rejected`, `withheld` since its receiver had too much lately, or `gathered`: told
    /// with another alert's message. Accepted by the provider says nothing of anybody having read it.
    pub state: String,
    /// When it is tried again.
    pub retry_at: Option<DateTime>,
    /// What the provider calls it.
    pub provider_id: Option<String>,
    /// SHA-256 of the text, in hexadecimal.
    pub text_digest: String,
    /// The attempts, oldest first: the first and the newest fifteen.
    pub attempts: Vec<AlertAttempt>,
}

/// An alert, with who was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertResponse {
    /// Its number, from one, in the order of opening.
    pub alert_id: u64,
    /// `run_failed`, `run_missing`, `run_missed`, `callback_failed`, `import_error`, `dag_vanished`, `stuck_queued`,
    /// `receiver_failing`, `configuration_refused`, `scheduler_silent`, `heartbeat_missing` or `test`.
    pub rule: String,
    /// Whose trouble it is, as `dag:etl`.
    pub scope: String,
    /// Counts the incidents of that rule and scope, from one.
    pub generation: u32,
    /// What providers know it by.
    pub dedup_key: String,
    /// `firing`, `acknowledged` or `resolved`.
    pub state: String,
    /// The silence that keeps it from being told.
    pub silenced_by: Option<u64>,
    /// Why it is not told by itself: `grouped`, `inhibited` or `silenced`.
    pub suppressed_why: Option<String>,
    /// The alert that it is told with, or that it follows from.
    pub suppressed_by: Option<u64>,
    /// How many alerts are or were told with it.
    pub told_with_it: u32,
    /// What routes and silences match.
    pub labels: BTreeMap<String, String>,
    /// One line for people.
    pub summary: String,
    /// What else is known.
    pub details: Vec<AlertDetail>,
    /// The run log's sequences that justify it.
    pub causes: Vec<u64>,
    /// How often it happened.
    pub count: u32,
    /// The runs that it is about, newest last: the newest sixteen.
    pub runs: Vec<AlertRun>,
    /// When it went wrong.
    pub since: DateTime,
    /// When the alert was opened.
    pub opened_at: DateTime,
    /// When it last happened.
    pub last_at: DateTime,
    /// Since when it is acknowledged or resolved.
    pub changed_at: Option<DateTime>,
    /// Who acknowledged or resolved it: `user:NAME`, `rules`.
    pub changed_by: Option<String>,
    /// In whose words.
    pub note: Option<String>,
    /// Of one that is over: `recovered`, `by_hand`, `superseded` or `tested`.
    pub resolved_why: Option<String>,
    /// The run log's sequence by which it is over.
    pub resolved_by: Option<u64>,
    /// Who was told, when, and what the provider answered.
    pub notifications: Vec<AlertNotification>,
}

/// A page of alerts, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertCollection {
    /// The entries of this page.
    pub alerts: Vec<AlertResponse>,
    /// How many there are over all pages, of those at hand: the newest ten thousand.
    pub total_entries: usize,
}

/// Says that somebody has an alert in hand, or that it is over.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertChange {
    /// A word for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something outside that says regularly that it lives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// Name by which whoever lives says so, unique in the namespace.
    pub name: String,
    /// When it said so last.
    pub at: DateTime,
    /// When it says so again.
    pub due: DateTime,
    /// From when its absence is an alert.
    pub missing_at: DateTime,
    /// Whether it is missing now.
    pub missing: bool,
    /// Who is told of that.
    pub owner: Option<String>,
}

/// All heartbeats that are expected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatCollection {
    /// By name.
    pub heartbeats: Vec<HeartbeatResponse>,
    /// How many they are.
    pub total_entries: usize,
}

/// Says that something lives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatBody {
    /// After how many seconds it says so again.
    pub period_seconds: i64,
    /// How many seconds later it may be before that is an alert.
    #[serde(default)]
    pub grace_seconds: i64,
    /// Who is told where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Asks for a test of a receiver.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertTest {
    /// The receiver's name in `alerting.toml`.
    pub receiver: String,
}

/// What is not told for a time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SilenceResponse {
    /// Its number, from one.
    pub silence_id: u64,
    /// Which alerts: all of them match.
    pub matchers: Vec<String>,
    /// Since when.
    pub since: DateTime,
    /// Until when.
    pub until: DateTime,
    /// Whether it holds now.
    pub active: bool,
    /// Who asked for it.
    pub by: String,
    /// Why, in the words of whoever asked for it.
    pub reason: String,
}

/// All silences, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SilenceCollection {
    /// Those that hold and those that are over.
    pub silences: Vec<SilenceResponse>,
    /// How many they are.
    pub total_entries: usize,
}

/// Asks for a silence.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceBody {
    /// Which alerts, as `dag="etl"`, with `=`, `!=`, `=~`, `!~`: all of them match.
    pub matchers: Vec<String>,
    /// When it ends by itself: an instant with an offset, at most 90 days ahead.
    pub until: String,
    /// Why, for others to read; never empty.
    pub reason: String,
}
