//! One task of a run: its tries, what it handed on, and who was told.
use axum::{Json, extract::State};
use dagbok_events::{MapIndex, Payload, RunKey, TaskId, TaskSpec, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, map_index, no_task, run_key, task_id},
        state::ApiState,
        view::{InstanceView, when, word},
    },
    question::question,
    run::{known, shown, worth_showing},
    states::Copies,
    told,
    view::View,
};
use crate::{
    alerts::Alerts,
    model::{
        Store,
        rows::{TaskInstanceState, VersionRow, XComRow},
    },
    shapes::{Detail, UiRunTask, UiTask, UiXCom},
};

/// Values that are shown whole, in bytes.
const VALUE: usize = 8 << 10;
/// Copies of a mapped task that are listed.
const COPIES: usize = 200;

/// Which copy.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskQuery {
    /// Of a mapped task, from 0 on; -1 of the task itself.
    map_index: Option<i32>,
}

/// A task of a run with all of its tries.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/tasks/{dag_id}/{dag_run_id}/{task_id}", tag = "UI",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), TaskQuery),
    responses((status = 200, body = UiTask), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn task(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(query): InQuery<TaskQuery>,
) -> Result<Json<Value>, ApiError> {
    let map = map_index(query.map_index);
    View::Task(run_key(&dag, &run)?, task_id(&task)?, map).snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(
    state: &ApiState,
    key: RunKey,
    id: TaskId,
    map: MapIndex,
) -> Result<UiTask, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let alerts = state.alerts.get().cloned();
    let asked = Asked { key, id, map, seq, now };
    state.read(move |store| read(store, alerts.as_ref(), &asked)).await
}

struct Asked {
    key: RunKey,
    id: TaskId,
    map: MapIndex,
    seq: u64,
    now: Timestamp,
}

fn read(store: &Store, alerts: Option<&Alerts>, asked: &Asked) -> Result<UiTask, ApiError> {
    let Asked { key, id, map, seq, now } = asked;
    let (run, version) = known(store, key)?;
    let spec = version.spec.tasks.iter().find(|task| task.task_id == *id);
    let spec = spec.ok_or_else(|| no_task(id.as_str()))?;
    let row = store.task(key, id, *map)?;
    let mut task = shown(store, &version.spec, spec, key, *map, row.as_ref())?;
    let mut copies = Vec::new();
    let count = run.expanded.get(id).copied().filter(|_| map.0 < 0);
    if let Some(count) = count {
        let marks = store.marks(key, id)?;
        let all = Copies::of(&marks, count);
        let worst = all.worst().map_or("none", TaskInstanceState::word);
        task = UiRunTask { state: worst.to_owned(), copies: Some(all.words()), ..task };
        for copy in worth_showing(&marks, count, COPIES) {
            let row = store.task(key, id, MapIndex(copy))?;
            copies.push(shown(store, &version.spec, spec, key, MapIndex(copy), row.as_ref())?);
        }
    }
    let view = InstanceView::of(store, &run, id, *map, row.clone())?;
    let tries = store.tries(key, id, *map)?;
    let tries = tries.iter().map(|attempt| view.try_then(store, attempt));
    let handed = row.as_ref().filter(|row| !row.xcoms.is_empty());
    let xcoms_kept_until = handed.and_then(|row| run.xcoms_kept_until(row));
    let question = question(store, key, id, *map, row.as_ref())?;
    let told = told::of_runs(alerts, std::slice::from_ref(key), *now).pop().unwrap_or_default();
    Ok(UiTask {
        seq: *seq,
        as_of: (*now).into(),
        mark: String::new(),
        dag_id: key.dag_id.to_string(),
        run_id: key.run_id.to_string(),
        timezone: version.spec.schedule.timezone.clone(),
        run_state: run.state.word().to_owned(),
        logical_date: when(run.logical_date),
        run_after: run.run_after.into(),
        run_type: word(&run.run_type),
        task,
        note: row.as_ref().and_then(|row| row.note.clone()),
        message: row.as_ref().and_then(|row| row.message.clone()),
        trigger_rule: word(&spec.trigger_rule),
        retries: spec.retries,
        pool: spec.pool.to_string(),
        queue: spec.queue.to_string(),
        downstream: downstream(&version, spec),
        doc_md: spec.doc_md.clone(),
        question,
        tries: tries.collect::<Result<_, _>>()?,
        xcoms: if xcoms_kept_until.is_none() {
            store.xcoms(key, id, *map)?.into_iter().map(xcom).collect()
        } else {
            Vec::new()
        },
        xcoms_kept_until: when(xcoms_kept_until),
        copies,
        told,
        alerts: told::alerts_of(alerts, key, *now),
    })
}

fn downstream(version: &VersionRow, task: &TaskSpec) -> Vec<String> {
    let tasks = &version.spec.tasks;
    let follows = |it: &&TaskSpec| {
        let mut upstream = it.upstream.iter().filter_map(|at| tasks.get(*at as usize));
        upstream.any(|up| up.task_id == task.task_id)
    };
    tasks.iter().filter(follows).map(|it| it.task_id.to_string()).collect()
}

fn xcom(row: XComRow) -> UiXCom {
    let (size, text) = match row.value {
        Payload::Inline(text) => (text.len() as u64, Some(text).filter(|text| text.len() <= VALUE)),
        Payload::Blob { size, .. } => (size, None),
    };
    UiXCom { key: row.key, at: row.at.into(), try_number: row.try_number.get(), size, text }
}
