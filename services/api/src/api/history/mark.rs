//! Saying how tasks ended, and notes on them.
use axum::{Json, extract::State};
use dagbok_events::{MapIndex, RunKey, TaskId, TaskMark};
use dagbok_protocol::{CommandBody, MarkTasks, NoteTask, TaskCopy, limits::NOTED_AT_ONCE};

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, map_index, run_key, task_id},
        state::ApiState,
        tasks::instance,
        tell::tell,
        view::{InstanceView, copies_of},
    },
    around, reason_of, shown, would_change,
};
use crate::{
    model::Store,
    shapes::{Detail, ListExtra, TaskInstanceCollection, TaskInstancePatch},
};

async fn mark(
    state: &ApiState,
    caller: Caller,
    key: RunKey,
    (task, map): (String, Option<i32>),
    (patch, dry_run): (TaskInstancePatch, bool),
) -> Result<TaskInstanceCollection, ApiError> {
    let mark = match patch.new_state.as_ref().map(|state| state.to_lowercase()).as_deref() {
        None => None,
        Some("success") => Some(TaskMark::Success),
        Some("failed") => Some(TaskMark::Failed),
        Some("skipped") => Some(TaskMark::Skipped),
        Some(other) => {
            let msg = format!("'{other}' is not one of ['success', 'failed', 'skipped']");
            return Err(ApiError::invalid("value_error", &["body", "new_state"], msg));
        }
    };
    if mark.is_none() && patch.note.is_none() {
        let msg = "there is nothing to change: give a new_state, a note, or both";
        return Err(ApiError::invalid("missing", &["body", "new_state"], msg));
    }
    let of = task_id(&task)?;
    let note = reason_of(patch.note.clone(), "note")?;
    let reason = reason_of(patch.reason.clone(), "reason")?.or_else(|| note.clone());
    let noted = NoteTask {
        dag_id: key.dag_id.clone(),
        run_id: key.run_id.clone(),
        task_id: of.clone(),
        map_index: map.map(|map| map_index(Some(map))),
        note,
    };
    let copy = map.map(|map| TaskCopy { task_id: of.clone(), map_index: map_index(Some(map)) });
    let ask = |key: &RunKey, state, dry_run| {
        CommandBody::MarkTasks(MarkTasks {
            dag_id: key.dag_id.clone(),
            run_id: key.run_id.clone(),
            task_ids: if copy.is_some() { Vec::new() } else { vec![of.clone()] },
            copies: copy.clone().into_iter().collect(),
            state,
            upstream: patch.include_upstream,
            downstream: patch.include_downstream,
            dry_run,
        })
    };
    let mut found = Vec::new();
    if let Some(mark) = mark {
        let keys = around(state, &key, (patch.include_past, patch.include_future)).await?;
        found = would_change(state, &caller, keys, |key| ask(key, mark, true)).await?;
        for it in found.iter().filter(|it| !dry_run && !it.tasks.is_empty()) {
            tell(state, caller.clone(), reason.clone(), ask(&it.key, mark, false)).await?;
        }
    }
    if patch.note.is_some() && !dry_run {
        tell(state, caller, None, CommandBody::NoteTask(noted)).await?;
    }
    if mark.is_some() {
        return shown(state, found).await;
    }
    state.read(move |store| noted_copies(store, &key, &of, map.map(MapIndex))).await
}

/// The task, or those of its copies that a note is about.
fn noted_copies(
    store: &Store,
    key: &RunKey,
    task: &TaskId,
    map: Option<MapIndex>,
) -> Result<TaskInstanceCollection, ApiError> {
    let one = instance(store, key, task.as_str(), map)?;
    let copies = match map {
        Some(MapIndex(at)) => at..at + 1,
        None => copies_of(&one.run, task),
    };
    let total_entries = copies.len();
    let mut task_instances = Vec::new();
    for map_index in copies.take(NOTED_AT_ONCE).map(MapIndex) {
        let row = store.task(key, task, map_index)?;
        let one = InstanceView::of(store, &one.run, task, map_index, row)?;
        task_instances.push(one.listed());
    }
    let complete = total_entries == task_instances.len();
    let dagbok = ListExtra { total_is_exact: true, complete };
    Ok(TaskInstanceCollection { task_instances, total_entries, dagbok })
}

/// Says how a task ended, all copies of it, or notes something of them; of a new state `note` is the reason, too.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    tag = "Task Instance", params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path)),
    request_body = TaskInstancePatch,
    responses((status = 200, body = TaskInstanceCollection), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch_task(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    caller: Caller,
    InBody(patch): InBody<TaskInstancePatch>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    mark(&state, caller, key, (task, None), (patch, false)).await.map(Json)
}

/// Says how one copy of a task ended, or notes something of it.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    request_body = TaskInstancePatch,
    responses((status = 200, body = TaskInstanceCollection), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch_copy(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
    caller: Caller,
    InBody(patch): InBody<TaskInstancePatch>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    mark(&state, caller, key, (task, Some(map)), (patch, false)).await.map(Json)
}

/// What saying how a task ended would change.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
    tag = "Task Instance", params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path)),
    request_body = TaskInstancePatch,
    responses((status = 200, body = TaskInstanceCollection), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch_task_dry_run(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    caller: Caller,
    InBody(patch): InBody<TaskInstancePatch>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    mark(&state, caller, key, (task, None), (patch, true)).await.map(Json)
}

/// What saying how one copy of a task ended would change.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    request_body = TaskInstancePatch,
    responses((status = 200, body = TaskInstanceCollection), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch_copy_dry_run(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
    caller: Caller,
    InBody(patch): InBody<TaskInstancePatch>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    mark(&state, caller, key, (task, Some(map)), (patch, true)).await.map(Json)
}
