//! Pools and their slots.
use axum::{Json, extract::State};
use dagbok_events::PoolName;
use dagbok_protocol::{CommandBody, limits::DEFAULT_POOL_SLOTS};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
    tell::tell,
};
use crate::{
    model::{Store, rows::PoolRow},
    shapes::{Detail, PoolCollection, PoolPatch, PoolResponse},
};

/// The pool that is always there.
const DEFAULT: &str = "default_pool";

fn shown(name: String, row: &PoolRow) -> PoolResponse {
    let unset = if name == DEFAULT { DEFAULT_POOL_SLOTS } else { 0 };
    let slots = i64::from(row.slots.unwrap_or(unset));
    let count = |slots: u64| i64::try_from(slots).unwrap_or(i64::MAX);
    let (running, queued) = (count(row.running), count(row.queued));
    PoolResponse {
        name,
        slots,
        description: None,
        include_deferred: false,
        occupied_slots: running + queued,
        running_slots: running,
        queued_slots: queued,
        scheduled_slots: 0,
        open_slots: slots - running - queued,
        deferred_slots: 0,
        team_name: None,
    }
}

fn all(store: &Store) -> Result<Vec<PoolResponse>, ApiError> {
    let mut rows = store.pools()?;
    if !rows.iter().any(|(name, _)| name == DEFAULT) {
        rows.insert(0, (DEFAULT.to_owned(), PoolRow::default()));
    }
    Ok(rows.into_iter().map(|(name, row)| shown(name, &row)).collect())
}

/// Which pools are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PoolQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those whose name has this in it; `%`, `_` and `|` as in Airflow.
    pool_name_pattern: Option<String>,
    /// `name`, `slots`; by name where not said.
    order_by: Vec<String>,
}

/// Every pool.
#[utoipa::path(get, path = "/api/v2/pools", tag = "Pool", params(PoolQuery), responses(
    (status = 200, body = PoolCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<PoolQuery>,
) -> Result<Json<PoolCollection>, ApiError> {
    let orders = orders(&query.order_by, &["id", "name", "slots"])?;
    let page = Page::new(query.limit, query.offset);
    let mut found = state.read(all).await?;
    let pattern = query.pool_name_pattern.as_deref();
    found.retain(|pool| pattern.is_none_or(|pattern| matches(pattern, &pool.name)));
    sort(&mut found, &orders, |pool, field| match field {
        #[expect(clippy::cast_precision_loss, reason = "slots are 32 bits")]
        "slots" => SortKey::Number(pool.slots as f64),
        _ => pool.name.as_str().into(),
    });
    let (pools, total_entries) = page.cut(found);
    Ok(Json(PoolCollection { pools, total_entries }))
}

fn one(store: &Store, name: &str) -> Result<PoolResponse, ApiError> {
    let found = all(store)?.into_iter().find(|pool| pool.name == name);
    found.ok_or_else(|| ApiError::NotFound(format!("there is no pool `{name}`")))
}

/// One pool.
#[utoipa::path(get, path = "/api/v2/pools/{pool_name}", tag = "Pool", params(("pool_name" = String, Path)),
    responses((status = 200, body = PoolResponse), (status = 404, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
) -> Result<Json<PoolResponse>, ApiError> {
    state.read(move |store| one(store, &name)).await.map(Json)
}

/// Gives a pool another number of slots.
#[utoipa::path(patch, path = "/api/v2/pools/{pool_name}", tag = "Pool", params(("pool_name" = String, Path)),
    request_body = PoolPatch,
    responses((status = 200, body = PoolResponse), (status = 202, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
    caller: Caller,
    InBody(PoolPatch { slots }): InBody<PoolPatch>,
) -> Result<Json<PoolResponse>, ApiError> {
    let pool = PoolName::new(name.as_str())
        .map_err(|error| ApiError::invalid("value_error", &["path", "pool_name"], error))?;
    tell(&state, caller, None, CommandBody::SetPool { pool, slots }).await?;
    state.read(move |store| one(store, &name)).await.map(Json)
}
