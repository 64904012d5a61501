//! Letting tasks of a run run again, and letting a run be gone.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::RunKey;
use dagbok_protocol::{ClearTasks, ClearedTask, CommandBody, TaskCopy};

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, map_index, run_key, task_id},
        state::ApiState,
        tell::tell,
    },
    one,
};
use crate::shapes::{Cleared, Detail, RunClear, RunCleared, TaskOrCopy};

/// Lets tasks of a run run again, or with `dry_run` says which.
#[utoipa::path(post, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/clear", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), request_body = RunClear,
    responses((status = 200, body = RunCleared), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn clear(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
    InBody(body): InBody<RunClear>,
) -> Result<Json<RunCleared>, ApiError> {
    let key = run_key(&dag, &run)?;
    let (mut task_ids, mut copies) = (Vec::new(), Vec::new());
    for named in &body.task_ids {
        match named {
            TaskOrCopy::Task(raw) => task_ids.push(task_id(raw)?),
            TaskOrCopy::Copy(raw, index) => {
                let map_index = map_index(Some(*index));
                copies.push(TaskCopy { task_id: task_id(raw)?, map_index });
            }
        }
    }
    let ask = ClearTasks {
        dag_id: key.dag_id.clone(),
        run_id: key.run_id.clone(),
        task_ids,
        copies,
        only_failed: body.only_failed,
        dry_run: true,
    };
    let preview = CommandBody::ClearTasks(ask.clone());
    let told = tell(&state, caller.clone(), None, preview).await?;
    let (run_goes_on, tasks) = told.cleared.unwrap_or_default();
    if !body.dry_run && !tasks.is_empty() {
        let act = CommandBody::ClearTasks(ClearTasks { dry_run: false, ..ask });
        tell(&state, caller, None, act).await?;
    }
    let dag_run = one(&state, key).await?;
    let tasks = tasks.into_iter().map(cleared).collect();
    Ok(Json(RunCleared { dry_run: body.dry_run, run_goes_on, tasks, dag_run }))
}

fn cleared(task: ClearedTask) -> Cleared {
    let ClearedTask { task_id, map_index, further } = task;
    Cleared { task_id: task_id.to_string(), map_index: map_index.0, further }
}

/// Lets a run that is over be gone, with its tasks.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)),
    responses((status = 204), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    let RunKey { dag_id, run_id } = run_key(&dag, &run)?;
    tell(&state, caller, None, CommandBody::DeleteRun { dag_id, run_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
