//! Alerts and who was told of them, from the alert log; what is asked of them goes to the alerting service, which
//! need not know the scheduler.
pub(crate) mod change;
pub(crate) mod duty;
pub(crate) mod heartbeats;
pub(crate) mod link;
pub(crate) mod silences;
pub(crate) mod study;
pub(crate) mod view;

use std::time::Duration;

use axum::{Json, extract::State};
use dagbok_alerts::{Alert, AlertState, Ask, AskBody, Book, By, Refusal, Reply};
use dagbok_events::{Actor, RunKey, decode_any, encode_any};
use dagbok_runlog::{RequestError, Seq};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InPath, InQuery, run_key},
    page::Page,
    state::ApiState,
};
use crate::{
    alerts::Alerts,
    shapes::{AlertCollection, AlertResponse, Detail},
};

/// Which alerts are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those that are `firing`, `acknowledged` or `resolved`, or `open` for the first two; all where none is named.
    state: Vec<String>,
    /// Those of this DAG.
    dag_id: Option<String>,
}

const STATES: [&str; 4] = ["firing", "acknowledged", "resolved", "open"];

fn is_in(alert: &Alert, states: &[String]) -> bool {
    let word = view::state_word(&alert.state);
    let open = !matches!(alert.state, AlertState::Resolved { .. });
    states.is_empty() || states.iter().any(|it| it == word || (it == "open" && open))
}

/// Alerts, newest first, each with who was told of it.
#[utoipa::path(get, path = "/api/v2/dagbok/alerts", tag = "Alert", params(AlertQuery), responses(
    (status = 200, body = AlertCollection), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AlertQuery>,
) -> Result<Json<AlertCollection>, ApiError> {
    if let Some(odd) = query.state.iter().find(|word| !STATES.contains(&word.as_str())) {
        let why = format!("`{odd}` is no state of an alert; there are {}", STATES.join(", "));
        return Err(ApiError::invalid("enum", &["query", "state"], why));
    }
    let page = Page::new(query.limit, query.offset);
    let dag = query.dag_id.as_deref();
    let of =
        |alert: &Alert| dag.is_none_or(|dag| alert.labels.get("dag").is_some_and(|it| it == dag));
    page_of(&state, page, |alert| is_in(alert, &query.state) && of(alert)).await.map(Json)
}

async fn page_of(
    state: &ApiState,
    page: Page,
    wanted: impl Fn(&Alert) -> bool,
) -> Result<AlertCollection, ApiError> {
    let now = state.clock.now();
    Ok(known(state).await?.read(|book| {
        let found: Vec<&Alert> = book.alerts().filter(|alert| wanted(alert)).collect();
        let (found, total_entries) = page.cut(found);
        let alerts = found.into_iter().map(|alert| view::shown(book, alert, now)).collect();
        AlertCollection { alerts, total_entries }
    }))
}

/// One alert, with who was told of it, when, by which route, and what the provider answered.
#[utoipa::path(get, path = "/api/v2/dagbok/alerts/{alert_id}", tag = "Alert", params(("alert_id" = u64, Path)),
    responses((status = 200, body = AlertResponse), (status = 404, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
) -> Result<Json<AlertResponse>, ApiError> {
    one(&state, id).await.map(Json)
}

/// Every alert that is or was about a run, with who was told of it.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/told", tag = "Alert",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), responses(
    (status = 200, body = AlertCollection), (status = 404, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn told(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<AlertCollection>, ApiError> {
    let key: RunKey = run_key(&dag, &run)?;
    let page = Page { offset: 0, limit: super::page::MAX_LIMIT };
    page_of(&state, page, |alert| alert.runs.contains(&key)).await.map(Json)
}

/// The fold, once it has all that the log held when it was opened.
async fn known(state: &ApiState) -> Result<&Alerts, ApiError> {
    let nobody = || {
        let why = "no alerting service has run in this namespace, or its log can't be read";
        ApiError::Unavailable(why.to_owned())
    };
    let alerts = state.alerts.get().ok_or_else(nobody)?;
    if alerts.wait_for(Seq(0), state.patience.model).await { Ok(alerts) } else { Err(nobody()) }
}

async fn one(state: &ApiState, id: u64) -> Result<AlertResponse, ApiError> {
    let now = state.clock.now();
    let found = known(state)
        .await?
        .read(|book: &Book| book.alert(id).map(|alert| view::shown(book, alert, now)));
    found.ok_or_else(|| ApiError::NotFound(format!("there is no alert {id} at hand")))
}

/// Asks the alerting service, and waits until its answer can be seen here. The number of what it was about.
async fn ask(
    state: &ApiState,
    caller: Caller,
    reason: Option<String>,
    body: AskBody,
) -> Result<u64, ApiError> {
    match asked(state, by(caller), reason, body).await? {
        Reply::Done { id, .. } => Ok(id),
        Reply::Studied(_) => Err(ApiError::bug(&"the alerting service answered something else")),
        Reply::Refused(refusal) => Err(refused(refusal)),
    }
}

/// Who asks.
fn by(caller: Caller) -> By {
    match caller.by {
        Actor::User(name) | Actor::Token(name) => By::User(name),
        Actor::Scheduler | Actor::Schedule | Actor::Processor | Actor::Executor(_) => By::Rules,
    }
}

/// Asks the alerting service, and waits until what it did can be seen here.
async fn asked(
    state: &ApiState,
    by: By,
    reason: Option<String>,
    body: AskBody,
) -> Result<Reply, ApiError> {
    asked_within(state, by, reason, body, state.patience.answer).await
}

/// The same, with another patience.
async fn asked_within(
    state: &ApiState,
    by: By,
    reason: Option<String>,
    body: AskBody,
    within: Duration,
) -> Result<Reply, ApiError> {
    let question = encode_any(&Ask { by, reason, body });
    let asked = state.ports.signals.request(dagbok_alerts::ASK, question.into(), within).await;
    let answer = asked.map_err(|error| match error {
        RequestError::NoResponder { .. } | RequestError::TimedOut { .. } => ApiError::Unavailable(
            "no alerting service answers: see that `dagbok alerting` runs".to_owned(),
        ),
        RequestError::Port(error) => error.into(),
    })?;
    let reply: Reply = decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
    if let Reply::Done { seq, .. } = &reply {
        known(state).await?.wait_for(Seq(*seq), state.patience.model).await;
    }
    Ok(reply)
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound(why) => ApiError::NotFound(why),
        Refusal::Conflict(why) => ApiError::Conflict(serde_json::json!(why)),
        Refusal::Invalid(why) | Refusal::Expired(why) => {
            ApiError::invalid("value_error", &["body"], why)
        }
        Refusal::Forged(why) => ApiError::Forbidden(why),
    }
}
