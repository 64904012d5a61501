//! What the rules of alerting say when they are asked, and nothing is done.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DateTime;

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainBody {
    /// The record's sequence, as the list of events has it.
    pub event: u64,
    /// By which configuration: the text of an `alerting.toml`, of which no secret is read; by the one in force where
    /// none is given.
    #[serde(default)]
    pub configuration: Option<String>,
}

/// What history is to be gone through again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestBody {
    /// From when on, as an instant with its offset.
    pub since: String,
    /// By which configuration: the text of an `alerting.toml`, of which no secret is read; by the one in force where
    /// none is given.
    #[serde(default)]
    pub configuration: Option<String>,
}

/// A rule about something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertRuleOf {
    /// The rule, as `run_missing`.
    pub rule: String,
    /// Whose trouble it is, as `dag:etl`.
    pub scope: String,
    /// From when on, where that is to come.
    pub at: Option<DateTime>,
}

/// A step of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertStep {
    /// Who is told.
    pub receivers: Vec<String>,
    /// How many seconds an acknowledgement is waited for before the next step.
    pub wait_seconds: i64,
}

/// Something that is wrong by a record, and who is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertWrongBy {
    /// Word of the rule, as `run_failed`.
    pub rule: String,
    /// Whose trouble it is.
    pub scope: String,
    /// One line for people.
    pub summary: String,
    /// What routes match.
    pub labels: BTreeMap<String, String>,
    /// By which route; null where the configuration has nobody.
    pub route: Option<String>,
    /// Who is told, step by step.
    pub steps: Vec<AlertStep>,
}

/// What a record calls for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertExplanation {
    /// The record's sequence.
    pub seq: u64,
    /// When it was decided.
    pub at: DateTime,
    /// Its facts, by name.
    pub facts: Vec<String>,
    /// What is wrong by it.
    pub wrong: Vec<AlertWrongBy>,
    /// What will be wrong by it unless something comes before.
    pub awaited: Vec<AlertRuleOf>,
    /// What is so no more by it.
    pub over: Vec<AlertRuleOf>,
}

/// An alert that there would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WouldBeAlert {
    /// Word of the rule, as `run_failed`.
    pub rule: String,
    /// Whose trouble it would have been.
    pub scope: String,
    /// One line for people.
    pub summary: String,
    /// What routes match.
    pub labels: BTreeMap<String, String>,
    /// When it would have been opened.
    pub opened_at: DateTime,
    /// When it would have been over; null while it would not.
    pub resolved_at: Option<DateTime>,
    /// By which route it would have gone.
    pub route: String,
    /// Who would have been told that something is wrong, and how often.
    pub told: BTreeMap<String, u32>,
}

/// A history that was gone through again; nothing was sent by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertBacktest {
    /// From when on alerts were looked for.
    pub since: DateTime,
    /// Until when time was let pass.
    pub until: DateTime,
    /// How many records there were.
    pub records: u64,
    /// And how many of them could not be read: a newer version wrote them.
    pub unread: u64,
    /// Alerts beyond those that are named here.
    pub left_out: u64,
    /// Alerts in the order in which they would have been opened; each message counts as taken, and nobody acknowledges.
    pub alerts: Vec<WouldBeAlert>,
}

/// Who is on call by a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OnCallEntry {
    /// Name of the schedule, as the configuration has it.
    pub schedule: String,
    /// Who; null where nobody is.
    pub person: Option<String>,
    /// How they are reached.
    pub receivers: Vec<String>,
}

/// Who is on call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OnCallResponse {
    /// The instant that is meant: what was asked for, or now.
    pub at: DateTime,
    /// One entry a schedule, by name.
    pub schedules: Vec<OnCallEntry>,
}

/// Whom a failure of a DAG reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertReach {
    /// Id of the DAG.
    pub dag_id: String,
    /// Whose it is, where its file names somebody.
    pub owner: Option<String>,
    /// By which route; null where the configuration has nobody.
    pub route: Option<String>,
    /// Who is told sooner or later, in order; empty where nobody is.
    pub receivers: Vec<String>,
}

/// Whom failures reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertReachCollection {
    /// DAG by DAG.
    pub dags: Vec<AlertReach>,
    /// How many there are.
    pub total_entries: usize,
    /// Who can be told at all.
    #[serde(default)]
    pub receivers: Vec<String>,
    /// What of the configuration is not as it should be.
    #[serde(default)]
    pub warnings: Vec<String>,
}
