//! Pools and their slots.
mod bulk;
mod change;

use axum::{Json, extract::State};
pub(crate) use bulk::{__path_bulk, bulk};
pub(crate) use change::{__path_delete, __path_patch, __path_post, delete, patch, post};
use dagbok_events::PoolSet;
use dagbok_protocol::limits::DEFAULT_POOL_SLOTS;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
};
use crate::{
    model::{Store, rows::PoolRow},
    shapes::{Detail, PoolCollection, PoolResponse},
};

/// The pool that is always there.
const DEFAULT: &str = "default_pool";

fn shown(name: String, row: &PoolRow) -> PoolResponse {
    let slots = match row.slots.unwrap_or(DEFAULT_POOL_SLOTS) {
        PoolSet::UNLIMITED => -1,
        slots => i64::from(slots),
    };
    let count = |slots: u64| i64::try_from(slots).unwrap_or(i64::MAX);
    let (running, queued) = (count(row.running), count(row.queued));
    let deferred = count(row.deferred);
    let occupied = running + queued + if row.include_deferred { deferred } else { 0 };
    PoolResponse {
        name,
        slots,
        description: row.description.clone(),
        include_deferred: row.include_deferred,
        occupied_slots: occupied,
        running_slots: running,
        queued_slots: queued,
        scheduled_slots: 0,
        open_slots: if slots < 0 { slots } else { slots - occupied },
        deferred_slots: deferred,
        team_name: None,
    }
}

/// The pools that there are: those that were set, and the one that is always there. Tries may hold slots of
/// others, which were deleted since.
pub(crate) fn all(store: &Store) -> Result<Vec<PoolResponse>, ApiError> {
    let mut rows = store.pools()?;
    if !rows.iter().any(|(name, _)| name == DEFAULT) {
        rows.insert(0, (DEFAULT.to_owned(), PoolRow::default()));
    }
    rows.retain(|(name, row)| row.slots.is_some() || name == DEFAULT);
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
    /// Those whose name begins so.
    pool_name_prefix_pattern: Option<String>,
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
    let prefix = query.pool_name_prefix_pattern.as_deref().unwrap_or_default();
    found.retain(|pool| pool.name.starts_with(prefix));
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
    found.ok_or_else(|| ApiError::NotFound(format!("The Pool with name: `{name}` was not found")))
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
