//! Why something waits: asked of who decides; of the past, of the log as far as it went then; of runs that are
//! over, of the rows.
mod changes;
mod expected;
mod held;
mod hitl;
mod offer;
mod over;
mod past;
mod text;
mod trigger;
mod upstream;

use axum::{Json, extract::State};
pub(crate) use changes::{__path_run_changes, __path_task_changes, run_changes, task_changes};
use dagbok_events::{DagId, RunKey, TaskId, Timestamp};
use dagbok_inbox::Ask;
use dagbok_protocol::{Answer, CommandBody, Why, WhyAsk};
use dagbok_runlog::Seq;
pub use past::{Past, PastError};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InPath, InQuery, dag_id, instant, map_index, run_key, task_id},
    state::ApiState,
};
use crate::shapes::{Detail, PendingPartitionCollection, WhyAnswer};

/// When.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhenQuery {
    /// As of this instant, in RFC 3339; now where not said.
    #[serde(deserialize_with = "some_instant")]
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// When, and which copy.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct CopyQuery {
    /// As of this instant, in RFC 3339; now where not said.
    #[serde(deserialize_with = "some_instant")]
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Of a mapped task, from 0 on; -1 of one that is not.
    map_index: Option<i32>,
}

fn some_instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(from)?;
    instant(&text).map(Some).map_err(D::Error::custom)
}

/// Says when a DAG's next run comes, and what keeps it.
#[utoipa::path(get, path = "/api/v2/dagbok/dags/{dag_id}/why", tag = "Dagbok",
    params(("dag_id" = String, Path), WhenQuery), responses(
    (status = 200, body = WhyAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn dag(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<WhenQuery>,
    caller: Caller,
) -> Result<Json<WhyAnswer>, ApiError> {
    let ask = ask_of(dag_id(&raw)?, None, None);
    answer(&state, caller, query.at, ask).await
}

/// Says what keeps a run, and what of it is under way.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/why", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), WhenQuery), responses(
    (status = 200, body = WhyAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn run(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<WhenQuery>,
    caller: Caller,
) -> Result<Json<WhyAnswer>, ApiError> {
    let RunKey { dag_id, run_id } = run_key(&dag, &run)?;
    answer(&state, caller, query.at, ask_of(dag_id, Some(run_id), None)).await
}

/// Says all that keeps a task: what it waits for, who has that, its place in line, and when it is expected to go on.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/tasks/{task_id}/why", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), CopyQuery),
    responses(
    (status = 200, body = WhyAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn task(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(query): InQuery<CopyQuery>,
    caller: Caller,
) -> Result<Json<WhyAnswer>, ApiError> {
    let RunKey { dag_id, run_id } = run_key(&dag, &run)?;
    let map_index = map_index(query.map_index);
    let ask = WhyAsk { map_index, ..ask_of(dag_id, Some(run_id), Some(task_id(&task)?)) };
    answer(&state, caller, query.at, ask).await
}

/// The partitions of a DAG's assets that came and wait for others: which, and for what.
#[utoipa::path(get, path = "/api/v2/dagbok/dags/{dag_id}/partitions", tag = "Dagbok",
    params(("dag_id" = String, Path)), responses(
    (status = 200, body = PendingPartitionCollection), (status = 404, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn partitions(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
) -> Result<Json<PendingPartitionCollection>, ApiError> {
    let ask = ask_of(dag_id(&raw)?, None, None);
    let (why, _) = now(&state, caller, &ask).await?;
    Ok(Json(hitl::pending(&ask.dag_id, why.is.reasons)))
}

fn ask_of(dag_id: DagId, run_id: Option<dagbok_events::RunId>, task_id: Option<TaskId>) -> WhyAsk {
    WhyAsk { dag_id, run_id, task_id, map_index: dagbok_events::MapIndex::UNMAPPED }
}

async fn answer(
    state: &ApiState,
    caller: Caller,
    at: Option<Timestamp>,
    ask: WhyAsk,
) -> Result<Json<WhyAnswer>, ApiError> {
    let at = at.filter(|at| *at < state.clock.now());
    // Of a run that is over the rows know all, and who decides has forgotten it.
    if let Some(told) = of_over(state, &ask, at).await? {
        return Ok(Json(told));
    }
    let (why, by) = match at {
        Some(_) => (past::ask(state, at, &ask).await?, "log"),
        None => now(state, caller, &ask).await?,
    };
    if ask.run_id.is_some() && why.is.stands.is_over() && why.is.task_id.is_none() {
        // It ended since the rows were asked.
        state.model.progress().wait_for(Seq(why.seq), state.patience.model).await;
        if let Some(told) = of_over(state, &ask, at).await? {
            return Ok(Json(told));
        }
    }
    let told = text::told(&ask, &why, by);
    let told = state.read(move |store| {
        let mut told = text::with_rows(store, &ask.dag_id, told, at)?;
        told.expected = expected::of(store, &told)?;
        // The rows are of now.
        if told.expected.is_none() && at.is_none() {
            told.expected = upstream::of(store, &ask, &told)?;
        }
        Ok(told)
    });
    let mut told = told.await?;
    if at.is_none() {
        held::say(state, &mut told).await;
    }
    Ok(Json(told))
}

async fn of_over(
    state: &ApiState,
    ask: &WhyAsk,
    at: Option<Timestamp>,
) -> Result<Option<WhyAnswer>, ApiError> {
    let ask = ask.clone();
    state.read(move |store| over::answer(store, &ask, at)).await
}

/// As things stand: by who decides, or where nobody does, by the log.
async fn now(
    state: &ApiState,
    caller: Caller,
    ask: &WhyAsk,
) -> Result<(Why, &'static str), ApiError> {
    let Caller { by, trace, .. } = caller;
    let asked = Ask { by, reason: None, trace, body: CommandBody::WhyWaits(ask.clone()) };
    match state.inbox.ask(asked, state.patience.answer).await {
        Ok(Answer::Waits(why)) => Ok((*why, "scheduler")),
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Ok(other) => Err(ApiError::bug(&format!("a question was answered with {other:?}"))),
        Err(silent) => match state.past.get() {
            Some(_) => Ok((past::ask(state, None, ask).await?, "log")),
            None => Err(silent.into()),
        },
    }
}
