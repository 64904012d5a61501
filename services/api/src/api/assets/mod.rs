//! Assets, their aliases, their events, and what waits for a DAG's next run by them.
mod aliases;
mod events;
mod materialize;
mod queued;
mod ways;

pub(crate) use aliases::{__path_alias, __path_aliases, alias, aliases};
use axum::{Json, extract::State};
use dagbok_events::DagId;
pub(crate) use events::{
    __path_create_event, __path_events, __path_upstream, create_event, events, upstream,
};
pub(crate) use materialize::{__path_materialize, materialize};
pub(crate) use queued::{
    __path_drop_queued, __path_drop_queued_of_asset, __path_drop_queued_one, __path_queued,
    __path_queued_of_asset, __path_queued_one, drop_queued, drop_queued_of_asset, drop_queued_one,
    queued, queued_of_asset, queued_one,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
pub(in crate::api) use ways::way_back;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
};
use crate::{
    model::rows::AssetRow,
    shapes::{
        AssetCollection, AssetDag, AssetResponse, AssetTask, DateTime, Detail, LastAssetEvent,
    },
};

/// Which assets are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssetQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those whose name has this in it; `%`, `_` and `|` as in Airflow.
    name_pattern: Option<String>,
    /// Those whose uri has this in it.
    uri_pattern: Option<String>,
    /// Those that one of these DAGs is scheduled on.
    dag_ids: Vec<String>,
    /// With `true` only those that a DAG names now; otherwise all there ever were.
    only_active: Option<bool>,
    /// `id`, `name`, `uri`, `created_at` or `updated_at`; by their uris where not said.
    order_by: Vec<String>,
}

const ORDERS: &[&str] = &["id", "name", "uri", "created_at", "updated_at"];

fn json(text: Option<&String>) -> Value {
    let read = text.and_then(|text| serde_json::from_str(text).ok());
    read.unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}

fn shown(row: &AssetRow) -> AssetResponse {
    let tasks = |tasks: &std::collections::BTreeSet<(DagId, dagbok_events::TaskId)>| {
        let task = |(dag_id, task_id): &(DagId, dagbok_events::TaskId)| AssetTask {
            dag_id: dag_id.to_string(),
            task_id: task_id.to_string(),
        };
        tasks.iter().map(task).collect()
    };
    AssetResponse {
        id: row.id,
        name: row.asset.name.clone(),
        uri: row.asset.uri.clone(),
        group: row.group.clone(),
        extra: json(row.extra.as_ref()),
        created_at: DateTime(row.created_at),
        updated_at: DateTime(row.updated_at),
        scheduled_dags: {
            let dag = |dag_id: &DagId| AssetDag { dag_id: dag_id.to_string() };
            row.scheduled.iter().map(dag).collect()
        },
        producing_tasks: tasks(&row.producing),
        consuming_tasks: tasks(&row.consuming),
        aliases: row.aliases.iter().cloned().collect(),
        watchers: Vec::new(),
        last_asset_event: row
            .last_event
            .map(|(id, at)| LastAssetEvent { id, timestamp: DateTime(at) }),
    }
}

/// Every asset that is wanted.
#[utoipa::path(get, path = "/api/v2/assets", tag = "Asset", params(AssetQuery), responses(
    (status = 200, body = AssetCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AssetQuery>,
) -> Result<Json<AssetCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let orders = orders(&query.order_by, ORDERS)?;
    let found = state.read(move |store| {
        let mut all = store.assets()?;
        let like = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| matches(pattern, text))
        };
        all.retain(|row| {
            like(&query.name_pattern, &row.asset.name)
                && like(&query.uri_pattern, &row.asset.uri)
                && (query.dag_ids.is_empty()
                    || row.scheduled.iter().any(|id| query.dag_ids.contains(&id.to_string())))
                && (query.only_active != Some(true) || row.is_named())
        });
        sort(&mut all, &orders, |row, field| match field {
            "id" => Some(f64::from(row.id)).into(),
            "name" => row.asset.name.as_str().into(),
            "created_at" => Some(row.created_at).into(),
            "updated_at" => Some(row.updated_at).into(),
            _ => SortKey::from(row.asset.uri.as_str()),
        });
        let (rows, total_entries) = page.cut(all);
        Ok(AssetCollection { assets: rows.iter().map(shown).collect(), total_entries })
    });
    found.await.map(Json)
}

fn no_asset(id: u32) -> ApiError {
    ApiError::NotFound(format!("there is no asset {id}; /api/v2/assets lists those there are"))
}

/// One asset.
#[utoipa::path(get, path = "/api/v2/assets/{asset_id}", tag = "Asset", params(("asset_id" = u32, Path)), responses(
    (status = 200, body = AssetResponse), (status = 404, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(id): InPath<u32>,
) -> Result<Json<AssetResponse>, ApiError> {
    let found =
        state.read(move |store| store.asset(id)?.as_ref().map(shown).ok_or_else(|| no_asset(id)));
    found.await.map(Json)
}
