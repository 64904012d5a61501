//! The first frame of a try: what to run, and what its context says. Field for field as Airflow's.
use bytes::Bytes;
use dagbok_events::{AssetEvent, DagCallbackKind, Payload, RunType, TriggerFailedWhy};
use dagbok_protocol::{ResumedBy, WorkItem};
use serde::{Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    deferral,
    wire::{self, Stamp},
};
use crate::store::Store;

#[derive(Serialize)]
#[serde(tag = "type")]
enum Body<'a> {
    StartupDetails(Box<StartupDetails<'a>>),
}

#[derive(Serialize)]
struct StartupDetails<'a> {
    ti: TaskInstance<'a>,
    dag_rel_path: &'a str,
    bundle_info: BundleInfo<'a>,
    start_date: Stamp,
    sentry_integration: &'static str,
    ti_context: TiContext<'a>,
    execution_timeout_us: Option<i64>,
    /// How the try goes on after a trigger.
    resume: Option<&'a Resumed>,
    /// Where nothing of the task runs but its callback: what became of it.
    callback: Option<&'a Callback>,
    /// Where nothing of a task runs but a callback of the DAG: which, and about what.
    dag_callback: Option<DagCallback<'a>>,
    /// How many elements it may return where other tasks are mapped over it.
    max_map_length: u32,
    /// Whether it is to say what its operator read and wrote; left out where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lineage: bool,
}

#[derive(Serialize)]
struct TaskInstance<'a> {
    id: String,
    dag_id: &'a str,
    run_id: &'a str,
    task_id: &'a str,
    map_index: i32,
    try_number: u16,
    hostname: &'a str,
    queue: &'a str,
    pool: &'a str,
}

#[derive(Serialize)]
struct BundleInfo<'a> {
    name: &'a str,
    version: Option<&'a str>,
    path: &'a str,
}

#[derive(Serialize)]
struct TiContext<'a> {
    dag_run: DagRun<'a>,
    max_tries: u16,
    task_reschedule_count: u32,
    /// When the try's first leg began, where this is a later one.
    first_started_at: Option<Stamp>,
    /// Start and end of the data interval after the run's, where the task asks for it.
    next_data_interval: Option<(Stamp, Stamp)>,
    variables: [(); 0],
    connections: [(); 0],
    should_retry: bool,
    upstream_map_indexes: serde_json::Map<String, Value>,
}

#[derive(Serialize)]
struct DagRun<'a> {
    dag_id: &'a str,
    run_id: &'a str,
    logical_date: Option<Stamp>,
    data_interval_start: Option<Stamp>,
    data_interval_end: Option<Stamp>,
    run_after: Stamp,
    start_date: Option<Stamp>,
    end_date: Option<Stamp>,
    run_type: &'static str,
    state: &'static str,
    conf: Option<()>,
    /// The conf's own text: parsed here, large numbers would be rounded.
    conf_json: Option<&'a str>,
    triggering_user_name: Option<&'a str>,
    note: Option<&'a str>,
    clear_number: u32,
    partition_key: Option<&'a str>,
    partition_date: Option<Stamp>,
    consumed_asset_events: Vec<ConsumedEvent<'a>>,
}

/// An event of an asset that made the run.
#[derive(Serialize)]
struct ConsumedEvent<'a> {
    name: &'a str,
    uri: &'a str,
    timestamp: Stamp,
    extra: Value,
    aliases: &'a [String],
    source_dag_id: Option<&'a str>,
    source_run_id: Option<&'a str>,
    source_task_id: Option<&'a str>,
    source_map_index: i32,
    partition_key: Option<&'a str>,
}

fn consumed(event: &AssetEvent) -> ConsumedEvent<'_> {
    let source = event.source.as_ref();
    let extra = event.extra.as_ref().and_then(|extra| serde_json::from_str(extra).ok());
    ConsumedEvent {
        name: &event.asset.name,
        uri: &event.asset.uri,
        timestamp: Stamp(event.at),
        extra: extra.unwrap_or(Value::Null),
        aliases: &event.aliases,
        source_dag_id: source.map(|source| source.dag_id.as_str()),
        source_run_id: source.map(|source| source.run_id.as_str()),
        source_task_id: source.map(|source| source.task_id.as_str()),
        source_map_index: source.map_or(-1, |source| source.map_index.0),
        partition_key: event.partition.as_ref().map(|it| it.key.as_str()),
    }
}

const fn run_type(kind: RunType) -> &'static str {
    match kind {
        RunType::Manual => "manual",
        RunType::Scheduled => "scheduled",
        RunType::Backfill => "backfill",
        RunType::AssetTriggered => "asset_triggered",
    }
}

/// How a try goes on after a trigger, with what was kept beside the log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Resumed {
    next_method: String,
    /// A JSON object in text, values as XComs are written.
    next_kwargs: Option<String>,
    /// The event's payload, in JSON; none where the trigger came to nothing.
    event: Option<String>,
    /// How that came.
    failure: Option<TriggerFailedWhy>,
    /// What was raised, or where it stood.
    traceback: String,
}

/// A call of a DAG's callback.
#[derive(Serialize)]
struct DagCallback<'a> {
    /// `on_success_callback` or `on_failure_callback`.
    callback: &'static str,
    reason: &'a str,
    /// How the task instance of its context stands.
    state: &'a str,
}

/// A try's failure, for its callback.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Callback {
    /// How it failed.
    pub(super) message: String,
    /// Whether another try follows.
    pub(super) retries: bool,
}

/// What a frame says besides the item.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct With<'a> {
    /// The run's conf in JSON.
    pub(super) conf: Option<&'a str>,
    /// How it goes on after a trigger.
    pub(super) resume: Option<&'a Resumed>,
    /// That only a callback is to run.
    pub(super) callback: Option<&'a Callback>,
}

/// That of an item, where it has one.
pub(crate) async fn resumed(item: &WorkItem, store: &Store) -> Result<Option<Resumed>, String> {
    let Some(resume) = &item.resume else { return Ok(None) };
    let next_kwargs = match &resume.next_kwargs {
        Some(kwargs) => Some(deferral::unpack(store, kwargs).await?),
        None => None,
    };
    let next_method = resume.next_method.clone();
    let (event, failure, traceback) = match &resume.by {
        ResumedBy::Event(event) => {
            (Some(deferral::unpack(store, event).await?), None, String::new())
        }
        ResumedBy::Failure { why, traceback } => (None, Some(*why), traceback.clone()),
    };
    Ok(Some(Resumed { next_method, next_kwargs, event, failure, traceback }))
}

/// The run's conf in JSON; an error where its blob is not there or is none.
pub(crate) async fn conf(item: &WorkItem, store: &Store) -> Result<Option<String>, String> {
    let text = match &item.run.conf {
        None => return Ok(None),
        Some(Payload::Inline(text)) => Bytes::from(text.clone()),
        Some(Payload::Blob { digest, .. }) => store.get(digest.as_str()).await?,
    };
    let no_json = |error: &dyn std::fmt::Display| format!("the run's conf is no JSON: {error}");
    serde_json::from_slice::<IgnoredAny>(&text).map_err(|error| no_json(&error))?;
    String::from_utf8(text.into()).map(Some).map_err(|error| no_json(&error))
}

fn bundle_info<'a>(item: &'a WorkItem, path: &'a str) -> BundleInfo<'a> {
    BundleInfo {
        name: item.folder.as_deref().unwrap_or("dags"),
        version: Some(item.bundle.as_str()),
        path,
    }
}

/// The frame, encoded.
pub(crate) fn frame(
    item: &WorkItem,
    with: With<'_>,
    (hostname, max_map_length): (&str, u32),
    folder: &str,
    now: dagbok_events::Timestamp,
) -> Vec<u8> {
    let (key, run) = (&item.key, &item.run);
    let call = item.dag_callback.as_ref();
    let (task_id, map_index, try_number) = match call {
        Some(call) => (&call.task_id, call.map_index, call.try_number),
        None => (&key.task_id, key.map_index, key.try_number),
    };
    let run_state = match call.map(|call| call.callback) {
        Some(DagCallbackKind::OnSuccess) => "success",
        Some(DagCallbackKind::OnFailure) => "failed",
        None => "running",
    };
    let details = StartupDetails {
        ti: TaskInstance {
            id: dagbok_runtime::fresh_id(),
            dag_id: key.dag_id.as_str(),
            run_id: key.run_id.as_str(),
            task_id: task_id.as_str(),
            map_index: map_index.0,
            try_number: try_number.get(),
            hostname,
            queue: item.queue.as_str(),
            pool: item.pool.as_str(),
        },
        dag_rel_path: &item.file,
        bundle_info: bundle_info(item, folder),
        start_date: Stamp(now),
        sentry_integration: "",
        ti_context: TiContext {
            dag_run: DagRun {
                dag_id: key.dag_id.as_str(),
                run_id: key.run_id.as_str(),
                logical_date: run.logical_date.map(Stamp),
                data_interval_start: run.data_interval.map(|interval| Stamp(interval.start)),
                data_interval_end: run.data_interval.map(|interval| Stamp(interval.end)),
                run_after: Stamp(run.run_after),
                start_date: run.start_date.map(Stamp),
                end_date: call.map(|call| Stamp(call.ended_at)),
                run_type: run_type(run.run_type),
                state: run_state,
                conf: None,
                conf_json: with.conf,
                triggering_user_name: run.triggered_by.as_deref(),
                note: run.note.as_deref(),
                clear_number: 0,
                partition_key: run.partition.as_ref().map(|it| it.key.as_str()),
                partition_date: run.partition.as_ref().and_then(|it| it.date).map(Stamp),
                consumed_asset_events: run.asset_events.iter().map(consumed).collect(),
            },
            max_tries: item.max_tries,
            task_reschedule_count: key.leg.0,
            first_started_at: item.first_started_at.map(Stamp),
            next_data_interval: item.next_interval.map(|next| (Stamp(next.start), Stamp(next.end))),
            variables: [],
            connections: [],
            should_retry: item.will_retry,
            upstream_map_indexes: serde_json::Map::new(),
        },
        resume: with.resume,
        callback: with.callback,
        dag_callback: call.map(|call| DagCallback {
            callback: call.callback.argument(),
            reason: &call.reason,
            state: &call.state,
        }),
        execution_timeout_us: item.execution_timeout.map(|limit| limit.0),
        max_map_length,
        lineage: item.lineage,
    };
    wire::encode(&(0, Body::StartupDetails(Box::new(details)), ()))
}
