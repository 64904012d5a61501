//! Making runs and ending them.
use axum::{Json, extract::State};
use dagbok_events::{DagId, RunId, RunKey, RunMark};
use dagbok_protocol::{
    ClearTasks, CommandBody, OnRunning, TriggerRun, limits::NOTE_BYTES, names::reserved_prefix,
};

use super::{
    super::{
        errors::{ApiError, Problem},
        extract::{Caller, InBody, InPath, dag_id, instant, run_key},
        history::reason_of,
        json::compact,
        params,
        state::ApiState,
        tell::tell,
    },
    one,
};
use crate::shapes::{Detail, RunCancel, RunMarkBody, RunPatch, RunResponse, TriggerBody};

/// Makes a run.
#[utoipa::path(post, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", params(("dag_id" = String, Path)),
    request_body = TriggerBody,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn trigger(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
    InBody(body): InBody<TriggerBody>,
) -> Result<Json<RunResponse>, ApiError> {
    trigger_dag(&state, dag_id(&raw)?, caller, body).await.map(Json)
}

/// Makes a run of a DAG, as a body asks.
pub(in crate::api) async fn trigger_dag(
    state: &ApiState,
    dag_id: DagId,
    caller: Caller,
    body: TriggerBody,
) -> Result<RunResponse, ApiError> {
    let asked = trigger_of(dag_id.clone(), body)?;
    let (of, conf) = (dag_id.clone(), asked.conf.clone());
    let checked = state.read(move |store| {
        let Some(dag) = store.dag(&of)? else { return Ok(Ok(())) };
        let version = store.version_shared(&of, dag.version)?;
        Ok(version.map_or(Ok(()), |version| params::check(&version.spec, conf.as_deref())))
    });
    checked.await?.map_err(ApiError::BadRequest)?;
    let told = tell(state, caller, None, CommandBody::TriggerRun(asked)).await?;
    let run_id =
        told.run_id.ok_or_else(|| ApiError::bug(&"a trigger was accepted without a run"))?;
    one(state, RunKey { dag_id, run_id }).await
}

fn trigger_of(dag_id: DagId, body: TriggerBody) -> Result<TriggerRun, ApiError> {
    let mut problems = Vec::new();
    let mut wrong =
        |field: &str, kind, msg: String| problems.push(Problem::new(kind, &["body", field], msg));
    for (field, given) in [
        ("data_interval_start", &body.data_interval_start),
        ("data_interval_end", &body.data_interval_end),
        ("run_after", &body.run_after),
    ] {
        if given.is_some() {
            wrong(field, "not_supported", "is not supported yet: leave it out, or null".to_owned());
        }
    }
    let run_id = body.dag_run_id.map(RunId::new).transpose();
    let run_id = run_id.unwrap_or_else(|error| {
        wrong("dag_run_id", "value_error", error.to_string());
        None
    });
    if let Some(prefix) = run_id.as_ref().and_then(|id| reserved_prefix(id.as_str())) {
        let why = format!(
            "run ids that begin with `{prefix}` are kept for runs that nobody triggers: choose another"
        );
        wrong("dag_run_id", "value_error", why);
    }
    let logical_date = body.logical_date.as_deref().map(instant).transpose();
    let logical_date = logical_date.unwrap_or_else(|why| {
        wrong("logical_date", "datetime_parsing", why);
        None
    });
    if body.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES) {
        wrong("note", "string_too_long", format!("a note may have up to {NOTE_BYTES} bytes"));
    }
    let conf = body.conf.map(|conf| compact(conf.get())).filter(|conf| conf != "null");
    if conf.as_ref().is_some_and(|conf| !conf.starts_with('{')) {
        wrong("conf", "dict_type", "must be a JSON object".to_owned());
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    let conf = conf.filter(|conf| conf != "{}");
    let partition_key = body.partition_key;
    Ok(TriggerRun { dag_id, run_id, logical_date, conf, note: body.note, partition_key })
}

/// Changes a run: its note, and as what it stands. `failed` ends it, `queued` lets all of it run again.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), request_body = RunPatch,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
    InBody(patch): InBody<RunPatch>,
) -> Result<Json<RunResponse>, ApiError> {
    let key = run_key(&dag, &run)?;
    let RunKey { dag_id, run_id } = key.clone();
    let mark = match patch.state.as_deref() {
        None | Some("queued") => None,
        Some("success") => Some(RunMark::Success),
        Some("failed") => Some(RunMark::Failed),
        Some(other) => {
            let msg = format!(
                "`{other}` is no state that a run can be set to: `success`, `failed` and `queued` are"
            );
            return Err(ApiError::invalid("enum", &["body", "state"], msg));
        }
    };
    if let Some(note) = patch.note {
        let note = reason_of(note, "note")?;
        let (dag_id, run_id) = (dag_id.clone(), run_id.clone());
        tell(&state, caller.clone(), None, CommandBody::NoteRun { dag_id, run_id, note }).await?;
    }
    if patch.state.as_deref() == Some("queued") {
        let ask = ClearTasks { running: OnRunning::Restart, ..ClearTasks::of(dag_id, run_id) };
        tell(&state, caller, None, CommandBody::ClearTasks(ask)).await?;
    } else if let Some(mark) = mark {
        set(&state, &key, caller, (mark, None)).await?;
    }
    one(&state, key).await.map(Json)
}

/// Sets a run's state: one that is not over is cancelled by the rules where it is to have failed.
async fn set(
    state: &ApiState,
    key: &RunKey,
    caller: Caller,
    (state_of, reason): (RunMark, Option<String>),
) -> Result<(), ApiError> {
    let RunKey { dag_id, run_id } = key.clone();
    let body = CommandBody::MarkRun { dag_id, run_id, state: state_of };
    tell(state, caller, reason, body).await.map(drop)
}

/// Says how a run ended, with a reason.
#[utoipa::path(post, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/mark", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), request_body = RunMarkBody,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 404, body = Detail),
    (status = 409, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn mark(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
    InBody(body): InBody<RunMarkBody>,
) -> Result<Json<RunResponse>, ApiError> {
    let key = run_key(&dag, &run)?;
    let mark = match body.state.as_str() {
        "success" => RunMark::Success,
        "failed" => RunMark::Failed,
        other => {
            let msg = format!("`{other}` is neither `success` nor `failed`");
            return Err(ApiError::invalid("enum", &["body", "state"], msg));
        }
    };
    let reason = reason_of(body.reason, "reason")?;
    set(&state, &key, caller, (mark, reason)).await?;
    one(&state, key).await.map(Json)
}

async fn end(
    state: &ApiState,
    key: RunKey,
    caller: Caller,
    reason: Option<String>,
) -> Result<RunResponse, ApiError> {
    let RunKey { dag_id, run_id } = key.clone();
    tell(state, caller, reason, CommandBody::CancelRun { dag_id, run_id }).await?;
    one(state, key).await
}

/// Ends a run, with a reason.
#[utoipa::path(post, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/cancel", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), request_body = RunCancel,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 404, body = Detail),
    (status = 409, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    caller: Caller,
    InBody(RunCancel { reason }): InBody<RunCancel>,
) -> Result<Json<RunResponse>, ApiError> {
    if reason.as_ref().is_some_and(|reason| reason.len() > NOTE_BYTES) {
        let msg = format!("a reason may have up to {NOTE_BYTES} bytes");
        return Err(ApiError::invalid("string_too_long", &["body", "reason"], msg));
    }
    end(&state, run_key(&dag, &run)?, caller, reason).await.map(Json)
}
