//! What the rules say when they are asked. The alerting service answers, without anything being sent.
use std::time::Duration;

use axum::{Json, extract::State};
use dagbok_alerts::{
    AskBody, OnCallNow, Reach, RecordCalls, Replayed, Reply, RuleOf, Studied, Study, WouldHaveBeen,
    WrongBy,
};
use dagbok_events::DagId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{asked_within, refused};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody, InQuery, instant},
        state::ApiState,
    },
    shapes::{
        AlertBacktest, AlertExplanation, AlertReach, AlertReachCollection, AlertRuleOf, AlertStep,
        AlertWrongBy, BacktestBody, Detail, ExplainBody, OnCallEntry, OnCallResponse, WouldBeAlert,
    },
};

/// How long the log may take to be gone through.
const WITHIN: Duration = Duration::from_mins(5);

/// Asks the rules.
async fn study(
    state: &ApiState,
    caller: Caller,
    study: Study,
    configuration: Option<String>,
) -> Result<Studied, ApiError> {
    let body = AskBody::Study { study, configuration };
    match asked_within(state, super::by(caller), None, body, WITHIN).await? {
        Reply::Studied(studied) => Ok(*studied),
        Reply::Refused(refusal) => Err(refused(refusal)),
        Reply::Done { .. } => Err(odd()),
    }
}

fn odd() -> ApiError {
    ApiError::bug(&"the alerting service answered something else")
}

fn rule_of(it: RuleOf) -> AlertRuleOf {
    AlertRuleOf { rule: it.rule, scope: it.scope, at: it.at.map(Into::into) }
}

fn wrong_by(it: WrongBy) -> AlertWrongBy {
    let WrongBy { rule, scope, summary, labels, route, steps } = it;
    let steps = steps.into_iter();
    let steps = steps.map(|(receivers, wait_seconds)| AlertStep { receivers, wait_seconds });
    AlertWrongBy { rule, scope, summary, labels, route, steps: steps.collect() }
}

fn would_be(it: WouldHaveBeen) -> WouldBeAlert {
    let WouldHaveBeen { rule, scope, summary, labels, opened_at, resolved_at, route, told } = it;
    let (opened_at, resolved_at) = (opened_at.into(), resolved_at.map(Into::into));
    WouldBeAlert { rule, scope, summary, labels, opened_at, resolved_at, route, told }
}

/// What one record of the log calls for: what is wrong by it and who is told of it, what is awaited since, what is over.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/explain", tag = "Alert", request_body = ExplainBody, responses(
    (status = 200, body = AlertExplanation), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<ExplainBody>,
) -> Result<Json<AlertExplanation>, ApiError> {
    let asked = Study::Explain { event: body.event };
    let Studied::Explained(found) = study(&state, caller, asked, body.configuration).await? else {
        return Err(odd());
    };
    let RecordCalls { seq, at, facts, wrong, awaited, over } = found;
    Ok(Json(AlertExplanation {
        seq,
        at: at.into(),
        facts,
        wrong: wrong.into_iter().map(wrong_by).collect(),
        awaited: awaited.into_iter().map(rule_of).collect(),
        over: over.into_iter().map(rule_of).collect(),
    }))
}

/// Who would have been told of what, had a configuration been in force: the log is gone through again, and nothing can be
/// sent.
#[utoipa::path(post, path = "/api/v2/dagbok/alerts/backtest", tag = "Alert", request_body = BacktestBody, responses(
    (status = 200, body = AlertBacktest), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn backtest(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<BacktestBody>,
) -> Result<Json<AlertBacktest>, ApiError> {
    let since = instant(&body.since)
        .map_err(|why| ApiError::invalid("datetime_parsing", &["body", "since"], why))?;
    let asked = Study::Backtest { since };
    let Studied::Backtested(found) = study(&state, caller, asked, body.configuration).await? else {
        return Err(odd());
    };
    let Replayed { since, until, records, unread, left_out, alerts } = found;
    let (since, until) = (since.into(), until.into());
    let alerts = alerts.into_iter().map(would_be).collect();
    Ok(Json(AlertBacktest { since, until, records, unread, left_out, alerts }))
}

/// When somebody is on call.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct OnCallQuery {
    /// The instant, with its offset; now where none is given.
    at: Option<String>,
}

/// Who is on call by each schedule of the configuration in force.
#[utoipa::path(get, path = "/api/v2/dagbok/alerts/oncall", tag = "Alert", params(OnCallQuery), responses(
    (status = 200, body = OnCallResponse), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn on_call(
    State(state): State<ApiState>,
    caller: Caller,
    InQuery(query): InQuery<OnCallQuery>,
) -> Result<Json<OnCallResponse>, ApiError> {
    let at = query.at.as_deref().map(instant).transpose();
    let at = at.map_err(|why| ApiError::invalid("datetime_parsing", &["query", "at"], why))?;
    let Studied::OnCall { at, schedules } =
        study(&state, caller, Study::OnCall { at }, None).await?
    else {
        return Err(odd());
    };
    let entry = |it: OnCallNow| {
        let OnCallNow { schedule, person, receivers } = it;
        OnCallEntry { schedule, person, receivers }
    };
    let schedules = schedules.into_iter().map(entry).collect();
    Ok(Json(OnCallResponse { at: at.into(), schedules }))
}

/// Whom a failure of each DAG reaches by the configuration in force, and what of it is not as it should be.
#[utoipa::path(get, path = "/api/v2/dagbok/alerts/check", tag = "Alert", responses(
    (status = 200, body = AlertReachCollection), (status = 503, body = Detail)
))]
pub(crate) async fn check(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<AlertReachCollection>, ApiError> {
    let mut found: Vec<Reach> = Vec::new();
    let (receivers, warnings) = loop {
        let last = found.last().and_then(|it| DagId::new(&*it.dag_id).ok());
        let asked = study(&state, caller.clone(), Study::Reach { after: last }, None).await?;
        let Studied::Reach { dags, goes_on, receivers, warnings } = asked else {
            return Err(odd());
        };
        let is_over = !goes_on || dags.is_empty();
        found.extend(dags);
        if is_over {
            break (receivers, warnings);
        }
    };
    let reach = |it: Reach| {
        let Reach { dag_id, owner, route, receivers } = it;
        AlertReach { dag_id, owner, route, receivers }
    };
    let dags: Vec<AlertReach> = found.into_iter().map(reach).collect();
    Ok(Json(AlertReachCollection { total_entries: dags.len(), dags, receivers, warnings }))
}
