//! Reports: what an executor says of a try. The scheduler accepts them or keeps them as refused.
use dagbok_events::{
    AssetRef, CheckpointFiles, ExecutorId, Failure, HitlAsk, LogRef, LostWhy, Payload, TaskId,
    Timestamp, TriggerCall, TriggerFailedWhy, TryKey, Usage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One report about one try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The try: its DAG, run, task, copy, number and leg.
    pub key: TryKey,
    /// Who says so.
    pub executor: ExecutorId,
    /// When it happened, by the executor's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: ReportBody,
}

/// A value that a task hands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct XComValue {
    /// Its name; `return_value` for what the task returned.
    pub key: String,
    /// JSON text; `None` deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
    /// How many elements it has, where other tasks are mapped over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
}

/// An asset that a task brought up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutletEvent {
    /// Which, or what refers to it.
    pub asset: AssetRef,
    /// A JSON object in text that the task said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// The aliases by which it named the asset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Which partition of the asset, where the task says so; the run's own otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// How an event of a trigger ends its task, with nothing of the task run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerEnd {
    /// Airflow's `TaskSuccessEvent`.
    Success,
    /// Airflow's `TaskFailedEvent`: no retry follows.
    Failed,
    /// Airflow's `TaskSkippedEvent`.
    Skipped,
}

/// What happened to a try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportBody {
    /// Its process began. An answer is sent where asked for: a refusal means that the process must be killed.
    Started {
        /// Name of the machine that the try ran on.
        hostname: String,
        /// As which process there.
        pid: u32,
        /// Digests of what it saw, by name.
        inputs: std::collections::BTreeMap<String, String>,
        /// Whether its item was delivered before, to an executor that neither ended the try nor handed it
        /// back: it may have begun there. While nothing is known of that, the answer is a refusal, and
        /// another try takes its place.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// It pushed a value while running.
    XCom(XComValue),
    /// It has a name for people, by its task's `map_index_template`.
    Named {
        /// What its `map_index_template` gave.
        rendered_map_index: String,
    },
    /// It succeeded.
    Succeeded {
        /// Values pushed since the last report, the returned one among them.
        xcoms: Vec<XComValue>,
        /// Memory and CPU time that its process took.
        usage: Usage,
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: Option<LogRef>,
        /// Tasks that it decided against, as a branch does.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skips: Vec<TaskId>,
        /// Assets that it brought up to date.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outlets: Vec<OutletEvent>,
    },
    /// It failed.
    Failed {
        /// How and whose.
        failure: Failure,
        /// Values pushed since the last report.
        xcoms: Vec<XComValue>,
        /// Memory and CPU time that its process took.
        usage: Usage,
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: Option<LogRef>,
    },
    /// Its code said to skip.
    Skipped {
        /// What the code said.
        message: String,
        /// Values pushed since the last report.
        xcoms: Vec<XComValue>,
        /// Memory and CPU time that its process took.
        usage: Usage,
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: Option<LogRef>,
    },
    /// It asked to go on later: its leg is over, the try is not.
    Rescheduled {
        /// No sooner than this, by the executor's clock.
        due: Timestamp,
        /// Values pushed since the last report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        xcoms: Vec<XComValue>,
        /// Memory and CPU time that its process took.
        usage: Usage,
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: Option<LogRef>,
    },
    /// It waits for a trigger: its leg is over, the try is not.
    Deferred {
        /// What it waits for.
        trigger: TriggerCall,
        /// The method of the operator that is called afterwards.
        next_method: String,
        /// What that is called with besides the event: a JSON object in text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_kwargs: Option<Payload>,
        /// By when it must have fired, by the executor's clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_at: Option<Timestamp>,
        /// Where it waits for a person: what is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<Box<HitlAsk>>,
        /// Values pushed since the last report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        xcoms: Vec<XComValue>,
        /// Memory and CPU time that its process took.
        usage: Usage,
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: Option<LogRef>,
    },
    /// Its trigger is in a triggerer's hands. It decides nothing; a refusal means that nobody waits for it any more.
    TriggerHeld,
    /// Its trigger fired.
    TriggerFired {
        /// The event's payload, in JSON as XComs are written.
        event: Payload,
        /// Where the event ends the task: how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<TriggerEnd>,
        /// Values that such an event hands on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        xcoms: Vec<XComValue>,
        /// Where the trigger's own lines are kept; none where it wrote none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<LogRef>,
    },
    /// Its trigger came to nothing.
    TriggerFailed {
        /// In which way it came to nothing.
        why: TriggerFailedWhy,
        /// What was raised, or where it stood.
        traceback: String,
        /// Where the trigger's own lines are kept; none where it wrote none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<LogRef>,
    },
    /// A callback of its task raised, or could not be called.
    CallbackFailed {
        /// The argument that it was given by.
        callback: String,
        /// What was raised, or what became of it.
        message: String,
    },
    /// It keeps something for the next try of its task. All that is named lies beside the log by then.
    Checkpoint {
        /// Its directory, in the place of the one before; none where that stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<CheckpointFiles>,
        /// Values that changed, as JSON text, by their keys; `None` where one is gone.
        #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
        values: std::collections::BTreeMap<String, Option<String>>,
    },
    /// How far it has come.
    Progress {
        /// How much is done, in ten-thousandths.
        done: u16,
        /// What its code says of it, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// What it read and wrote, as its operator says. It comes before the end of the try.
    Lineage {
        /// A JSON object in text, with `inputs`, `outputs`, `run_facets` and `job_facets` as OpenLineage has them.
        lineage: String,
    },
    /// It is handed back without having been started.
    Returned,
    /// It is gone with no word: fenced, drained, ended by order, or not held though the work item says so.
    Lost {
        /// How that came.
        why: LostWhy,
        /// What it used, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// What it wrote, where that was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<LogRef>,
    },
    /// What an executor that was killed left of it on its disk. It says nothing of the try itself, and is
    /// kept whatever has become of that.
    Left {
        /// Where the lines that it wrote are kept; none where nothing was kept.
        log: LogRef,
    },
}
