//! Letting tasks of a run run again, and letting a run be gone.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::RunKey;
use dagbok_protocol::{ClearTasks, ClearedTask, CommandBody, OnRunning};

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, run_key},
        history::{around, clear_each, named, reason_of, would_clear},
        state::ApiState,
        tell::tell,
        view::word,
    },
    one,
};
use crate::shapes::{Cleared, Detail, OtherCleared, RunClear, RunCleared, TaskWasCount};

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
    let (task_ids, copies) = named(&body.task_ids)?;
    let reason = reason_of(body.reason, "reason")?;
    let ask = ClearTasks {
        task_ids,
        copies,
        only_failed: body.only_failed,
        only_running: body.only_running,
        upstream: body.include_upstream,
        downstream: body.include_downstream,
        running: if body.kill { OnRunning::Restart } else { OnRunning::Refuse },
        ..ClearTasks::of(key.dag_id.clone(), key.run_id.clone())
    };
    let keys = around(&state, &key, (body.include_past, body.include_future)).await?;
    let found = would_clear(&state, &caller, keys, &ask).await?;
    if !body.dry_run {
        clear_each(&state, &caller, &found, &ask, reason.as_ref()).await?;
    }
    let dag_run = one(&state, key.clone()).await?;
    let (mut run_goes_on, mut tasks, mut others) = (false, Vec::new(), Vec::new());
    for it in found {
        let of_run = it.tasks.into_iter().map(cleared).collect();
        if it.key == key {
            (run_goes_on, tasks) = (it.goes_on, of_run);
        } else {
            let dag_run_id = it.key.run_id.to_string();
            others.push(OtherCleared { dag_run_id, run_goes_on: it.goes_on, tasks: of_run });
        }
    }
    others.retain(|it: &OtherCleared| !it.tasks.is_empty());
    Ok(Json(RunCleared { dry_run: body.dry_run, run_goes_on, tasks, others, dag_run }))
}

fn cleared(task: ClearedTask) -> Cleared {
    let ClearedTask { task_id, map_index, further, was } = task;
    let was = was.iter().map(|it| TaskWasCount { state: word(&it.state), count: it.count });
    Cleared { task_id: task_id.to_string(), map_index: map_index.0, further, was: was.collect() }
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
