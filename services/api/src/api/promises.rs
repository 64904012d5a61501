//! What schedules promise: runs to come, and what a paused DAG would make.
use axum::{Json, extract::State};
use dagbok_events::Interval;
use dagbok_inbox::Ask;
use dagbok_protocol::{Answer, ComingRuns, CommandBody};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InPath, InQuery, dag_id},
    page::Page,
    state::ApiState,
    view::when,
};
use crate::shapes::{DateTime, Detail, ExpectedRunCollection, PromisedRun, UnpausePreview};

/// How many are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExpectedQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
}

/// The runs that a DAG's schedule promises, the next one first.
#[utoipa::path(get, path = "/api/v2/dagbok/dags/{dag_id}/expectedRuns", tag = "Dagbok",
    params(("dag_id" = String, Path), ExpectedQuery),
    responses((status = 200, body = ExpectedRunCollection), (status = 404, body = Detail)
))]
pub(crate) async fn expected(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<ExpectedQuery>,
) -> Result<Json<ExpectedRunCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let found = state.read(move |store| {
        let row = store.dag(&dag_id(&raw)?)?.ok_or_else(|| ApiError::no_dag(&raw))?;
        let next = row.expected.as_ref().and_then(|run| run.data_interval);
        let all: Vec<Interval> = next.into_iter().chain(row.ahead.intervals()).collect();
        let (runs, total_entries) = page.cut(all);
        let expected_runs = runs.into_iter().map(promised).collect();
        Ok(ExpectedRunCollection { expected_runs, total_entries, is_paused: row.paused })
    });
    found.await.map(Json)
}

fn promised(interval: Interval) -> PromisedRun {
    PromisedRun {
        logical_date: DateTime(interval.start),
        data_interval_start: DateTime(interval.start),
        data_interval_end: DateTime(interval.end),
        run_after: DateTime(interval.end),
    }
}

/// What runs a DAG would make at once, were it not paused any more. Changes nothing.
#[utoipa::path(get, path = "/api/v2/dagbok/dags/{dag_id}/unpausePreview", tag = "Dagbok",
    params(("dag_id" = String, Path)), responses(
    (status = 200, body = UnpausePreview), (status = 404, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn unpause_preview(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
) -> Result<Json<UnpausePreview>, ApiError> {
    let body = CommandBody::WouldUnpause { dag_id: dag_id(&raw)? };
    let Caller { by, trace, .. } = caller;
    let ask = Ask { by, reason: None, trace, body };
    match state.inbox.ask(ask, state.patience.answer).await? {
        Answer::WouldMake(ComingRuns { count, first, last, next_due }) => {
            Ok(Json(UnpausePreview {
                dag_id: raw,
                runs: count,
                first_logical_date: when(first),
                last_logical_date: when(last),
                next_run_after: when(next_due),
            }))
        }
        Answer::Refused(refusal) => Err(refusal.into()),
        other => Err(ApiError::bug(&format!("a question was answered with {other:?}"))),
    }
}
