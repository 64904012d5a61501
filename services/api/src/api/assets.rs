//! Assets, their events, and what waits for a DAG's next run by them.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::{AssetKey, DagId};
use dagbok_protocol::{AssetUpdate, CommandBody};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery, dag_id, run_key},
    page::{Page, matches},
    state::ApiState,
    tell::tell,
    view::when,
};
use crate::{
    model::{
        Store,
        rows::{AssetEventRow, AssetRow, event_id},
    },
    shapes::{
        AssetCollection, AssetDag, AssetEventCollection, AssetEventResponse, AssetResponse,
        AssetTask, CreateAssetEvent, CreatedRun, DateTime, Detail, LastAssetEvent, QueuedEvent,
        QueuedEventCollection,
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
}

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
        aliases: Vec::new(),
        watchers: Vec::new(),
        last_asset_event: row
            .last_event
            .map(|(id, at)| LastAssetEvent { id, timestamp: DateTime(at) }),
    }
}

fn event(store: &Store, row: AssetEventRow) -> Result<AssetEventResponse, ApiError> {
    let asset = store.asset_row(&row.asset)?;
    let mut created_dagruns = Vec::new();
    for key in &row.runs {
        // One that was deleted since is not shown.
        if let Some(run) = store.run(key)? {
            created_dagruns.push(CreatedRun {
                run_id: key.run_id.to_string(),
                dag_id: key.dag_id.to_string(),
                logical_date: when(run.logical_date),
                start_date: when(run.start_date),
                end_date: when(run.end_date),
                state: run.state.word().to_owned(),
                data_interval_start: when(run.data_interval.map(|interval| interval.start)),
                data_interval_end: when(run.data_interval.map(|interval| interval.end)),
            });
        }
    }
    let source = row.source.as_ref();
    Ok(AssetEventResponse {
        id: row.id,
        asset_id: asset.as_ref().map_or(0, |asset| asset.id),
        group: asset.map_or_else(|| "asset".to_owned(), |asset| asset.group),
        uri: row.asset.uri.clone(),
        name: row.asset.name.clone(),
        extra: json(row.extra.as_ref()),
        source_task_id: source.map(|source| source.task_id.to_string()),
        source_dag_id: source.map(|source| source.dag_id.to_string()),
        source_run_id: source.map(|source| source.run_id.to_string()),
        source_map_index: source.map_or(-1, |source| source.map_index.0),
        source_aliases: row.aliases,
        created_dagruns,
        timestamp: DateTime(row.at),
    })
}

/// Every asset that is wanted.
#[utoipa::path(get, path = "/api/v2/assets", tag = "Asset", params(AssetQuery), responses(
    (status = 200, body = AssetCollection), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AssetQuery>,
) -> Result<Json<AssetCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
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

/// Which events are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssetEventQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those of this asset.
    asset_id: Option<u32>,
    /// Those that tasks of this DAG made.
    source_dag_id: Option<String>,
    /// Those that this task made.
    source_task_id: Option<String>,
    /// Those that this run made.
    source_run_id: Option<String>,
    /// Those that this copy of a task made.
    source_map_index: Option<i32>,
}

impl AssetEventQuery {
    fn wants(&self, row: &AssetEventRow, asset: Option<&AssetKey>) -> bool {
        let source = row.source.as_ref();
        let is = |wanted: &Option<String>, text: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == text
        };
        asset.is_none_or(|asset| *asset == row.asset)
            && is(&self.source_dag_id, source.map(|source| source.dag_id.as_str()))
            && is(&self.source_task_id, source.map(|source| source.task_id.as_str()))
            && is(&self.source_run_id, source.map(|source| source.run_id.as_str()))
            && self
                .source_map_index
                .is_none_or(|wanted| source.is_some_and(|source| source.map_index.0 == wanted))
    }
}

/// Every event that is wanted, oldest first.
#[utoipa::path(get, path = "/api/v2/assets/events", tag = "Asset", params(AssetEventQuery), responses(
    (status = 200, body = AssetEventCollection), (status = 422, body = Detail)
))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AssetEventQuery>,
) -> Result<Json<AssetEventCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let found = state.read(move |store| {
        let asset = match query.asset_id {
            Some(id) => match store.asset(id)? {
                Some(row) => Some(row.asset),
                None => {
                    return Ok(AssetEventCollection { asset_events: vec![], total_entries: 0 });
                }
            },
            None => None,
        };
        let mut all = store.asset_events()?;
        all.retain(|row| query.wants(row, asset.as_ref()));
        let (rows, total_entries) = page.cut(all);
        let shown = rows.into_iter().map(|row| event(store, row));
        Ok(AssetEventCollection { asset_events: shown.collect::<Result<_, _>>()?, total_entries })
    });
    found.await.map(Json)
}

/// Says that an asset is up to date, for what happens outside of every DAG.
#[utoipa::path(post, path = "/api/v2/assets/events", tag = "Asset", request_body = CreateAssetEvent, responses(
    (status = 200, body = AssetEventResponse), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn create_event(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(ask): InBody<CreateAssetEvent>,
) -> Result<Json<AssetEventResponse>, ApiError> {
    let id = ask.asset_id;
    let asset = state.read(move |store| store.asset(id)?.ok_or_else(|| no_asset(id))).await?.asset;
    let extra = ask.extra.filter(|extra| !extra.is_empty()).map(|it| Value::Object(it).to_string());
    let body = CommandBody::UpdateAsset(AssetUpdate { asset, extra });
    // By its own record: others may tell of the same asset at the same time, or have since.
    let seq = tell(&state, caller, None, body).await?.seq.ok_or_else(|| no_asset(id))?;
    let found = state.read(move |store| {
        event(store, store.asset_event(event_id(seq, 0))?.ok_or_else(|| no_asset(id))?)
    });
    found.await.map(Json)
}

/// The assets that are up to date and wait for the others that a DAG needs.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path)), responses(
    (status = 200, body = QueuedEventCollection), (status = 404, body = Detail)
))]
pub(crate) async fn queued(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
) -> Result<Json<QueuedEventCollection>, ApiError> {
    let found = state.read(move |store| {
        let dag = store.dag(&dag_id(&raw)?)?.ok_or_else(|| ApiError::no_dag(&raw))?;
        let mut queued_events = Vec::new();
        for row in store.queued_assets(&dag.dag_id)? {
            let asset_id = store.asset_row(&row.asset)?.map_or(0, |asset| asset.id);
            queued_events.push(QueuedEvent {
                dag_id: raw.clone(),
                asset_id,
                created_at: DateTime(row.since),
                dag_display_name: dag.display_name.clone().unwrap_or_else(|| raw.clone()),
            });
        }
        let total_entries = queued_events.len();
        Ok(QueuedEventCollection { queued_events, total_entries })
    });
    found.await.map(Json)
}

/// Lets a DAG wait for all of its assets again.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path)), responses(
    (status = 204), (status = 404, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn drop_queued(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    let body = CommandBody::DropQueuedAssets { dag_id: dag_id(&raw)?, assets: Vec::new() };
    tell(&state, caller, None, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The events of assets that made a run.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", tag = "DagRun",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), responses(
    (status = 200, body = AssetEventCollection), (status = 404, body = Detail)
))]
pub(crate) async fn upstream(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<AssetEventCollection>, ApiError> {
    let found = state.read(move |store| {
        let key = run_key(&dag, &run)?;
        if store.run(&key)?.is_none() {
            return Err(ApiError::no_run(&dag, &run));
        }
        let mut asset_events = Vec::new();
        let made = store.run_assets(&key)?;
        for id in made.iter().flat_map(|row| &row.events) {
            if let Some(row) = store.asset_event(*id)? {
                asset_events.push(event(store, row)?);
            }
        }
        let left_out = made.map_or(0, |row| row.left_out as usize);
        let total_entries = asset_events.len() + left_out;
        Ok(AssetEventCollection { asset_events, total_entries })
    });
    found.await.map(Json)
}
