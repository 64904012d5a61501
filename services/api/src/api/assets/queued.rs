//! Assets that are up to date and wait for the others that a DAG needs: by the DAG, by the asset, and by both.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::{AssetKey, DagId, Timestamp, Timetable};
use dagbok_protocol::CommandBody;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::{
    errors::ApiError,
    extract::{Caller, InPath, InQuery, dag_id, instant},
    state::ApiState,
    tell::tell,
};
use crate::{
    model::{Store, rows::QueuedAssetRow},
    shapes::{DateTime, Detail, QueuedEvent, QueuedEventCollection},
};

/// Which of them are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct QueuedQuery {
    /// Those that wait since before this instant.
    before: Option<String>,
}

impl QueuedQuery {
    fn before(&self) -> Result<Option<Timestamp>, ApiError> {
        let read = self.before.as_deref().map(instant).transpose();
        read.map_err(|why| ApiError::invalid("datetime_parsing", &["query", "before"], why))
    }
}

fn shown(store: &Store, dag: &DagId, row: &QueuedAssetRow) -> Result<QueuedEvent, ApiError> {
    let asset_id = store.asset_row(&row.asset)?.map_or(0, |asset| asset.id);
    let name = store.dag(dag)?.and_then(|dag| dag.display_name);
    Ok(QueuedEvent {
        dag_id: dag.to_string(),
        asset_id,
        created_at: DateTime(row.since),
        dag_display_name: name.unwrap_or_else(|| dag.to_string()),
    })
}

/// What waits for a DAG's next run, or with an asset, or both.
fn waiting(
    store: &Store,
    dag: Option<&DagId>,
    asset: Option<u32>,
    before: Option<Timestamp>,
) -> Result<Vec<(DagId, QueuedAssetRow)>, ApiError> {
    let key = match asset {
        Some(id) => match store.asset(id)? {
            Some(row) => Some(row.asset),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    let mut found = match (dag, &key) {
        (Some(dag), None) => {
            let rows = store.queued_assets(dag)?;
            rows.into_iter().map(|row| (dag.clone(), row)).collect()
        }
        (Some(dag), Some(key)) => {
            let row = store.queued_asset(dag, key)?;
            row.map(|row| (dag.clone(), row)).into_iter().collect()
        }
        (None, Some(key)) => store.queued_with(key)?,
        (None, None) => Vec::new(),
    };
    found.retain(|(_, row)| before.is_none_or(|before| row.since < before));
    Ok(found)
}

fn collection(
    store: &Store,
    found: &[(DagId, QueuedAssetRow)],
) -> Result<QueuedEventCollection, ApiError> {
    let shown = found.iter().map(|(dag, row)| shown(store, dag, row));
    let queued_events: Vec<QueuedEvent> = shown.collect::<Result<_, _>>()?;
    let total_entries = queued_events.len();
    Ok(QueuedEventCollection { queued_events, total_entries })
}

fn none(dag: Option<&str>, asset: Option<u32>) -> ApiError {
    let dag = dag.map(|dag| format!(" for the DAG {dag}")).unwrap_or_default();
    let asset = asset.map(|id| format!(" with the asset {id}")).unwrap_or_default();
    ApiError::NotFound(format!("no event is queued{dag}{asset}"))
}

/// The assets that are up to date and wait for the others that a DAG needs.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path), QueuedQuery), responses(
    (status = 200, body = QueuedEventCollection), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn queued(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<QueuedQuery>,
) -> Result<Json<QueuedEventCollection>, ApiError> {
    let before = query.before()?;
    let found = state.read(move |store| {
        let dag = store.dag(&dag_id(&raw)?)?.ok_or_else(|| ApiError::no_dag(&raw))?;
        collection(store, &waiting(store, Some(&dag.dag_id), None, before)?)
    });
    found.await.map(Json)
}

/// One of them.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path), ("asset_id" = u32, Path), QueuedQuery), responses(
    (status = 200, body = QueuedEvent), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn queued_one(
    State(state): State<ApiState>,
    InPath((raw, id)): InPath<(String, u32)>,
    InQuery(query): InQuery<QueuedQuery>,
) -> Result<Json<QueuedEvent>, ApiError> {
    let before = query.before()?;
    let found = state.read(move |store| {
        let found = waiting(store, Some(&dag_id(&raw)?), Some(id), before)?;
        let (dag, row) = found.first().ok_or_else(|| none(Some(&raw), Some(id)))?;
        shown(store, dag, row)
    });
    found.await.map(Json)
}

/// The DAGs that an asset waits in, for the others that they need.
#[utoipa::path(get, path = "/api/v2/assets/{asset_id}/queuedEvents", tag = "Asset",
    params(("asset_id" = u32, Path), QueuedQuery), responses(
    (status = 200, body = QueuedEventCollection), (status = 422, body = Detail)
))]
pub(crate) async fn queued_of_asset(
    State(state): State<ApiState>,
    InPath(id): InPath<u32>,
    InQuery(query): InQuery<QueuedQuery>,
) -> Result<Json<QueuedEventCollection>, ApiError> {
    let before = query.before()?;
    let found =
        state.read(move |store| collection(store, &waiting(store, None, Some(id), before)?));
    found.await.map(Json)
}

/// Lets a DAG wait for all of its assets again.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}/assets/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path), QueuedQuery), responses(
    (status = 204), (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn drop_queued(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<QueuedQuery>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    dropped(&state, caller, Some(raw), None, query.before()?).await
}

/// Lets a DAG wait for one of its assets again.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", tag = "Asset",
    params(("dag_id" = String, Path), ("asset_id" = u32, Path), QueuedQuery), responses(
    (status = 204), (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn drop_queued_one(
    State(state): State<ApiState>,
    InPath((raw, id)): InPath<(String, u32)>,
    InQuery(query): InQuery<QueuedQuery>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    dropped(&state, caller, Some(raw), Some(id), query.before()?).await
}

/// Lets every DAG that an asset waits in wait for it again.
#[utoipa::path(delete, path = "/api/v2/assets/{asset_id}/queuedEvents", tag = "Asset",
    params(("asset_id" = u32, Path), QueuedQuery), responses(
    (status = 204), (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn drop_queued_of_asset(
    State(state): State<ApiState>,
    InPath(id): InPath<u32>,
    InQuery(query): InQuery<QueuedQuery>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    dropped(&state, caller, None, Some(id), query.before()?).await
}

/// Drops what waits, DAG by DAG; as in Airflow, that nothing waits is an error.
async fn dropped(
    state: &ApiState,
    caller: Caller,
    dag: Option<String>,
    asset: Option<u32>,
    before: Option<Timestamp>,
) -> Result<StatusCode, ApiError> {
    let of = dag.clone();
    let found = state.read(move |store| {
        let dag = of.as_deref().map(dag_id).transpose()?;
        if let (Some(dag), Some(raw)) = (&dag, &of)
            && store.dag(dag)?.is_none()
        {
            return Err(ApiError::no_dag(raw));
        }
        waiting(store, dag.as_ref(), asset, before)
    });
    let mut by_dag: Vec<(DagId, Vec<AssetKey>)> = Vec::new();
    for (dag, row) in found.await? {
        match by_dag.last_mut().filter(|(last, _)| *last == dag) {
            Some((_, assets)) => assets.push(row.asset),
            None => by_dag.push((dag, vec![row.asset])),
        }
    }
    if by_dag.is_empty() {
        // What waits for more of a partition is the scheduler's to know: it says whether there was something.
        let Some(raw) = dag.filter(|_| before.is_none()) else { return Err(none(None, asset)) };
        return drop_partitions(state, caller, &raw, asset).await;
    }
    for (dag_id, assets) in by_dag {
        let body = CommandBody::DropQueuedAssets { dag_id, assets };
        tell(state, caller.clone(), None, body).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Drops the partitions of a DAG that wait for more events, or of them what came of one asset.
async fn drop_partitions(
    state: &ApiState,
    caller: Caller,
    raw: &str,
    asset: Option<u32>,
) -> Result<StatusCode, ApiError> {
    let dag_id = dag_id(raw)?;
    let of = dag_id.clone();
    let meant = state.read(move |store| {
        let Some(dag) = store.dag(&of)? else { return Ok(None) };
        let version = store.version_shared(&of, dag.version)?;
        let timetable = version.map(|row| row.spec.schedule.timetable.clone());
        if !matches!(timetable, Some(Timetable::PartitionedAsset { .. })) {
            return Ok(None);
        }
        Ok(match asset {
            Some(id) => store.asset(id)?.map(|row| vec![row.asset]),
            None => Some(Vec::new()),
        })
    });
    let Some(assets) = meant.await? else { return Err(none(Some(raw), asset)) };
    let told = tell(state, caller, None, CommandBody::DropQueuedAssets { dag_id, assets }).await?;
    told.seq.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| none(Some(raw), asset))
}
