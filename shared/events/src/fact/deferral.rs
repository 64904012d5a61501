//! Facts about tries that wait in a trigger's care: nothing of them runs, and they hold no executor's slot.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HitlAsk, LogRef};
use crate::{AssetKey, ExecutorId, Leg, MapIndex, Payload, TaskId, Timestamp, TryNumber, Usage};

/// A trigger as its class serialised it: what makes the same one again, elsewhere and later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerCall {
    /// Where its class is imported from, with dots.
    pub class_path: String,
    /// Its arguments by name: a JSON object in text, values as XComs are written.
    pub kwargs: Payload,
}

/// See [`crate::Fact::TryDeferred`]. Scope: the run. The try goes on as another leg; no retry is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryDeferred {
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Number of the try, from 1; never used twice for one copy of a task in a run.
    pub try_number: TryNumber,
    /// The leg that is over; the trigger stands for the next one.
    #[serde(default, skip_serializing_if = "Leg::is_first")]
    pub leg: Leg,
    /// When that was, by the executor's clock.
    pub ended_at: Timestamp,
    /// What it waits for.
    pub trigger: TriggerCall,
    /// The method of the operator that is called afterwards.
    pub next_method: String,
    /// What that is called with besides the event: a JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_kwargs: Option<Payload>,
    /// The task goes on with a failure where the trigger has not fired by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Timestamp>,
    /// Where it waits for a person: what is asked. Nobody runs the trigger then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Box<HitlAsk>>,
    /// Memory and CPU time that its process took.
    #[serde(default)]
    pub usage: Usage,
    /// Where the lines that it wrote are kept; none where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// See [`crate::Fact::TriggerFired`]. Scope: the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerFired {
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
    /// The event's payload, in JSON as XComs are written.
    pub event: Payload,
    /// Whether the event ends the task: the same record says how, and nothing of the task runs any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_task: bool,
    /// The triggerer that ran it.
    pub executor: ExecutorId,
    /// When, by its clock.
    pub fired_at: Timestamp,
    /// Where the trigger's own lines are kept; none where it wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// How a trigger came to nothing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TriggerFailedWhy {
    /// Its time was up.
    Timeout,
    /// Its class could not be imported, or not be made of its arguments.
    NotMade,
    /// Its code raised.
    Raised,
    /// Its code ended without an event.
    NoEvent,
    /// It kept all triggers of its process waiting, for too long.
    Blocked,
    /// The process that ran it alone died, again and again.
    Died,
}

/// See [`crate::Fact::TriggerFailed`]. Scope: the run. The task goes on, and raises what this says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerFailed {
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
    /// In which way it came to nothing.
    pub why: TriggerFailedWhy,
    /// What was raised, or where it stood; empty where there is nothing more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceback: String,
    /// The triggerer that ran it; none where its time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// Where the trigger's own lines are kept; none where it wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
    /// What it watches, where it is the watcher of an asset; none where a task waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<AssetKey>,
}
