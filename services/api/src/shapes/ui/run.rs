//! A run, and a task of it with its tries.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{AlertResponse, DateTime, TryInstance},
    UiQuestion, UiTold,
};

/// Why something failed, in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiFailure {
    /// The task that failed first.
    pub task_id: String,
    /// Which copy; -1 where it is not mapped.
    pub map_index: i32,
    /// Number of the try that failed, from 1.
    pub try_number: u16,
    /// How many tries there were.
    pub tries: u16,
    /// `exception`, `timeout`, `out_of_memory` and the like, or `lost`.
    pub kind: String,
    /// Whose it was: `user`, `system`, `data`.
    pub fault: String,
    /// The exception's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// One line.
    pub message: String,
    /// The file of the user's code that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// How many more tasks failed by themselves.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiRun {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// The zone that its DAG reckons in.
    pub timezone: String,
    /// State of the run, in Airflow's word.
    pub state: String,
    /// `manual`, `scheduled`, `backfill`, `asset_triggered`.
    pub run_type: String,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// Where its data begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval_start: Option<DateTime>,
    /// Where its data ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval_end: Option<DateTime>,
    /// Key of the partition that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// When it could begin at the earliest.
    pub run_after: DateTime,
    /// When it was made.
    pub queued_at: DateTime,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime>,
    /// How it ended: `tasks`, `timed_out`, `cancelled`, `marked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who made it.
    pub by: String,
    /// The meaning of the DAG that it runs.
    pub version: u32,
    /// Digest of the code.
    pub bundle: String,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub conf: Option<Value>,
    /// What somebody wrote of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its tasks by state, copies counted.
    pub counts: BTreeMap<String, u32>,
    /// How many tasks it has, copies counted.
    pub task_count: u32,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<UiFailure>,
    /// Its tasks by their places.
    pub tasks: BTreeMap<String, UiRunTask>,
    /// Whether those are all of them.
    pub complete: bool,
    /// Who was told, in short.
    pub told: UiTold,
    /// Alerts about it, newest first, at most 20.
    pub alerts: Vec<AlertResponse>,
    /// The run before it, by the order of making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The run after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The record that made it.
    pub created_seq: u64,
    /// The last record about it.
    pub last_seq: u64,
}

/// A task of a run, or one copy of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiRunTask {
    /// Id of the task.
    pub task_id: String,
    /// Which copy; -1 of the task itself.
    pub map_index: i32,
    /// What people call that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Airflow's state; `none` where it has none.
    pub state: String,
    /// The newest try; 0 before the first.
    pub try_number: u16,
    /// The group that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The operator's class.
    pub operator: String,
    /// Its direct upstreams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// Of a mapped task: its copies by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<BTreeMap<String, u32>>,
    /// Its tries, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<UiTryBar>,
    /// Why it failed, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A try as a bar.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiTryBar {
    /// Number of the try, from 1.
    pub number: u16,
    /// The state that it is, or was left, in.
    pub state: String,
    /// When it was offered.
    pub queued: DateTime,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime>,
}

/// A task of a run with all of its tries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiTask {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// The zone that its DAG reckons in.
    pub timezone: String,
    /// The run's state.
    pub run_state: String,
    /// What the run stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// When the run could begin at the earliest.
    pub run_after: DateTime,
    /// `manual`, `scheduled`, `backfill`, `asset_triggered`.
    pub run_type: String,
    /// The task and its tries in this run.
    pub task: UiRunTask,
    /// What somebody noted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it was ruled out, where its state does not say all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When upstream states let it run.
    pub trigger_rule: String,
    /// Extra tries after the first.
    pub retries: u16,
    /// Where its slots come from.
    pub pool: String,
    /// Which executors may pull it.
    pub queue: String,
    /// What comes right after it.
    pub downstream: Vec<String>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// What its newest try asks people, or asked them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<UiQuestion>,
    /// Every try, oldest first.
    pub tries: Vec<TryInstance>,
    /// What it handed on.
    pub xcoms: Vec<UiXCom>,
    /// Until when those were kept, where they are forgotten by `retention.xcoms`.
    pub xcoms_kept_until: Option<DateTime>,
    /// Of a mapped task: its copies, at most 200, those that did not succeed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<UiRunTask>,
    /// Who was told of the run, in short.
    pub told: UiTold,
    /// Alerts about the run, newest first, at most 20.
    pub alerts: Vec<AlertResponse>,
}

/// A value that a task handed on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiXCom {
    /// Name under which the task handed it on.
    pub key: String,
    /// When the task handed it on.
    pub at: DateTime,
    /// By which try.
    pub try_number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// JSON text, where it is small enough to be at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
