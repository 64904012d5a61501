//! Executors: what the log says of them, and what they say of themselves.
use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use dagbok_events::{ExecutorId, Micros, Resources, decode_any};
use dagbok_protocol::{
    CommandBody, CordonExecutor, HeldTry, Presence, limits::NOTE_BYTES, names::PRESENCE_PREFIX,
};
use dagbok_runlog::PortError;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery, flag},
    page::Page,
    state::ApiState,
    tell::tell,
    view::{actor_name, word},
};
use crate::{
    model::{
        StoreError,
        rows::{CordonRow, ExecutorRow},
    },
    shapes::{
        CordonAnswer, CordonBody, CordonInfo, Detail, ExecutorCollection, ExecutorInfo,
        ExecutorTry, ResourceInfo,
    },
};

/// The longest time limit of a drain: a month.
const MOST_LIMIT_SECONDS: f64 = 31.0 * 86_400.0;

/// The first version of the protocol whose executors know cordons.
const KNOWS_CORDONS: u32 = 2;

/// Who keeps a fresh presence now; one that can't be read is left out.
pub(crate) async fn present(state: &ApiState) -> Result<BTreeMap<ExecutorId, Presence>, PortError> {
    let found = state.ports.state.list(PRESENCE_PREFIX).await?;
    let read = |value: &[u8]| decode_any::<Presence>(value).ok();
    let presences = found.iter().filter_map(|(_, versioned)| read(&versioned.value));
    Ok(presences.map(|presence| (presence.executor.clone(), presence)).collect())
}

fn held(held: &HeldTry) -> ExecutorTry {
    let HeldTry { key, pid, waits } = held;
    ExecutorTry {
        dag_id: key.dag_id.to_string(),
        dag_run_id: key.run_id.to_string(),
        task_id: key.task_id.to_string(),
        map_index: key.map_index.0,
        try_number: key.try_number.get(),
        pid: *pid,
        waits: waits.clone(),
    }
}

fn resource_info(of: &Resources) -> ResourceInfo {
    let cpu = of.cpu_milli.and_then(|milli| u32::try_from(milli).ok());
    ResourceInfo {
        memory: of.memory,
        cpu: cpu.map(|milli| f64::from(milli) / 1_000.0),
        gpus: of.gpus,
        custom: of.custom.clone(),
        labels: of.labels.clone(),
    }
}

fn cordon_info(row: CordonRow) -> CordonInfo {
    let seconds = |limit: Micros| limit.to_std().as_secs_f64();
    CordonInfo {
        name: row.name.to_string(),
        drain: row.drain,
        limit_seconds: row.limit.map(seconds),
        since: row.at.into(),
        by: actor_name(&row.by),
        reason: row.reason,
    }
}

fn shown(
    row: ExecutorRow,
    running: u32,
    presence: Option<&Presence>,
    cordon: Option<CordonInfo>,
) -> ExecutorInfo {
    let status = match (presence, &row.left_at) {
        (_, Some(_)) => "left",
        (Some(presence), None) if presence.draining => "draining",
        (Some(presence), None) if cordon.is_some() && presence.cordoned => "cordoned",
        (Some(_), None) if cordon.is_some() => "cordoning",
        (Some(_), None) => "alive",
        (None, None) => "silent",
    };
    ExecutorInfo {
        executor: row.executor.to_string(),
        name: row.name.to_string(),
        cordon,
        protocol: row.protocol,
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
    let cordons =
        state.read(|store| Ok(store.cordons()?)).await?.into_iter().map(cordon_info).collect();
    Ok(Json(ExecutorCollection { executors, total_entries, cordons }))
}

/// Let executors of a name take nothing new, in this life and in those to come. What they run goes on.
#[utoipa::path(post, path = "/api/v2/dagbok/executors/{executor}/cordon", tag = "Dagbok",
    params(("executor" = String, Path, description = "What it is called, or the id of one of its lives.")),
    request_body = CordonBody, responses(
    (status = 200, body = CordonAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn cordon(
    State(state): State<ApiState>,
    caller: Caller,
    InPath(executor): InPath<String>,
    InBody(body): InBody<CordonBody>,
) -> Result<Json<CordonAnswer>, ApiError> {
    if body.limit_seconds.is_some() {
        let what = "a cordon takes nothing away, and so has no time limit; `drain` has one";
        return Err(ApiError::invalid("value_error", &["body", "limit_seconds"], what.to_owned()));
    }
    let ask = CordonExecutor { executor: executor.clone(), drain: false, limit: None };
    told(&state, caller, &executor, body.reason, CommandBody::CordonExecutor(ask)).await
}

/// Let executors of a name take nothing new, end what they run, and leave; lives to come are cordoned. What still runs
/// when the time is over is ended, or goes on, as each executor is set (`executor.after_drain`).
#[utoipa::path(post, path = "/api/v2/dagbok/executors/{executor}/drain", tag = "Dagbok",
    params(("executor" = String, Path, description = "What it is called, or the id of one of its lives.")),
    request_body = CordonBody, responses(
    (status = 200, body = CordonAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn drain(
    State(state): State<ApiState>,
    caller: Caller,
    InPath(executor): InPath<String>,
    InBody(body): InBody<CordonBody>,
) -> Result<Json<CordonAnswer>, ApiError> {
    let limit = body.limit_seconds.map(|seconds| {
        let fits = (0.0..=MOST_LIMIT_SECONDS).contains(&seconds);
        let time = fits.then(|| std::time::Duration::from_secs_f64(seconds));
        time.and_then(|time| i64::try_from(time.as_micros()).ok()).map(Micros).ok_or_else(|| {
            let what = format!("must be from 0 to {MOST_LIMIT_SECONDS} seconds, not {seconds}");
            ApiError::invalid("value_error", &["body", "limit_seconds"], what)
        })
    });
    let ask = CordonExecutor { executor: executor.clone(), drain: true, limit: limit.transpose()? };
    told(&state, caller, &executor, body.reason, CommandBody::CordonExecutor(ask)).await
}

/// Let executors of a name take work again.
#[utoipa::path(post, path = "/api/v2/dagbok/executors/{executor}/uncordon", tag = "Dagbok",
    params(("executor" = String, Path, description = "What it is called, or the id of one of its lives.")),
    request_body = CordonBody, responses(
    (status = 200, body = CordonAnswer), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn uncordon(
    State(state): State<ApiState>,
    caller: Caller,
    InPath(executor): InPath<String>,
    InBody(body): InBody<CordonBody>,
) -> Result<Json<CordonAnswer>, ApiError> {
    let ask = CommandBody::UncordonExecutor { executor: executor.clone() };
    told(&state, caller, &executor, body.reason, ask).await
}

/// Has it decided, and says how those of that name stand then.
async fn told(
    state: &ApiState,
    caller: Caller,
    typed: &str,
    reason: Option<String>,
    body: CommandBody,
) -> Result<Json<CordonAnswer>, ApiError> {
    if reason.as_ref().is_some_and(|reason| reason.len() > NOTE_BYTES) {
        let what = format!("may have at most {NOTE_BYTES} bytes");
        return Err(ApiError::invalid("value_error", &["body", "reason"], what));
    }
    let seq = tell(state, caller, reason, body).await?.seq;
    let (all, _) = some(state, false, 0, usize::MAX).await?;
    let by_id = all.iter().find(|it| it.executor == typed).map(|it| it.name.clone());
    let name = by_id.unwrap_or_else(|| typed.to_owned());
    let cordons = state.read(|store| Ok(store.cordons()?)).await?;
    let cordon = cordons.into_iter().find(|it| it.name.as_str() == name).map(cordon_info);
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.name == name);
    let served: BTreeSet<&String> =
        others.iter().filter(|it| it.cordon.is_none()).flat_map(|it| &it.queues).collect();
    let queues: BTreeSet<&String> = own.iter().flat_map(|it| &it.queues).collect();
    let unserved = queues.difference(&served).filter(|_| cordon.is_some());
    let present = present(state).await?;
    let ids = |which: &dyn Fn(&ExecutorInfo) -> bool| {
        own.iter().filter(|it| which(it)).map(|it| it.executor.clone()).collect::<Vec<_>>()
    };
    let stays = |it: &ExecutorInfo| {
        present.values().any(|at| at.stays && at.executor.as_str() == it.executor)
    };
    Ok(Json(CordonAnswer {
        seq,
        unaware: if cordon.is_some() { ids(&|it| it.protocol < KNOWS_CORDONS) } else { Vec::new() },
        leaving: ids(&|it| it.status == "draining"),
        staying: ids(&stays),
        executors: own.iter().map(|it| it.executor.clone()).collect(),
        running: own.iter().map(|it| it.running).sum(),
        unserved_queues: unserved.map(ToString::to_string).collect(),
        cordon,
    }))
}

/// `take` executors after `skip`, with `left` those that have left too, and how many there are.
pub(crate) async fn some(
    state: &ApiState,
    left: bool,
    skip: usize,
    take: usize,
) -> Result<(Vec<ExecutorInfo>, usize), ApiError> {
    let cordons = state.read(|store| Ok(store.cordons()?)).await?.into_iter();
    let cordons: BTreeMap<String, CordonInfo> =
        cordons.map(|row| (row.name.to_string(), cordon_info(row))).collect();
    let read = state.read(move |store| {
        let (found, total) = store.executors(left, skip, take)?;
        let with_load = |row: ExecutorRow| Ok((store.running_on(&row.executor)?, row));
        Ok((found.into_iter().map(with_load).collect::<Result<Vec<_>, StoreError>>()?, total))
    });
    let (found, total) = read.await?;
    let present = present(state).await?;
    let shown_with = |(running, row): (u32, ExecutorRow)| {
        let presence = present.get(&row.executor);
        let cordon = cordons.get(row.name.as_str()).cloned();
        shown(row, running, presence, cordon)
    };
    Ok((found.into_iter().map(shown_with).collect(), total))
}
