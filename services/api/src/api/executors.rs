//! Executors: what the log says of them, and what they say of themselves.
use std::collections::BTreeMap;

use axum::{Json, extract::State};
use dagbok_events::{ExecutorId, Resources, decode_any};
use dagbok_protocol::{HeldTry, Presence, names::PRESENCE_PREFIX};
use dagbok_runlog::PortError;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InQuery, flag},
    page::Page,
    state::ApiState,
    view::word,
};
use crate::{
    model::{StoreError, rows::ExecutorRow},
    shapes::{Detail, ExecutorCollection, ExecutorInfo, ExecutorTry, ResourceInfo},
};

/// Who keeps a fresh presence now; one that can't be read is left out.
pub(crate) async fn present(state: &ApiState) -> Result<BTreeMap<ExecutorId, Presence>, PortError> {
    let found = state.ports.state.list(PRESENCE_PREFIX).await?;
    let read = |value: &[u8]| decode_any::<Presence>(value).ok();
    let presences = found.iter().filter_map(|(_, versioned)| read(&versioned.value));
    Ok(presences.map(|presence| (presence.executor.clone(), presence)).collect())
}

fn held(held: &HeldTry) -> ExecutorTry {
    let HeldTry { key, pid } = held;
    ExecutorTry {
        dag_id: key.dag_id.to_string(),
        dag_run_id: key.run_id.to_string(),
        task_id: key.task_id.to_string(),
        map_index: key.map_index.0,
        try_number: key.try_number.get(),
        pid: *pid,
    }
}

fn resource_info(of: &Resources) -> ResourceInfo {
    let cpu = of.cpu_milli.and_then(|milli| u32::try_from(milli).ok());
    ResourceInfo {
        memory: of.memory,
        cpu: cpu.map(|milli| f64::from(milli) / 1_000.0),
        gpus: of.gpus,
        custom: of.custom.clone(),
    }
}

fn shown(row: ExecutorRow, running: u32, presence: Option<&Presence>) -> ExecutorInfo {
    let status = match (presence, &row.left_at) {
        (_, Some(_)) => "left",
        (Some(presence), None) if presence.draining => "draining",
        (Some(_), None) => "alive",
        (None, None) => "silent",
    };
    ExecutorInfo {
        executor: row.executor.to_string(),
        status: status.to_owned(),
        hostname: row.hostname,
        slots: row.slots,
        running,
        queues: row.queues.iter().map(ToString::to_string).collect(),
        version: row.version,
        python: row.python,
        resources: resource_info(&row.resources),
        isolation: row.isolation,
        joined_at: row.joined_at.into(),
        left_at: row.left_at.map(Into::into),
        left: row.left.as_ref().map(word),
        holds: presence
            .map(|presence| presence.holds.iter().map(held).collect())
            .unwrap_or_default(),
    }
}

/// Which executors are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExecutorQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those that have left, too; false where not said.
    #[serde(deserialize_with = "flag")]
    left: Option<bool>,
}

/// Every executor that is there, by the time it came.
#[utoipa::path(get, path = "/api/v2/dagbok/executors", tag = "Dagbok", params(ExecutorQuery), responses(
    (status = 200, body = ExecutorCollection), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<ExecutorQuery>,
) -> Result<Json<ExecutorCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let left = query.left.unwrap_or(false);
    let (executors, total_entries) = some(&state, left, page.offset, page.limit).await?;
    Ok(Json(ExecutorCollection { executors, total_entries }))
}

/// `take` executors after `skip`, with `left` those that have left too, and how many there are.
pub(crate) async fn some(
    state: &ApiState,
    left: bool,
    skip: usize,
    take: usize,
) -> Result<(Vec<ExecutorInfo>, usize), ApiError> {
    let read = state.read(move |store| {
        let (found, total) = store.executors(left, skip, take)?;
        let with_load = |row: ExecutorRow| Ok((store.running_on(&row.executor)?, row));
        Ok((found.into_iter().map(with_load).collect::<Result<Vec<_>, StoreError>>()?, total))
    });
    let (found, total) = read.await?;
    let present = present(state).await?;
    let shown_with = |(running, row): (u32, ExecutorRow)| {
        let presence = present.get(&row.executor);
        shown(row, running, presence)
    };
    Ok((found.into_iter().map(shown_with).collect(), total))
}
