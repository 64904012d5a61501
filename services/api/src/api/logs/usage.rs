//! What a try used over its time: from its executor while it runs, then what is kept beside its log.
use axum::{Json, extract::State};
use dagbok_events::{ExecutorId, Leg, decode_any, encode_any};
use dagbok_protocol::{Measured, TryUsageAnswer, TryUsageQuery, UsageSeries, names};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery},
        state::ApiState,
    },
    slice::{EXECUTOR_PATIENCE, Reader, Wanted},
};
use crate::{
    model::rows::{TryEnd, TryRow},
    shapes::{DateTime, Detail, TryUsageSeries},
};

/// Of which copy of a task it is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// Which copy of the task; −1 where not said.
    map_index: Option<i32>,
}

/// What a try and all that it started used over its time: memory, CPU, disks, processes. Of a try that goes on later
/// or after a trigger, that of its last leg.
#[utoipa::path(get, path = "/api/v2/dagbok/usage/{dag_id}/{dag_run_id}/{task_id}/{try_number}", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("try_number" = u16, Path), UsageQuery),
    responses((status = 200, body = TryUsageSeries), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn usage(
    State(state): State<ApiState>,
    InPath((dag, run, task, number)): InPath<(String, String, String, u16)>,
    InQuery(query): InQuery<UsageQuery>,
) -> Result<Json<TryUsageSeries>, ApiError> {
    let wanted = Wanted::new(&dag, &run, &task, number, query.map_index)?;
    let reader = Reader::new(state, wanted);
    let row = reader.row().await?;
    let series = reader.series(&row).await?;
    Ok(Json(shown(series, row.end.is_some())))
}

impl Reader {
    async fn series(&self, row: &TryRow) -> Result<Option<UsageSeries>, ApiError> {
        let kept = row.kept_log().or_else(|| row.end.as_ref().and(row.legs.last()));
        if let Some(digest) = kept.and_then(|log| log.usage.as_ref()) {
            let bytes = self.state.ports.blobs.get(digest.as_str()).await?;
            let bytes = bytes.ok_or_else(|| {
                let text = format!("what this try used is gone: the blob {digest} is missing");
                ApiError::NotFound(text)
            })?;
            return decode_any(&bytes).map(Some).map_err(|error| ApiError::bug(&error));
        }
        match (&row.executor, &row.end) {
            (Some(executor), None) if row.started_at.is_some() => {
                self.ask_series(executor, row.leg).await
            }
            // Its processes may be ending yet.
            (Some(executor), Some(TryEnd::Cancelled | TryEnd::Lost(_))) => {
                Ok(self.ask_series(executor, row.leg).await.unwrap_or_default())
            }
            _ => Ok(None),
        }
    }

    async fn ask_series(
        &self,
        executor: &ExecutorId,
        leg: Leg,
    ) -> Result<Option<UsageSeries>, ApiError> {
        let query = encode_any(&TryUsageQuery { key: self.wanted.key(leg) });
        let subject = names::usage_subject(executor);
        let signals = &self.state.ports.signals;
        match signals.request(&subject, query.into(), EXECUTOR_PATIENCE).await {
            Ok(answer) => {
                let answer: TryUsageAnswer =
                    decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
                Ok(answer.series)
            }
            Err(error) => Err(ApiError::Unavailable(format!(
                "the try runs on executor {executor}, which did not say what it uses: {error}"
            ))),
        }
    }
}

fn shown(series: Option<UsageSeries>, complete: bool) -> TryUsageSeries {
    let there = series.is_some();
    let UsageSeries {
        began_at,
        measured,
        peak_bytes,
        peak_is_exact,
        memory_limit,
        cpu_limit_milli,
        at_ms,
        memory,
        cpu_us,
        read_bytes,
        written_bytes,
        processes,
        threads,
        gpu_bytes,
    } = series.unwrap_or_default();
    let measured = match measured {
        Measured::Processes => "processes",
        Measured::Cgroup => "cgroup",
    };
    TryUsageSeries {
        complete,
        began_at: there.then_some(DateTime(began_at)),
        measured: there.then(|| measured.to_owned()),
        peak_bytes,
        peak_is_exact,
        memory_limit,
        cpu_limit: cpu_limit_milli.map(|milli| f64::from(milli) / 1_000.0),
        at_ms,
        memory,
        cpu_us,
        read_bytes,
        written_bytes,
        processes,
        threads,
        gpu_bytes,
    }
}
