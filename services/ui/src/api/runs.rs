//! Runs: lists, triggers, ends, and waiting for them.
use std::time::Duration;

use axum::{Json, body::Body, extract::State, http::header, response::{IntoResponse, Response}};
use dagbok_events::{Digest, Payload, RunId, RunKey, RunType};
use dagbok_protocol::{CommandBody, TriggerRun, limits::NOTE_BYTES};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::{
    errors::{ApiError, Problem},
    extract::{Caller, InBody, InPath, InQuery, dag_id, instant, run_key},
    page::{Between, Order, Page, SortKey, matches, orders, sort},
    state::ApiState,
    tell::tell,
    view::{any_dag, inline_input, run_response, try_log, word},
};
use crate::{
    model::{Store, rows::{RunRow, RunState}},
    shapes::{
        Detail, RefusedReport, RefusedReportCollection, RunCancel, RunCollection, RunPatch, RunResponse, RunWait,
        TriggerBody, seconds,
    },
};

/// Which runs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those in any of these states.
    #[param(value_type = Vec<String>)]
    state: Vec<RunState>,
    /// Those that came about in any of these ways.
    #[param(value_type = Vec<String>)]
    run_type: Vec<RunType>,
    /// Those of any of these versions of the DAG.
    dag_version: Vec<u32>,
    /// Those whose id has this in it; `%`, `_` and `|` as in Airflow.
    run_id_pattern: Option<String>,
    /// Those of DAGs whose id has this in it.
    dag_id_pattern: Option<String>,
    /// Those triggered by somebody whose name has this in it.
    triggering_user_name_pattern: Option<String>,
    run_after_gte: Option<String>,
    run_after_gt: Option<String>,
    run_after_lte: Option<String>,
    run_after_lt: Option<String>,
    logical_date_gte: Option<String>,
    logical_date_gt: Option<String>,
    logical_date_lte: Option<String>,
    logical_date_lt: Option<String>,
    start_date_gte: Option<String>,
    start_date_gt: Option<String>,
    start_date_lte: Option<String>,
    start_date_lt: Option<String>,
    end_date_gte: Option<String>,
    end_date_gt: Option<String>,
    end_date_lte: Option<String>,
    end_date_lt: Option<String>,
    /// `id` (the order of making, also where not said), `dag_id`, `run_id`, `state`, `run_type`,
    /// `logical_date`, `run_after`, `start_date`, `end_date`, `duration`, `updated_at`.
    order_by: Vec<String>,
}

const ORDERS: &[&str] = &[
    "id", "dag_id", "run_id", "dag_run_id", "state", "run_type", "logical_date", "run_after", "queued_at",
    "start_date", "end_date", "duration", "updated_at",
];

/// The query, checked.
struct Wish {
    query: RunQuery,
    run_after: Between,
    logical_date: Between,
    start_date: Between,
    end_date: Between,
}

impl Wish {
    fn new(query: RunQuery) -> Result<Self, ApiError> {
        let q = &query;
        let run_after =
            Between::read("run_after", [&q.run_after_gte, &q.run_after_gt, &q.run_after_lte, &q.run_after_lt])?;
        let logical_date = Between::read(
            "logical_date",
            [&q.logical_date_gte, &q.logical_date_gt, &q.logical_date_lte, &q.logical_date_lt],
        )?;
        let start_date =
            Between::read("start_date", [&q.start_date_gte, &q.start_date_gt, &q.start_date_lte, &q.start_date_lt])?;
        let end_date =
            Between::read("end_date", [&q.end_date_gte, &q.end_date_gt, &q.end_date_lte, &q.end_date_lt])?;
        Ok(Self { query, run_after, logical_date, start_date, end_date })
    }

    fn wants(&self, run: &RunRow) -> bool {
        let Self { query, run_after, logical_date, start_date, end_date } = self;
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| matches(pattern, text))
        };
        let user = match &run.created_by {
            dagbok_events::Actor::User(name) | dagbok_events::Actor::Token(name) => name.as_str(),
            _ => "",
        };
        (query.state.is_empty() || query.state.contains(&run.state))
            && (query.run_type.is_empty() || query.run_type.contains(&run.run_type))
            && (query.dag_version.is_empty() || query.dag_version.contains(&run.version))
            && fits(&query.run_id_pattern, run.run_id.as_str())
            && fits(&query.dag_id_pattern, run.dag_id.as_str())
            && fits(&query.triggering_user_name_pattern, user)
            && run_after.has(Some(run.run_after))
            && logical_date.has(run.logical_date)
            && start_date.has(run.start_date)
            && end_date.has(run.end_date)
    }

    /// Whether nothing is left out, so that a page can be had without reading all.
    fn wants_all(&self) -> bool {
        let RunQuery { limit: _, offset: _, order_by: _, state, run_type, dag_version, .. } = &self.query;
        let open = [self.run_after, self.logical_date, self.start_date, self.end_date];
        state.is_empty()
            && run_type.is_empty()
            && dag_version.is_empty()
            && self.query.run_id_pattern.is_none()
            && self.query.dag_id_pattern.is_none()
            && self.query.triggering_user_name_pattern.is_none()
            && open.iter().all(|between| between.has(None))
    }
}

fn sort_key(run: &RunRow, field: &'static str) -> SortKey {
    match field {
        "dag_id" => run.dag_id.as_str().into(),
        "run_id" | "dag_run_id" => run.run_id.as_str().into(),
        "state" => run.state.word().into(),
        "run_type" => word(&run.run_type).as_str().into(),
        "logical_date" => run.logical_date.into(),
        "run_after" => Some(run.run_after).into(),
        "queued_at" => Some(run.queued_at).into(),
        "start_date" => run.start_date.into(),
        "end_date" => run.end_date.into(),
        "duration" => seconds(run.start_date, run.end_date).into(),
        "updated_at" => Some(run.updated_at).into(),
        #[expect(clippy::cast_precision_loss, reason = "sequences stay far below 2^53")]
        _ => SortKey::Number(run.created_seq as f64),
    }
}

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
    let orders = orders(&query.order_by, ORDERS)?;
    let page = Page::new(query.limit, query.offset);
    let wish = Wish::new(query)?;
    state.read(move |store| list_of(store, &raw, &wish, &orders, page)).await.map(Json)
}

fn list_of(store: &Store, raw: &str, wish: &Wish, orders: &[Order], page: Page) -> Result<RunCollection, ApiError> {
    let dag = any_dag(raw)?;
    if let Some(dag_id) = &dag
        && store.dag(dag_id)?.is_none()
    {
        return Err(ApiError::no_dag(raw));
    }
    let by_making = match orders {
        [] => Some(false),
        [Order { field: "id", down }] => Some(*down),
        _ => None,
    };
    let (runs, total_entries) = match by_making {
        Some(down) if wish.wants_all() => {
            (store.runs_in_order(dag.as_ref(), down, page.offset, page.limit)?, store.run_count(dag.as_ref())?)
        }
        _ => {
            let mut all: Vec<RunRow> =
                store.runs(dag.as_ref())?.into_iter().filter(|run| wish.wants(run)).collect();
            all.sort_by_key(|run| run.created_seq);
            sort(&mut all, orders, sort_key);
            page.cut(all)
        }
    };
    let dag_runs = runs.iter().map(|run| shown(store, run)).collect::<Result<_, _>>()?;
    Ok(RunCollection { dag_runs, total_entries })
}

/// A run as lists show it.
fn shown(store: &Store, run: &RunRow) -> Result<RunResponse, ApiError> {
    let key = RunKey { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
    let version = store.version_shared(&run.dag_id, run.version)?;
    let (conf, note) = inline_input(store.run_input(&key)?);
    Ok(run_response(run, version.as_deref(), conf, note))
}

/// A run alone, with its conf wherever that lies.
async fn one(state: &ApiState, key: RunKey) -> Result<RunResponse, ApiError> {
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
        run.conf = Some(json_blob(state, &digest).await?);
    }
    Ok(run)
}

/// JSON that lies beside the log.
pub(crate) async fn json_blob(state: &ApiState, digest: &Digest) -> Result<Value, ApiError> {
    let bytes = state.ports.blobs.get(digest.as_str()).await?;
    let bytes = bytes.ok_or_else(|| ApiError::bug(&format!("the blob {digest} is missing")))?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bug(&error))
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

/// Makes a run.
#[utoipa::path(post, path = "/api/v2/dags/{dag_id}/dagRuns", tag = "DagRun", params(("dag_id" = String, Path)),
    request_body = TriggerBody,
    responses((status = 200, body = RunResponse), (status = 202, body = Detail), (status = 404, body = Detail),
    (status = 409, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn trigger(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
    InBody(body): InBody<TriggerBody>,
) -> Result<Json<RunResponse>, ApiError> {
    let dag_id = dag_id(&raw)?;
    let asked = trigger_of(dag_id.clone(), body)?;
    let told = tell(&state, caller, None, CommandBody::TriggerRun(asked)).await?;
    let run_id = told.run_id.ok_or_else(|| ApiError::bug(&"a trigger was accepted without a run"))?;
    one(&state, RunKey { dag_id, run_id }).await.map(Json)
}

fn trigger_of(dag_id: dagbok_events::DagId, body: TriggerBody) -> Result<TriggerRun, ApiError> {
    let mut problems = Vec::new();
    let mut wrong = |field: &str, kind, msg: String| problems.push(Problem::new(kind, &["body", field], msg));
    for (field, given) in [
        ("data_interval_start", &body.data_interval_start),
        ("data_interval_end", &body.data_interval_end),
        ("run_after", &body.run_after),
        ("partition_key", &body.partition_key),
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
    let logical_date = body.logical_date.as_deref().map(instant).transpose();
    let logical_date = logical_date.unwrap_or_else(|why| {
        wrong("logical_date", "datetime_parsing", why);
        None
    });
    if body.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES) {
        wrong("note", "string_too_long", format!("a note may have up to {NOTE_BYTES} bytes"));
    }
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    let conf = body.conf.filter(|conf| !conf.is_empty());
    let conf = conf.map(|conf| Value::Object(conf).to_string());
    Ok(TriggerRun { dag_id, run_id, logical_date, conf, note: body.note })
}

/// Changes a run: the state `failed` ends it.
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
    if patch.note.is_some() {
        return Err(ApiError::BadRequest(
            "a run's note can be given when it is triggered; changing it is not supported yet".to_owned(),
        ));
    }
    match patch.state.as_deref() {
        Some("failed") => end(&state, key, caller, None).await.map(Json),
        Some(other @ ("queued" | "success")) => {
            Err(ApiError::BadRequest(format!("a run can't be set to `{other}` yet; `failed` ends it")))
        }
        Some(other) => {
            let msg = format!("`{other}` is no state that a run can be set to; `failed` is");
            Err(ApiError::invalid("enum", &["body", "state"], msg))
        }
        None => one(&state, key).await.map(Json),
    }
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
    let rows = state.read(move |store| Ok(store.refused(&key)?)).await?;
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
            log: row.log.as_ref().map(try_log),
        })
        .collect();
    Ok(Json(RefusedReportCollection { total_entries: refused_reports.len(), refused_reports }))
}

/// Waits until the run is over, the time is up, or the service stops.
async fn wait_until_over(state: &ApiState, key: &RunKey, within: Duration) -> Result<RunResponse, ApiError> {
    let deadline = tokio::time::Instant::now() + within;
    let mut standing = state.model.progress().subscribe();
    loop {
        standing.mark_unchanged();
        let run = one(state, key.clone()).await?;
        if is_over(&run) || state.shutdown.is_started() {
            return Ok(run);
        }
        tokio::select! {
            () = state.shutdown.started() => {}
            () = tokio::time::sleep_until(deadline) => return one(state, key.clone()).await,
            changed = standing.changed() => changed.map_err(|error| ApiError::bug(&error))?,
        }
    }
}

fn is_over(run: &RunResponse) -> bool {
    RunState::ALL.iter().any(|state| state.is_over() && state.word() == run.state)
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Seconds, up to 60; 30 where not said.
    timeout: Option<f64>,
}

/// Waits for a run to be over, and answers with the run.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/wait", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), WaitQuery),
    responses((status = 200, body = RunWait), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn wait(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<WaitQuery>,
) -> Result<Json<RunWait>, ApiError> {
    let within = seconds_of("timeout", query.timeout.unwrap_or(30.0))?.min(Duration::from_mins(1));
    let dag_run = wait_until_over(&state, &run_key(&dag, &run)?, within).await?;
    Ok(Json(RunWait { finished: is_over(&dag_run), dag_run }))
}

fn seconds_of(field: &str, seconds: f64) -> Result<Duration, ApiError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        ApiError::invalid("value_error", &["query", field], "must be a number of seconds, 0 or more")
    })
}

/// How often to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntervalQuery {
    /// Seconds between two looks, more than 0.
    interval: f64,
}

/// Waits for a run to be over, with a line of JSON for each look at its state.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), IntervalQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn wait_lines(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<IntervalQuery>,
) -> Result<Response, ApiError> {
    let key = run_key(&dag, &run)?;
    let interval = seconds_of("interval", query.interval)?.max(Duration::from_millis(50));
    let first = one(&state, key.clone()).await?;
    let lines = stream::unfold(Some(first), move |shown| {
        let (state, key) = (state.clone(), key.clone());
        async move {
            let run = shown?;
            let line = format!("{}\n", json!({ "state": run.state }));
            if is_over(&run) || state.shutdown.is_started() {
                return Some((Ok::<_, std::convert::Infallible>(line), None));
            }
            let next = wait_until_over(&state, &key, interval).await.ok();
            Some((Ok(line), next))
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
