//! Facts about questions that tasks put to people, as Airflow's human in the loop has them.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Leg, MapIndex, TaskId, Timestamp, TryNumber};

/// A person who may answer, as the DAG's file names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct HitlUser {
    /// By which the API knows who asks.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What a task asks a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HitlAsk {
    /// The question in a line.
    pub subject: String,
    /// More about it, in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What may be chosen; at least one.
    pub options: Vec<String>,
    /// What counts as chosen once the time is up; `None` where the task then fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Vec<String>>,
    /// Whether more than one may be chosen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiple: bool,
    /// Fields to be filled in, by name, each with `value`, `description` and `schema`: a JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
    /// Who may answer; everybody who may change runs where nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assigned_users: Vec<HitlUser>,
}

/// See [`crate::Fact::HitlAnswered`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HitlAnswered {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try that waited.
    pub try_number: TryNumber,
    /// The leg that goes on with it.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// What was chosen, in the order of the answer.
    pub chosen_options: Vec<String>,
    /// What the fields were filled in with, by name: a JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_input: Option<String>,
    /// Who answered; `None` where the time was up and the defaults count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<HitlUser>,
    /// When the scheduler took the answer, or the time was up.
    pub at: Timestamp,
}
