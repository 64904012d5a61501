//! Saying how tasks ended.
use axum::{Json, extract::State};
use dagbok_events::{RunKey, TaskMark};
use dagbok_protocol::{CommandBody, MarkTasks, TaskCopy};

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, map_index, run_key, task_id},
        state::ApiState,
        tell::tell,
    },
    around, reason_of, shown, would_change,
};
use crate::shapes::{Detail, TaskInstanceCollection, TaskInstancePatch};

async fn mark(
    state: &ApiState,
    caller: Caller,
    key: RunKey,
    (task, map): (String, Option<i32>),
    (patch, dry_run): (TaskInstancePatch, bool),
) -> Result<TaskInstanceCollection, ApiError> {
    let mark = match patch.new_state.to_lowercase().as_str() {
        "success" => TaskMark::Success,
        "failed" => TaskMark::Failed,
        "skipped" => TaskMark::Skipped,
        other => {
            let msg = format!("'{other}' is not one of ['success', 'failed', 'skipped']");
            return Err(ApiError::invalid("value_error", &["body", "new_state"], msg));
        }
    };
    let of = task_id(&task)?;
    let copy = map.map(|map| TaskCopy { task_id: of.clone(), map_index: map_index(Some(map)) });
    let reason = reason_of(patch.note.clone(), "note")?;
    let keys = around(state, &key, (patch.include_past, patch.include_future)).await?;
    let ask = |key: &RunKey, dry_run| {
        CommandBody::MarkTasks(MarkTasks {
            dag_id: key.dag_id.clone(),
            run_id: key.run_id.clone(),
            task_ids: if copy.is_some() { Vec::new() } else { vec![of.clone()] },
            copies: copy.clone().into_iter().collect(),
            state: mark,
            upstream: patch.include_upstream,
            downstream: patch.include_downstream,
            dry_run,
        })
    };
    let found = would_change(state, &caller, keys, |key| ask(key, true)).await?;
    if !dry_run {
        for it in found.iter().filter(|it| !it.tasks.is_empty()) {
            tell(state, caller.clone(), reason.clone(), ask(&it.key, false)).await?;
        }
    }
    shown(state, found).await
}

/// Says how a task ended, all copies of it; `note` is kept as the reason.
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

/// Says how one copy of a task ended.
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
