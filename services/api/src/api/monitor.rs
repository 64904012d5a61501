//! Health and version. Health answers at once, whatever else waits.
use std::{future::Future, time::Duration};

use axum::{Json, extract::State};
use dagbok_events::{Micros, decode};
use dagbok_protocol::{
    limits::CLOCK_BACK_US,
    names::{PROCESSOR_PRESENCE, SCHEDULER_LEASE},
};
use dagbok_runlog::{PortResult, ReadLimit, RunLog, Seq};
use dagbok_runtime::Clock;

use super::{executors::present, state::ApiState};
use crate::shapes::{
    ClockHealth, Health, HealthExtra, ProcessorHealth, ProjectionHealth, SchedulerHealth,
    StatusOnly, TriggererHealth, VersionInfo,
};

/// How long a primitive may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(1);

async fn soon<T, E>(asked: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
}

fn status(healthy: bool) -> String {
    if healthy { "healthy" } else { "unhealthy" }.to_owned()
}

/// How far the last record's stamp lies ahead of the clock.
async fn log_ahead(log: &dyn RunLog) -> PortResult<Micros> {
    let last = log.last().await?;
    let before = Seq(last.0.saturating_sub(1));
    let entries = log.read(before, ReadLimit::default()).await?;
    let stamp = entries.last().and_then(|entry| decode(&entry.payload).ok()).map(|it| it.at);
    let now = Clock::system().now();
    Ok(stamp.filter(|at| *at > now).map_or(Micros(0), |at| at.since(now)))
}

/// Whether all is well. Always 200: what is not well is said inside.
#[utoipa::path(get, path = "/api/v2/monitor/health", tag = "Monitor", responses((status = 200, body = Health)))]
pub(crate) async fn health(State(state): State<ApiState>) -> Json<Health> {
    let ports = &state.ports;
    let (last, ahead, lease, processor, executors) = tokio::join!(
        soon(ports.log.last()),
        soon(log_ahead(ports.log.as_ref())),
        soon(ports.state.get(SCHEDULER_LEASE)),
        soon(ports.state.get(PROCESSOR_PRESENCE)),
        soon(present(&state))
    );
    let now = state.model.progress().now();
    let because = state.model.rebuilt_because();
    Json(Health {
        metadatabase: StatusOnly { status: Some(status(last.is_some())) },
        scheduler: SchedulerHealth {
            status: Some(status(matches!(lease, Some(Some(_))))),
            latest_scheduler_heartbeat: state.pulse.last().map(|at| at.to_string()),
        },
        triggerer: TriggererHealth { status: None, latest_triggerer_heartbeat: None },
        dag_processor: ProcessorHealth {
            status: Some(status(matches!(processor, Some(Some(_))))),
            latest_dag_processor_heartbeat: processor
                .flatten()
                .and_then(|beat| String::from_utf8(beat.value.to_vec()).ok()),
        },
        dagbok: HealthExtra {
            projection: ProjectionHealth {
                applied: now.applied.0,
                last: last.map_or(now.last, |last| last.max(now.applied)).0,
                rebuilding: !now.caught_up,
                rebuilt_because: because.map(|because| because.to_string()),
                failed: now.failed,
            },
            executors: executors.map(|executors| executors.len()),
            clock: ClockHealth {
                status: ahead.map(|ahead| status(ahead.0 <= CLOCK_BACK_US)),
                log_ahead_seconds: ahead.map(|ahead| ahead.to_std().as_secs_f64()),
            },
        },
    })
}

/// Which build this is.
#[utoipa::path(get, path = "/api/v2/version", tag = "Version", responses((status = 200, body = VersionInfo)))]
pub(crate) async fn version() -> Json<VersionInfo> {
    Json(VersionInfo { version: env!("CARGO_PKG_VERSION").to_owned(), git_version: None })
}
