//! Letting tasks of a run run again, and letting a run be gone.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::RunKey;
use dagbok_protocol::{ClearTasks, ClearedTask, CommandBody, OnRunning, VersionChange};

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
use crate::shapes::{
    Cleared, Detail, OtherCleared, RunClear, RunCleared, RunVersionChange, TaskWasCount,
};

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
        on_latest_version: body.run_on_latest_version,
        running: if body.kill { OnRunning::Restart } else { OnRunning::Refuse },
        ..ClearTasks::of(key.dag_id.clone(), key.run_id.clone())
    };
    let keys = around(&state, &key, (body.include_past, body.include_future)).await?;
    let found = would_clear(&state, &caller, keys, &ask).await?;
    if !body.dry_run {
        clear_each(&state, &caller, &found, &ask, reason.as_ref()).await?;
    }
    let dag_run = one(&state, key.clone()).await?;
    let keys: Vec<RunKey> = found.iter().map(|it| it.key.clone()).collect();
    let kept = state.read(move |store| {
        let lapsed = |key: &RunKey| Ok(store.run(key)?.and_then(|run| run.xcoms_lapsed));
        keys.iter().map(lapsed).collect::<Result<Vec<_>, ApiError>>()
    });
    let kept = kept.await?.into_iter().map(|it| it.map(|it| it.kept_until.into()));
    let mut kept_until = None;
    let (mut run_goes_on, mut tasks, mut version) = (false, Vec::new(), None);
    let mut others = Vec::new();
    for (it, xcoms_kept_until) in found.into_iter().zip(kept) {
        let is_changed = it.is_changed();
        let of_run = it.tasks.into_iter().map(cleared).collect();
        let to = it.version.map(|to| version_change(*to));
        if it.key == key {
            (run_goes_on, tasks, version) = (it.goes_on, of_run, to);
            kept_until = xcoms_kept_until;
        } else if is_changed {
            let (dag_run_id, run_goes_on) = (it.key.run_id.to_string(), it.goes_on);
            others.push(OtherCleared {
                dag_run_id,
                run_goes_on,
                tasks: of_run,
                version: to,
                xcoms_kept_until,
            });
        }
    }
    Ok(Json(RunCleared {
        dry_run: body.dry_run,
        run_goes_on,
        tasks,
        version,
        xcoms_kept_until: kept_until,
        others,
        dag_run,
    }))
}

fn version_change(change: VersionChange) -> RunVersionChange {
    RunVersionChange {
        from: change.from,
        to: change.to,
        bundle_version: change.bundle.to_string(),
        added: change.added.into_iter().map(cleared).collect(),
        removed: change.removed.into_iter().map(cleared).collect(),
    }
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
