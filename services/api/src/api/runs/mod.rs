//! Runs: lists, one alone, and what was refused about it.
mod change;
mod clear;
mod wait;
mod wish;

use axum::{Json, extract::State};
pub(super) use change::trigger_dag;
pub(crate) use change::{
    __path_cancel, __path_mark, __path_patch, __path_trigger, cancel, mark, patch, trigger,
};
pub(crate) use clear::{__path_clear, __path_delete, clear, delete};
use dagbok_events::{Digest, Payload, RunKey};
use serde_json::value::RawValue;
pub(crate) use wait::{__path_wait, __path_wait_lines, wait, wait_lines};
pub(super) use wish::dated_runs;
use wish::{RunQuery, Wish};

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, any_dag, run_key},
    page::Page,
    state::ApiState,
    view::{inline_input, run_response, try_log, try_usage, word},
};
use crate::{
    model::{
        Store,
        rows::{RefusedRow, RunRow},
    },
    shapes::{
        Detail, RefusedReport, RefusedReportCollection, RunCollection, RunListExtra, RunResponse,
    },
};

/// The runs of a DAG, or of all with `~`.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", params(("dag_id" = String, Path), RunQuery),
    responses((status = 200, body = RunCollection), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<RunQuery>,
) -> Result<Json<RunCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let wish = Wish::new(query, state.clock.now())?;
    state.read(move |store| list_of(store, &raw, &wish, page)).await.map(Json)
}

fn list_of(store: &Store, raw: &str, wish: &Wish, page: Page) -> Result<RunCollection, ApiError> {
    let dag = any_dag(raw)?;
    if let Some(dag_id) = &dag
        && store.dag(dag_id)?.is_none()
    {
        return Err(ApiError::no_dag(raw));
    }
    let found = wish.list(store, dag, page)?;
    let dag_runs = found.page.iter().map(|run| shown(store, run)).collect::<Result<_, _>>()?;
    let dagbok = RunListExtra {
        total_is_exact: found.exact,
        complete: found.complete,
        looked_to: found.looked_to.map(Into::into),
    };
    Ok(RunCollection { dag_runs, total_entries: found.total, dagbok })
}

/// A run as lists show it.
fn shown(store: &Store, run: &RunRow) -> Result<RunResponse, ApiError> {
    let key = run.key();
    let version = store.version_shared(&run.dag_id, run.version)?;
    let (conf, note) = inline_input(store.run_input(&key)?);
    Ok(run_response(run, version.as_deref(), conf, note))
}

/// A run alone, with its conf wherever that lies.
pub(super) async fn one(state: &ApiState, key: RunKey) -> Result<RunResponse, ApiError> {
    let read = state.read(move |store| {
        let run = store.run(&key)?;
        let run = run.ok_or_else(|| ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str()))?;
        let conf = match store.run_input(&key)?.and_then(|input| input.conf) {
            Some(Payload::Blob { digest, .. }) => Some(digest),
            Some(Payload::Inline(_)) | None => None,
        };
        Ok((shown(store, &run)?, conf))
    });
    let (mut run, beside) = read.await?;
    if let Some(digest) = beside {
        let conf = json_blob(state, &digest).await?;
        let missing = || ApiError::bug(&format!("the blob {digest} is missing"));
        run.conf = Some(conf.ok_or_else(missing)?);
    }
    Ok(run)
}

/// JSON that lies beside the log, as it is; none where it is gone.
pub(crate) async fn json_blob(
    state: &ApiState,
    digest: &Digest,
) -> Result<Option<Box<RawValue>>, ApiError> {
    let Some(bytes) = state.ports.blobs.get(digest.as_str()).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| ApiError::bug(&error))
}

/// One run.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)),
    responses((status = 200, body = RunResponse), (status = 404, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<RunResponse>, ApiError> {
    one(&state, run_key(&dag, &run)?).await.map(Json)
}

/// Reports about a run that were refused.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/refusedReports", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)),
    responses((status = 200, body = RefusedReportCollection), (status = 404, body = Detail)
))]
pub(crate) async fn refused_reports(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<RefusedReportCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    // A report may name a run that never was: what is kept of it is shown all the same.
    let read = state.read(move |store| Ok((store.run(&key)?, store.refused(&key)?)));
    let (run, rows) = read.await?;
    let gone = |row: &RefusedRow| run.as_ref().and_then(|run| run.refused_log_kept_until(row));
    let refused_reports: Vec<_> = rows
        .into_iter()
        .map(|row| RefusedReport {
            seq: row.seq,
            timestamp: row.at.into(),
            task_id: row.task_id.to_string(),
            map_index: row.map_index.0,
            try_number: row.try_number.get(),
            report: word(&row.report),
            executor: row.executor.to_string(),
            why: word(&row.why),
            usage: row.usage.map(try_usage),
            log: row.log.as_ref().filter(|_| gone(&row).is_none()).map(try_log),
            log_kept_until: gone(&row).filter(|_| row.log.is_some()).map(Into::into),
        })
        .collect();
    Ok(Json(RefusedReportCollection { total_entries: refused_reports.len(), refused_reports }))
}
