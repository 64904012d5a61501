//! What tasks ask people.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::{DateTime, HitlUserShape};

/// A question with all that is asked, and the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiQuestion {
    /// The try that asks.
    pub try_number: u16,
    /// The question in a line.
    pub subject: String,
    /// More about it, in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What may be chosen.
    pub options: Vec<String>,
    /// What counts as chosen once the time is up.
    pub defaults: Vec<String>,
    /// Whether more than one may be chosen.
    pub multiple: bool,
    /// Fields to be filled in, by name, each with `value`, `description` and `schema`.
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Who may answer; everybody where nobody is named.
    pub assigned_users: Vec<HitlUserShape>,
    /// When it was asked.
    pub asked_at: DateTime,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime>,
    /// Whether the task waits for an answer now.
    pub is_open: bool,
    /// What was answered, and by whom; absent while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<UiAnswer>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiAnswer {
    /// What was chosen.
    pub chosen_options: Vec<String>,
    /// What the fields were filled in with.
    #[schema(value_type = Object)]
    pub params_input: Map<String, Value>,
    /// Who answered; left out where nobody did and the time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was answered.
    pub at: DateTime,
}

/// A question that waits, in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiAsk {
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// Id of the task that asks.
    pub task_id: String,
    /// Which copy of it, from 0 on; -1 of one that is not mapped.
    pub map_index: i32,
    /// The question in a line.
    pub subject: String,
    /// When it was asked.
    pub asked_at: DateTime,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime>,
    /// Names of those who may answer, at most ten; empty where everybody may.
    pub assigned: Vec<String>,
}
