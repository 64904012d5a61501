//! Who is told of what, and who is on call: asked of the alerting service, which has the configuration.
use axum::{Json, extract::State};
use bytes::Bytes;
use dagbok_alerts::{DUTY, Duty, DutySchedule, DutyTurn};
use dagbok_events::decode_any;
use dagbok_runlog::RequestError;

use crate::{
    api::{errors::ApiError, state::ApiState},
    shapes::{
        Detail, DutyReceiverInfo, DutyResponse, DutyRouteInfo, DutyScheduleInfo, DutyStepInfo,
        DutyTurnInfo,
    },
};

/// Who is on call now and next, and who is told of what.
#[utoipa::path(get, path = "/api/v2/dagbok/oncall", tag = "Alert", responses(
    (status = 200, body = DutyResponse), (status = 503, body = Detail)
))]
pub(crate) async fn oncall(State(state): State<ApiState>) -> Result<Json<DutyResponse>, ApiError> {
    let asked = state.ports.signals.request(DUTY, Bytes::new(), state.patience.answer).await;
    let answer = asked.map_err(|error| match error {
        RequestError::NoResponder { .. } | RequestError::TimedOut { .. } => ApiError::Unavailable(
            "no alerting service answers: see that `dagbok alerting` runs".to_owned(),
        ),
        RequestError::Port(error) => error.into(),
    })?;
    let duty: Duty = decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
    let route = |it: dagbok_alerts::DutyRoute| DutyRouteInfo {
        name: it.name,
        depth: it.depth,
        matchers: it.matchers,
        steps: it.steps.into_iter().map(step).collect(),
        repeat: it.repeat,
        runbook: it.runbook,
    };
    let receivers = duty.receivers.into_iter();
    Ok(Json(DutyResponse {
        as_of: state.clock.now().into(),
        receivers: receivers
            .map(|it| DutyReceiverInfo { name: it.name, fallback: it.fallback })
            .collect(),
        routes: duty.routes.into_iter().map(route).collect(),
        schedules: duty.schedules.into_iter().map(schedule).collect(),
        is_watched: duty.is_watched,
    }))
}

fn step(it: dagbok_alerts::DutyStep) -> DutyStepInfo {
    let wait_seconds = it.wait.0 / 1_000_000;
    DutyStepInfo {
        receivers: it.receivers,
        people: it.people,
        by_turns: it.by_turns,
        schedules: it.schedules,
        wait_seconds,
    }
}

fn schedule(it: DutySchedule) -> DutyScheduleInfo {
    let turn = |it: DutyTurn| DutyTurnInfo {
        person: it.person,
        reached_by: it.reached_by,
        from: it.from.into(),
        until: it.until.map(Into::into),
    };
    DutyScheduleInfo {
        name: it.name,
        zone: it.zone,
        turns: it.turns.into_iter().map(turn).collect(),
        trouble: it.trouble,
    }
}
