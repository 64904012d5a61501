//! Backfills: asked for, looked at, stopped, let go on and cancelled.
mod answered;
mod expected;
mod view;

use axum::{Json, extract::State};
use dagbok_events::{BackfillId, DagId, Timetable};
use dagbok_inbox::Ask;
use dagbok_protocol::{
    Answer, BackfillDoes, BackfillPlan, BackfillRuns, CommandBody, CreateBackfill,
    limits::NOTE_BYTES,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::{ApiError, Problem},
    extract::{Caller, InBody, InPath, InQuery, dag_id, instant},
    json::compact,
    page::{Page, orders},
    params,
    state::ApiState,
    tell::tell,
    view::word,
};
use crate::{
    model::{Store, rows::BackfillRow},
    shapes::{
        BackfillBody, BackfillCollection, BackfillResponse, DateTime, Detail, DryRunBackfill,
        DryRunBackfillCollection, DryRunDate, DryRunExtra, ReprocessBehavior,
    },
};

/// Which backfills are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct BackfillQuery {
    /// Those of this DAG; of all where none is named, which Airflow does not take.
    dag_id: Option<String>,
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// `id`, or `-id` for the newest first.
    order_by: Vec<String>,
}

/// Why something is done to a backfill.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReasonQuery {
    /// Why, for people.
    reason: Option<String>,
}

fn no_backfill(id: u64) -> ApiError {
    ApiError::NotFound(format!("there is no backfill {id}"))
}

/// Backfills, of one DAG or of all.
#[utoipa::path(get, path = "/api/v2/backfills", tag = "Backfill", params(BackfillQuery), responses(
    (status = 200, body = BackfillCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<BackfillQuery>,
) -> Result<Json<BackfillCollection>, ApiError> {
    let of = query.dag_id.as_deref().map(dag_id).transpose()?;
    let down = orders(&query.order_by, &["id"])?.first().is_some_and(|order| order.down);
    let page = Page::new(query.limit, query.offset);
    let found = state.read(move |store| {
        let mut ids = store.backfill_ids(of.as_ref())?;
        if down {
            ids.reverse();
        }
        let (ids, total_entries) = page.cut(ids);
        let mut backfills = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(row) = store.backfill(id)? {
                backfills.push(view::shown(store, &row)?);
            }
        }
        Ok(BackfillCollection { backfills, total_entries })
    });
    found.await.map(Json)
}

/// One backfill, with when its end is expected.
#[utoipa::path(get, path = "/api/v2/backfills/{backfill_id}", tag = "Backfill",
    params(("backfill_id" = u64, Path)),
    responses((status = 200, body = BackfillResponse), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
) -> Result<Json<BackfillResponse>, ApiError> {
    one(&state, id).await.map(Json)
}

async fn one(state: &ApiState, id: u64) -> Result<BackfillResponse, ApiError> {
    let now = state.clock.now();
    let found = state.read(move |store| {
        let row = store.backfill(BackfillId(id))?.ok_or_else(|| no_backfill(id))?;
        let mut shown = view::shown(store, &row)?;
        if shown.dagbok.state == "running" {
            shown.dagbok.expected = expected::of(store, &row, now)?;
        }
        Ok(shown)
    });
    found.await
}

/// Makes a backfill.
#[utoipa::path(post, path = "/api/v2/backfills", tag = "Backfill", request_body = BackfillBody, responses(
    (status = 200, body = BackfillResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<BackfillBody>,
) -> Result<Json<BackfillResponse>, ApiError> {
    let reason = body.reason.clone();
    let asked = wish(&state, &body, false).await?;
    let of = asked.dag_id.clone();
    let told = tell(&state, caller, reason, CommandBody::CreateBackfill(Box::new(asked))).await?;
    let seq = told.seq.ok_or_else(|| ApiError::bug(&"a backfill was made without a record"))?;
    let made = state.read(move |store| Ok(made_by(store, &of, seq)?));
    let row = made.await?.ok_or_else(|| {
        ApiError::NotFound("the backfill that this made has been forgotten since".to_owned())
    })?;
    one(&state, row.backfill_id.0).await.map(Json)
}

/// The backfill that a record made.
fn made_by(
    store: &Store,
    dag_id: &DagId,
    seq: u64,
) -> Result<Option<BackfillRow>, crate::model::StoreError> {
    for id in store.backfill_ids(Some(dag_id))?.into_iter().rev() {
        let row = store.backfill(id)?;
        if row.as_ref().is_some_and(|row| row.created_seq == seq) {
            return Ok(row);
        }
    }
    Ok(None)
}

/// Says what a backfill would do with each of its dates. Changes nothing.
#[utoipa::path(post, path = "/api/v2/backfills/dry_run", tag = "Backfill", request_body = BackfillBody,
    responses((status = 200, body = DryRunBackfillCollection), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn dry_run(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<BackfillBody>,
) -> Result<Json<DryRunBackfillCollection>, ApiError> {
    let asked = wish(&state, &body, true).await?;
    let backwards = asked.run_backwards;
    let Caller { by, trace, .. } = caller;
    let body = CommandBody::CreateBackfill(Box::new(asked));
    let ask = Ask { by, reason: None, trace, body };
    match state.inbox.ask(ask, state.patience.answer).await? {
        Answer::WouldBackfill(plan) => Ok(Json(planned(&plan, backwards))),
        Answer::Refused(refusal) => Err(refusal.into()),
        other => Err(ApiError::bug(&format!("a question was answered with {other:?}"))),
    }
}

fn planned(plan: &BackfillPlan, backwards: bool) -> DryRunBackfillCollection {
    let mut extra = DryRunExtra { total: plan.count, ..DryRunExtra::default() };
    let mut backfills = Vec::new();
    for part in &plan.dates {
        let runs = BackfillRuns::new(std::slice::from_ref(&part.runs));
        let count = runs.count();
        match part.does {
            BackfillDoes::Create => extra.create += count,
            BackfillDoes::Rerun => extra.rerun += count,
            BackfillDoes::SkipExisting => extra.skip_existing += count,
            BackfillDoes::SkipInFlight => extra.skip_in_flight += count,
        }
        let seen_to = matches!(part.does, BackfillDoes::Create | BackfillDoes::Rerun);
        for place in 0..count {
            let place = if backwards { count - 1 - place } else { place };
            let Some(run) = runs.get(place) else { continue };
            let logical_date = DateTime(run.start);
            extra.dates.push(DryRunDate {
                logical_date,
                data_interval_start: DateTime(run.start),
                data_interval_end: DateTime(run.end),
                does: word(&part.does),
            });
            if seen_to {
                let logical_date = Some(logical_date);
                let (partition_key, partition_date) = (None, None);
                backfills.push(DryRunBackfill { logical_date, partition_key, partition_date });
            }
        }
    }
    DryRunBackfillCollection { total_entries: backfills.len(), backfills, dagbok: extra }
}

/// What is asked for, its conf held against the DAG's params.
async fn wish(
    state: &ApiState,
    body: &BackfillBody,
    dry_run: bool,
) -> Result<CreateBackfill, ApiError> {
    let mut asked = wish_of(body, dry_run)?;
    let of = asked.dag_id.clone();
    let version = state.read(move |store| {
        let dag = store.dag(&of)?.filter(|dag| dag.disappeared_at.is_none());
        let Some(dag) = dag else { return Ok(None) };
        Ok(store.version_shared(&of, dag.version)?)
    });
    // Of a DAG that is in no file the rules say so.
    let Some(version) = version.await? else { return Ok(asked) };
    if asked.conf.is_some() {
        params::check(&version.spec, asked.conf.as_deref()).map_err(ApiError::BadRequest)?;
    }
    if matches!(version.spec.schedule.timetable, Timetable::Python { .. }) {
        asked.runs = Some(answered::runs(state, &version.spec.source.file, &asked).await?);
    }
    Ok(asked)
}

fn wish_of(body: &BackfillBody, dry_run: bool) -> Result<CreateBackfill, ApiError> {
    let mut problems = Vec::new();
    let mut wrong =
        |field: &str, kind, msg: String| problems.push(Problem::new(kind, &["body", field], msg));
    let mut date = |field: &str, text: &str| {
        let read = instant(text);
        read.map_err(|error| wrong(field, "datetime_from_date_parsing", error)).ok()
    };
    let dates = (date("from_date", &body.from_date), date("to_date", &body.to_date));
    if body.run_on_latest_version == Some(false) {
        let msg = "all runs of a backfill run the DAG as it is then: leave it out, or true";
        wrong("run_on_latest_version", "not_supported", msg.to_owned());
    }
    if body.reason.as_ref().is_some_and(|reason| reason.len() > NOTE_BYTES) {
        let msg = format!("a reason may have up to {NOTE_BYTES} bytes");
        wrong("reason", "string_too_long", msg);
    }
    let conf = body.dag_run_conf.as_ref().map(|conf| compact(conf.get()));
    let (Some(from_date), Some(to_date)) = dates else { return Err(ApiError::Invalid(problems)) };
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    Ok(CreateBackfill {
        dag_id: dag_id(&body.dag_id)?,
        from_date,
        to_date,
        run_backwards: body.run_backwards,
        reprocess_behavior: match body.reprocess_behavior {
            ReprocessBehavior::None => dagbok_events::ReprocessBehavior::None,
            ReprocessBehavior::Failed => dagbok_events::ReprocessBehavior::Failed,
            ReprocessBehavior::Completed => dagbok_events::ReprocessBehavior::Completed,
        },
        max_active_runs: body.max_active_runs,
        conf,
        runs: None,
        dry_run,
    })
}

/// Makes no runs of a backfill and starts none; those under way go on.
#[utoipa::path(put, path = "/api/v2/backfills/{backfill_id}/pause", tag = "Backfill",
    params(("backfill_id" = u64, Path), ReasonQuery), responses((status = 200, body = BackfillResponse),
    (status = 202, body = Detail), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn pause(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
    InQuery(query): InQuery<ReasonQuery>,
    caller: Caller,
) -> Result<Json<BackfillResponse>, ApiError> {
    let body = CommandBody::PauseBackfill { backfill_id: BackfillId(id) };
    change(&state, (id, query), caller, body).await
}

/// Lets a backfill go on.
#[utoipa::path(put, path = "/api/v2/backfills/{backfill_id}/unpause", tag = "Backfill",
    params(("backfill_id" = u64, Path), ReasonQuery), responses((status = 200, body = BackfillResponse),
    (status = 202, body = Detail), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn unpause(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
    InQuery(query): InQuery<ReasonQuery>,
    caller: Caller,
) -> Result<Json<BackfillResponse>, ApiError> {
    let body = CommandBody::UnpauseBackfill { backfill_id: BackfillId(id) };
    change(&state, (id, query), caller, body).await
}

/// Lets a backfill be over: runs of it that have not begun are ended, those that have go on.
#[utoipa::path(put, path = "/api/v2/backfills/{backfill_id}/cancel", tag = "Backfill",
    params(("backfill_id" = u64, Path), ReasonQuery), responses((status = 200, body = BackfillResponse),
    (status = 202, body = Detail), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
    InQuery(query): InQuery<ReasonQuery>,
    caller: Caller,
) -> Result<Json<BackfillResponse>, ApiError> {
    let body = CommandBody::CancelBackfill { backfill_id: BackfillId(id) };
    change(&state, (id, query), caller, body).await
}

async fn change(
    state: &ApiState,
    (id, ReasonQuery { reason }): (u64, ReasonQuery),
    caller: Caller,
    body: CommandBody,
) -> Result<Json<BackfillResponse>, ApiError> {
    if reason.as_ref().is_some_and(|reason| reason.len() > NOTE_BYTES) {
        let msg = format!("a reason may have up to {NOTE_BYTES} bytes");
        return Err(ApiError::invalid("string_too_long", &["query", "reason"], msg));
    }
    tell(state, caller, reason, body).await?;
    one(state, id).await.map(Json)
}
