//! Work items: one try, with what an executor needs to run it and no more.
use dagbok_events::{
    AssetEvent, Checkpoint, DagCallbackKind, Digest, Interval, Limits, MapIndex, Micros, Partition,
    Payload, PoolName, QueueName, Resources, RunType, TaskId, Timestamp, TriggerCall,
    TriggerFailedWhy, TryKey, TryNumber,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One try to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own, and most are rare"
)]
pub struct WorkItem {
    /// The try: its DAG, run, task, copy, number and leg.
    pub key: TryKey,
    /// The sequence of the record that queued it.
    pub queued_seq: u64,
    /// When it was queued, by the scheduler's clock.
    pub queued_at: Timestamp,
    /// Digest of the bundle that holds the DAG file.
    pub bundle: Digest,
    /// The file in the bundle that defines the DAG.
    pub file: String,
    /// The DAG folder that the bundle is of, where that goes by a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Whose slots it holds.
    pub pool: PoolName,
    /// Which queue it is on.
    pub queue: QueueName,
    /// Where the user's retries end: tries that may fail before the task does (Airflow's `max_tries`).
    pub max_tries: u16,
    /// Whether a failure of this try will be followed by another.
    pub will_retry: bool,
    /// When the try's first leg began, by its executor's clock; a sensor's timeout counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started_at: Option<Timestamp>,
    /// The try fails after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<Micros>,
    /// The data interval of the run that the schedule makes after this one, for a task that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_interval: Option<Interval>,
    /// After so long on its queue the try may be given up, so that whoever takes it up by then asks before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_after: Option<Micros>,
    /// The run it belongs to.
    pub run: RunContext,
    /// Trace context of what caused the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Where the try goes on after a trigger: with what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Where this is no work for an executor but for a triggerer: the trigger that the try waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerCall>,
    /// Where its trigger is that of an asset's watcher: it goes on after an event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watches: bool,
    /// Where this is no try but the call of a DAG's callback: which, and about what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_callback: Option<DagCallback>,
    /// What an executor must have free for it, besides a slot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What it may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whose rights it runs with, where not the executor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// The pod that its task asks for, as JSON of a V1Pod: only who makes pods reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_override: Option<String>,
    /// What its task kept for it in tries before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<Checkpoint>>,
    /// Whether somebody wants to know what its operator read and wrote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lineage: bool,
    /// Whether the scheduler is to be asked before any of the task's code runs: the item was offered
    /// before, so that the try may be over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
}

/// A call of a DAG's callback: what its context says besides what it says of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DagCallback {
    /// Which of the DAG's callbacks.
    pub callback: DagCallbackKind,
    /// Airflow's `reason`: `success`, `task_failure` or `timed_out`.
    pub reason: String,
    /// The task instance that the context has: the one that failed, or the last.
    pub task_id: TaskId,
    /// Which copy, where mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// Its last try.
    pub try_number: TryNumber,
    /// How that stands, in Airflow's word.
    pub state: String,
    /// When the run ended.
    pub ended_at: Timestamp,
}

/// How a try goes on that waited for a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resume {
    /// The method of the operator that is called.
    pub next_method: String,
    /// What it is called with besides the event: a JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_kwargs: Option<Payload>,
    /// What became of the trigger.
    pub by: ResumedBy,
}

/// What became of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResumedBy {
    /// It fired: the event's payload, in JSON as XComs are written.
    Event(Payload),
    /// It came to nothing, which the task raises.
    Failure {
        /// In which way the trigger came to nothing.
        why: TriggerFailedWhy,
        /// What was raised, or where it stood.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        traceback: String,
    },
}

/// What a task's context says of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunContext {
    /// How it came about.
    pub run_type: RunType,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// A JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
    /// Who triggered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
    /// What they wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Events of assets that made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asset_events: Vec<AssetEvent>,
    /// The partition that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}
