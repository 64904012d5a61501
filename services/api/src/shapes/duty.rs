//! Who is told of what, and who is on call.
use serde::Serialize;
use utoipa::ToSchema;

use super::DateTime;

/// Who is told of what, by the configuration that is in force. Names only, no addresses.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyResponse {
    /// When it was asked.
    pub as_of: DateTime,
    /// Receivers by name.
    pub receivers: Vec<DutyReceiverInfo>,
    /// Routes from the root down, in the order in which they are looked at.
    pub routes: Vec<DutyRouteInfo>,
    /// Schedules by name.
    pub schedules: Vec<DutyScheduleInfo>,
    /// Whether somebody outside notices when alerting itself is gone: there is a dead man's switch.
    pub is_watched: bool,
}

/// A receiver.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyReceiverInfo {
    /// Its name in `alerting.toml`.
    pub name: String,
    /// Who is told in its place where it fails.
    pub fallback: Option<String>,
}

/// A route.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyRouteInfo {
    /// The name of the route, as the configuration has it.
    pub name: String,
    /// How many routes stand above it.
    pub depth: u32,
    /// Which alerts take it: all of these match.
    pub matchers: Vec<String>,
    /// Who is told, one step after the other, until somebody acknowledges.
    pub steps: Vec<DutyStepInfo>,
    /// How often the steps begin again after the last, where nobody acknowledges.
    pub repeat: u32,
    /// Where it says what to do about what goes this way, as a web address.
    pub runbook: Option<String>,
}

/// A step of a route's chain.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyStepInfo {
    /// Receivers that are told.
    pub receivers: Vec<String>,
    /// People who are told.
    pub people: Vec<String>,
    /// People of whom one is told, by turns from alert to alert.
    pub by_turns: Vec<String>,
    /// Schedules of which whoever is on call is told.
    pub schedules: Vec<String>,
    /// How many seconds an acknowledgement is waited for before the next step.
    pub wait_seconds: i64,
}

/// A schedule with its turns.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyScheduleInfo {
    /// The name of the schedule, as the configuration has it.
    pub name: String,
    /// The zone that it goes by.
    pub zone: String,
    /// Who is on call now, and who next: at most twelve turns of the next 21 days.
    pub turns: Vec<DutyTurnInfo>,
    /// Why its calendar can't be had or read just now; what was read last holds.
    pub trouble: Option<String>,
}

/// A stretch of time in which one person is on call, or nobody.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DutyTurnInfo {
    /// Who; null is a hole.
    pub person: Option<String>,
    /// The receivers by which they are reached, the first at once.
    pub reached_by: Vec<String>,
    /// Since when, or now.
    pub from: DateTime,
    /// Until before when; null where it holds for as long as was looked.
    pub until: Option<DateTime>,
}
