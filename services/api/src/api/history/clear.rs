//! Letting tasks run again: of one run, of those of some dates, or a whole run.
use axum::{Json, extract::State};
use dagbok_events::{DagId, RunKey, TaskWas, TasksWere};
use dagbok_protocol::{ClearTasks, CommandBody, OnRunning, VersionChange};
use serde_json::Value;

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, dag_id, instant, run_key},
        runs::one,
        state::ApiState,
        tell::tell,
    },
    OfRun, around, dated, named, reason_of, shown, would_change,
};
use crate::shapes::{ClearTaskInstances, Detail, RunClearBody, TaskInstanceCollection};

/// What clearing would take of each of these runs.
pub(in crate::api) async fn would_clear(
    state: &ApiState,
    caller: &Caller,
    keys: Vec<RunKey>,
    ask: &ClearTasks,
) -> Result<Vec<OfRun>, ApiError> {
    let body =
        |key: &RunKey| CommandBody::ClearTasks(ClearTasks { dry_run: true, ..of_run(ask, key) });
    let found = would_change(state, caller, keys, body).await?;
    for version in found.iter().filter_map(|of| of.version.as_deref()) {
        has_code(state, &ask.dag_id, version).await?;
    }
    Ok(found)
}

/// Whether the code is there that a run is to go on with: tries of it would fail one by one.
async fn has_code(
    state: &ApiState,
    dag_id: &DagId,
    version: &VersionChange,
) -> Result<(), ApiError> {
    if state.ports.blobs.has(version.bundle.as_str()).await? {
        return Ok(());
    }
    Err(ApiError::Conflict(Value::String(format!(
        "the code of version {} of the DAG {dag_id} is gone ({}), so there is nothing to go on with: change its file, or \
         let the processor read it again, and clear the run then",
        version.to, version.bundle
    ))))
}

fn of_run(ask: &ClearTasks, key: &RunKey) -> ClearTasks {
    ClearTasks { dag_id: key.dag_id.clone(), run_id: key.run_id.clone(), ..ask.clone() }
}

/// Clears what was found, run by run.
pub(in crate::api) async fn clear_each(
    state: &ApiState,
    caller: &Caller,
    found: &[OfRun],
    ask: &ClearTasks,
    reason: Option<&String>,
) -> Result<(), ApiError> {
    let flies = |were: &TasksWere| matches!(were.state, TaskWas::Queued | TaskWas::Running);
    let tasks = found.iter().flat_map(|of| of.tasks.iter().map(|it| (&of.key.run_id, it)));
    let running = tasks.filter(|(_, it)| it.was.iter().any(flies));
    let named: Vec<String> =
        running.take(10).map(|(run, it)| format!("{} of {run}", it.task_id)).collect();
    if ask.running == OnRunning::Refuse && !named.is_empty() {
        return Err(ApiError::Conflict(Value::String(format!(
            "some of these tasks run now, or are queued ({}): wait for them, or ask for them to be ended and begun anew \
             (`prevent_running_task` false, `dagbok runs clear --kill`)",
            named.join(", ")
        ))));
    }
    for it in found.iter().filter(|it| it.is_changed()) {
        let body = CommandBody::ClearTasks(ClearTasks { dry_run: false, ..of_run(ask, &it.key) });
        tell(state, caller.clone(), reason.cloned(), body).await?;
    }
    Ok(())
}

/// Lets tasks run again, of one run or of those of some dates; with `dry_run`, which is so where not said, tells which.
///
/// With `run_on_latest_version` what that version does not have is among them, as `removed`.
#[utoipa::path(post, path = "/api/v2/dags/{dag_id}/clearTaskInstances", tag = "Task Instance",
    params(("dag_id" = String, Path)), request_body = ClearTaskInstances,
    responses((status = 200, body = TaskInstanceCollection), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn clear_task_instances(
    State(state): State<ApiState>,
    InPath(dag): InPath<String>,
    caller: Caller,
    InBody(body): InBody<ClearTaskInstances>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let of = dag_id(&dag)?;
    check(&body)?;
    let (task_ids, copies) = named(body.task_ids.as_deref().unwrap_or_default())?;
    let date = |text: &Option<String>, field: &str| {
        let date = text.as_deref().map(instant).transpose();
        date.map_err(|why| ApiError::invalid("datetime_parsing", &["body", field], why))
    };
    let keys = if let Some(run) = &body.dag_run_id {
        around(&state, &run_key(&dag, run)?, (body.include_past, body.include_future)).await?
    } else {
        let (from, to) = (date(&body.start_date, "start_date")?, date(&body.end_date, "end_date")?);
        let (from, to) = (from.filter(|_| !body.include_past), to.filter(|_| !body.include_future));
        dated(&state, &of, (from, to)).await?
    };
    let running = if body.prevent_running_task { OnRunning::Refuse } else { OnRunning::Restart };
    let Some(first) = keys.first() else { return none_of(&state, of).await.map(Json) };
    let ask = ClearTasks {
        task_ids,
        copies,
        only_failed: body.only_failed,
        only_running: body.only_running,
        upstream: body.include_upstream,
        downstream: body.include_downstream,
        running,
        on_latest_version: body.run_on_latest_version == Some(true),
        ..ClearTasks::of(of, first.run_id.clone())
    };
    let reason = reason_of(body.note, "note")?;
    let found = would_clear(&state, &caller, keys, &ask).await?;
    if !body.dry_run {
        clear_each(&state, &caller, &found, &ask, reason.as_ref()).await?;
    }
    shown(&state, found).await.map(Json)
}

/// What is cleared of a DAG that has no such run.
async fn none_of(state: &ApiState, dag_id: DagId) -> Result<TaskInstanceCollection, ApiError> {
    let named = dag_id.clone();
    if state.read(move |store| Ok(store.dag(&dag_id)?)).await?.is_none() {
        return Err(ApiError::no_dag(named.as_str()));
    }
    shown(state, Vec::new()).await
}

fn check(body: &ClearTaskInstances) -> Result<(), ApiError> {
    let wrong =
        |field: &str, msg: &str| ApiError::invalid("value_error", &["body", field], msg.to_owned());
    if body.only_failed && body.only_running {
        return Err(wrong("only_running", "only_failed and only_running are both set to true"));
    }
    if body.task_ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(wrong("task_ids", "should have at least 1 element"));
    }
    if body.dag_run_id.is_some() && (body.start_date.is_some() || body.end_date.is_some()) {
        return Err(wrong("dag_run_id", "either a run or dates may be given, not both"));
    }
    if !body.reset_dag_runs {
        let msg = "what is cleared runs again, and its run goes on with it: leave it out, or true";
        return Err(wrong("reset_dag_runs", msg));
    }
    Ok(())
}

/// Lets a whole run run again, or what failed of it; with `dry_run`, which is so where not said, tells which tasks.
///
/// With `run_on_latest_version` what that version does not have is among them, as `removed`.
#[utoipa::path(post, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), request_body = RunClearBody,
    responses((status = 200, description = "the run, or with `dry_run` a TaskInstanceCollection"),
    (status = 202, body = Detail), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 409, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn clear_run(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
    InBody(body): InBody<RunClearBody>,
) -> Result<Json<Value>, ApiError> {
    let key = run_key(&dag, &run)?;
    let ask = ClearTasks {
        only_failed: body.only_failed,
        running: OnRunning::Restart,
        on_latest_version: body.run_on_latest_version == Some(true),
        ..ClearTasks::of(key.dag_id.clone(), key.run_id.clone())
    };
    let reason = reason_of(body.note, "note")?;
    let found = would_clear(&state, &caller, vec![key.clone()], &ask).await?;
    let text = |error| ApiError::bug(&error);
    if body.dry_run {
        return serde_json::to_value(shown(&state, found).await?).map(Json).map_err(text);
    }
    clear_each(&state, &caller, &found, &ask, reason.as_ref()).await?;
    serde_json::to_value(one(&state, key).await?).map(Json).map_err(text)
}
