//! Events of assets: listed, made from outside, and those that made a run.
use axum::{Json, extract::State};
use dagbok_events::{DagId, RunId};
use dagbok_protocol::{AssetUpdate, CommandBody};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{Caller, InBody, InPath, InQuery, run_key},
        page::{Page, SortKey, instants, matches, orders},
        state::ApiState,
        tell::tell,
        view::when,
    },
    json, no_asset,
};
use crate::{
    model::{
        Store,
        lists::{EventAsk, EventsOf},
        rows::{AssetEventRow, event_id},
    },
    shapes::{
        AssetEventCollection, AssetEventResponse, CreateAssetEvent, CreatedRun, DateTime, Detail,
        ListExtra,
    },
};

pub(super) fn event(store: &Store, row: AssetEventRow) -> Result<AssetEventResponse, ApiError> {
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
        partition_key: row.partition_key,
        dagbok_refused: row.refused.into_iter().map(|(dag, why)| (dag.to_string(), why)).collect(),
        created_dagruns,
        timestamp: DateTime(row.at),
    })
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
    /// Those of assets whose name has this in it; `%`, `_` and `|` as in Airflow.
    name_pattern: Option<String>,
    timestamp_gte: Option<String>,
    timestamp_gt: Option<String>,
    timestamp_lte: Option<String>,
    timestamp_lt: Option<String>,
    /// `timestamp` (also where not said), `source_dag_id`, `source_task_id`, `source_run_id`,
    /// `source_map_index`; with `-` before it the other way round.
    order_by: Vec<String>,
}

const ORDERS: &[&str] =
    &["timestamp", "id", "source_dag_id", "source_task_id", "source_run_id", "source_map_index"];

impl AssetEventQuery {
    /// Whether an event is wanted, by what no index stands for.
    fn wants(&self, row: &AssetEventRow) -> bool {
        let source = row.source.as_ref();
        let is = |wanted: &Option<String>, text: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == text
        };
        is(&self.source_dag_id, source.map(|source| source.dag_id.as_str()))
            && is(&self.source_task_id, source.map(|source| source.task_id.as_str()))
            && is(&self.source_run_id, source.map(|source| source.run_id.as_str()))
            && self
                .source_map_index
                .is_none_or(|wanted| source.is_some_and(|source| source.map_index.0 == wanted))
            && self.name_pattern.as_ref().is_none_or(|it| matches(it, &row.asset.name))
    }

    /// Whether an index alone says which they are.
    const fn by_index(&self) -> bool {
        let one = self.asset_id.is_none() || self.source_dag_id.is_none();
        one && self.source_task_id.is_none()
            && self.source_run_id.is_none()
            && self.source_map_index.is_none()
            && self.name_pattern.is_none()
    }
}

/// Every event that is wanted, oldest first where no order is asked for.
#[utoipa::path(get, path = "/api/v2/assets/events", tag = "Asset", params(AssetEventQuery), responses(
    (status = 200, body = AssetEventCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AssetEventQuery>,
) -> Result<Json<AssetEventCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let orders = orders(&query.order_by, ORDERS)?;
    let ends =
        [&query.timestamp_gte, &query.timestamp_gt, &query.timestamp_lte, &query.timestamp_lt];
    let between = instants("timestamp", ends)?;
    let found = state.read(move |store| {
        let dag = query.source_dag_id.as_deref().map(DagId::new).transpose();
        let run = query.source_run_id.as_deref().map(RunId::new).transpose();
        let (Ok(dag), Ok(_)) = (dag, run) else {
            return Ok(nothing());
        };
        let of = match (query.asset_id, dag) {
            (Some(id), _) if store.asset(id)?.is_none() => return Ok(nothing()),
            (Some(id), _) => EventsOf::Asset(id),
            (None, Some(dag)) => EventsOf::Dag(dag),
            (None, None) => EventsOf::All,
        };
        let wants = |row: &AssetEventRow| query.wants(row);
        let keep: Option<&dyn Fn(&AssetEventRow) -> bool> = (!query.by_index()).then_some(&wants);
        let by_time = orders.iter().all(|order| matches!(order.field, "timestamp" | "id"));
        let down = orders.first().is_some_and(|order| order.down);
        let ask = EventAsk { of, between, down: by_time && down, page: (page.offset, page.limit) };
        let key = |row: &AssetEventRow, field: &str| {
            let Some(source) = &row.source else { return SortKey::Nothing };
            match field {
                "source_dag_id" => source.dag_id.as_str().into(),
                "source_task_id" => source.task_id.as_str().into(),
                "source_run_id" => source.run_id.as_str().into(),
                _ => Some(f64::from(source.map_index.0)).into(),
            }
        };
        let listed = if by_time {
            store.list_asset_events(&ask, keep)?
        } else {
            // No index stands for these orders: of what is looked at, the whole is put in order.
            let whole = EventAsk { page: (0, usize::MAX), ..ask };
            let mut listed = store.look_at_asset_events(&whole, keep)?;
            super::sort(&mut listed.page, &orders, |row, field| match field {
                "timestamp" | "id" => Some(row.at).into(),
                field => key(row, field),
            });
            let rows = std::mem::take(&mut listed.page);
            listed.page = rows.into_iter().skip(page.offset).take(page.limit).collect();
            listed
        };
        let dagbok = ListExtra { total_is_exact: listed.exact, complete: listed.complete };
        let shown = listed.page.into_iter().map(|row| event(store, row));
        let asset_events = shown.collect::<Result<_, _>>()?;
        Ok(AssetEventCollection { asset_events, total_entries: listed.total, dagbok })
    });
    found.await.map(Json)
}

const fn nothing() -> AssetEventCollection {
    let dagbok = ListExtra { total_is_exact: true, complete: true };
    AssetEventCollection { asset_events: Vec::new(), total_entries: 0, dagbok }
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
    let body =
        CommandBody::UpdateAsset(AssetUpdate { asset, extra, partition_key: ask.partition_key });
    // By its own record: others may tell of the same asset at the same time, or have since.
    let seq = tell(&state, caller, None, body).await?.seq.ok_or_else(|| no_asset(id))?;
    let found = state.read(move |store| {
        event(store, store.asset_event(event_id(seq, 0))?.ok_or_else(|| no_asset(id))?)
    });
    found.await.map(Json)
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
        let dagbok = ListExtra { total_is_exact: true, complete: left_out == 0 };
        Ok(AssetEventCollection { asset_events, total_entries, dagbok })
    });
    found.await.map(Json)
}
