//! DAGs, their versions and tasks.
mod delete;

use axum::{Json, extract::State};
use dagbok_events::Timestamp;
use dagbok_protocol::CommandBody;
pub(crate) use delete::*;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery, dag_id, flag, no_task},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
    tell::tell,
    view::{DagView, task_infos, version_info},
};
use crate::{
    model::{
        Store, StoreError,
        rows::{DagRow, LastRun, RunState},
    },
    shapes::{
        DagCollection, DagDetails, DagPatch, DagResponse, DagVersionCollection, Detail,
        TaskCollection, TaskInfo,
    },
};

/// Which DAGs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DagQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those with any of these tags, or all, see `tags_match_mode`.
    tags: Vec<String>,
    /// `any` or `all`.
    tags_match_mode: Option<MatchMode>,
    /// Those with any of these owners.
    owners: Vec<String>,
    /// Those whose id has this in it; `%`, `_` and `|` as in Airflow.
    dag_id_pattern: Option<String>,
    /// Those whose name for people has this in it.
    dag_display_name_pattern: Option<String>,
    /// Leaves out those that are no longer in their file; true where not said.
    #[serde(deserialize_with = "flag")]
    exclude_stale: Option<bool>,
    /// Those that are paused, or not.
    #[serde(deserialize_with = "flag")]
    paused: Option<bool>,
    /// Those whose file can't be read, or can.
    #[serde(deserialize_with = "flag")]
    has_import_errors: Option<bool>,
    /// Those whose last run is in this state.
    #[param(value_type = Option<String>)]
    last_dag_run_state: Option<RunState>,
    /// `dag_id`, `dag_display_name`, `is_paused`, `next_dagrun`, `last_run_state`, `last_run_start_date`.
    order_by: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatchMode {
    Any,
    All,
}

const ORDERS: &[&str] = &[
    "dag_id",
    "dag_display_name",
    "is_paused",
    "next_dagrun",
    "last_run_state",
    "last_run_start_date",
];

impl DagQuery {
    fn wants_row(&self, row: &DagRow) -> bool {
        let tags = match self.tags_match_mode {
            _ if self.tags.is_empty() => true,
            Some(MatchMode::All) => self.tags.iter().all(|tag| row.tags.contains(tag)),
            Some(MatchMode::Any) | None => self.tags.iter().any(|tag| row.tags.contains(tag)),
        };
        let pattern = self.dag_id_pattern.as_deref();
        tags && self.paused.is_none_or(|paused| row.paused == paused)
            && !(self.exclude_stale.unwrap_or(true) && row.disappeared_at.is_some())
            && pattern.is_none_or(|pattern| matches(pattern, row.dag_id.as_str()))
    }

    fn wants(&self, dag: &Candidate) -> bool {
        let owner = |owner: &String| dag.row.owner.split(',').any(|one| one.trim() == owner);
        let pattern = self.dag_display_name_pattern.as_deref();
        pattern.is_none_or(|pattern| matches(pattern, dag.name()))
            && (self.owners.is_empty() || self.owners.iter().any(owner))
            && self.has_import_errors.is_none_or(|has| dag.has_import_error == has)
            && self
                .last_dag_run_state
                .is_none_or(|state| dag.last_run.is_some_and(|(last, _)| last == state))
    }
}

/// A DAG as far as lists must know it to find their page.
struct Candidate {
    row: DagRow,
    /// The last run's state and when it began; read only where it is asked for.
    last_run: Option<(RunState, Option<Timestamp>)>,
    has_import_error: bool,
}

impl Candidate {
    fn name(&self) -> &str {
        self.row.display_name.as_deref().unwrap_or(self.row.dag_id.as_str())
    }
}

fn sort_key(dag: &Candidate, field: &'static str) -> SortKey {
    match field {
        "dag_display_name" => dag.name().into(),
        "is_paused" => SortKey::Number(f64::from(u8::from(dag.row.paused))),
        "next_dagrun" => dag.row.expected.as_ref().and_then(|run| run.due).into(),
        "last_run_state" => dag.last_run.map_or(SortKey::Nothing, |(state, _)| state.word().into()),
        "last_run_start_date" => dag.last_run.and_then(|(_, start_date)| start_date).into(),
        _ => dag.row.dag_id.as_str().into(),
    }
}

fn last_run(
    store: &Store,
    dag: &DagRow,
) -> Result<Option<(RunState, Option<Timestamp>)>, StoreError> {
    Ok(match dag.last_run {
        LastRun::None => None,
        LastRun::Is { state, start_date, .. } => Some((state, start_date)),
        LastRun::Deleted => store.newest_run(dag)?.map(|run| (run.state, run.start_date)),
    })
}

/// Every DAG that is wanted.
#[utoipa::path(get, path = "/api/v2/dags", tag = "DAG", params(DagQuery), responses(
    (status = 200, body = DagCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<DagQuery>,
) -> Result<Json<DagCollection>, ApiError> {
    let orders = orders(&query.order_by, ORDERS)?;
    let page = Page::new(query.limit, query.offset);
    let by_last_run = query.last_dag_run_state.is_some()
        || orders.iter().any(|order| order.field.starts_with("last_run"));
    let found = state.read(move |store| {
        let mut all = Vec::new();
        for row in store.dags()? {
            if query.wants_row(&row) {
                let last_run = if by_last_run { last_run(store, &row)? } else { None };
                let has_import_error =
                    query.has_import_errors.is_some() && store.import_error(&row.file)?.is_some();
                all.push(Candidate { row, last_run, has_import_error });
            }
        }
        all.retain(|dag| query.wants(dag));
        sort(&mut all, &orders, sort_key);
        let (page, total_entries) = page.cut(all);
        let mut dags = Vec::with_capacity(page.len());
        for dag in page {
            dags.extend(DagView::read(store, dag.row)?.as_ref().map(DagView::response));
        }
        Ok(DagCollection { dags, total_entries })
    });
    found.await.map(Json)
}

fn one(store: &Store, raw: &str) -> Result<DagView, ApiError> {
    let row = store.dag(&dag_id(raw)?)?.ok_or_else(|| ApiError::no_dag(raw))?;
    DagView::read(store, row)?.ok_or_else(|| ApiError::no_dag(raw))
}

/// One DAG.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}", tag = "DAG", params(("dag_id" = String, Path)), responses(
    (status = 200, body = DagResponse), (status = 404, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
) -> Result<Json<DagResponse>, ApiError> {
    state.read(move |store| Ok(one(store, &raw)?.response())).await.map(Json)
}

/// One DAG with all that is said of it.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/details", tag = "DAG", params(("dag_id" = String, Path)), responses(
    (status = 200, body = DagDetails), (status = 404, body = Detail)
))]
pub(crate) async fn details(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
) -> Result<Json<DagDetails>, ApiError> {
    state.read(move |store| Ok(one(store, &raw)?.details())).await.map(Json)
}

/// Which of the fields given are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UpdateMask {
    /// Only `is_paused` can be.
    update_mask: Vec<String>,
}

/// Pauses a DAG, or lets it go on.
#[utoipa::path(patch, path = "/api/v2/dags/{dag_id}", tag = "DAG", params(("dag_id" = String, Path), UpdateMask),
    request_body = DagPatch, responses(
    (status = 200, body = DagResponse), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(mask): InQuery<UpdateMask>,
    caller: Caller,
    InBody(patch): InBody<DagPatch>,
) -> Result<Json<DagResponse>, ApiError> {
    if mask.update_mask.iter().any(|field| field != "is_paused") {
        return Err(ApiError::BadRequest("of a DAG only `is_paused` can be changed".to_owned()));
    }
    let dag_id = dag_id(&raw)?;
    let body = if patch.is_paused {
        CommandBody::PauseDag { dag_id }
    } else {
        CommandBody::UnpauseDag { dag_id }
    };
    tell(&state, caller, None, body).await?;
    state.read(move |store| Ok(one(store, &raw)?.response())).await.map(Json)
}

/// Which versions are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// `version_number`, with `-` before it for the newest first.
    order_by: Vec<String>,
}

/// Every meaning that a DAG has had, but for old ones that were forgotten.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagVersions", tag = "DAG",
    params(("dag_id" = String, Path), VersionQuery), responses(
    (status = 200, body = DagVersionCollection), (status = 404, body = Detail)
))]
pub(crate) async fn versions(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<VersionQuery>,
) -> Result<Json<DagVersionCollection>, ApiError> {
    let orders = orders(&query.order_by, &["version_number"])?;
    let page = Page::new(query.limit, query.offset);
    let found = state.read(move |store| {
        let dag = one(store, &raw)?;
        let (first, last) = (store.first_version(&dag.row.dag_id)?, dag.row.version);
        let mut numbers: Vec<_> = (first.unwrap_or(last)..=last).collect();
        if orders.first().is_some_and(|order| order.down) {
            numbers.reverse();
        }
        let (page, total_entries) = page.cut(numbers);
        let mut dag_versions = Vec::with_capacity(page.len());
        for number in page {
            let row = store.version_shared(&dag.row.dag_id, number)?;
            dag_versions.extend(row.map(|row| version_info(number, &row)));
        }
        Ok(DagVersionCollection { dag_versions, total_entries })
    });
    found.await.map(Json)
}

/// How tasks are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskQuery {
    /// `task_id`, with `-` before it for the way down; the DAG's own order where not said.
    order_by: Vec<String>,
}

/// A DAG's tasks, upstreams before downstreams.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/tasks", tag = "Task", params(("dag_id" = String, Path), TaskQuery),
    responses((status = 200, body = TaskCollection), (status = 404, body = Detail)
))]
pub(crate) async fn tasks(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<TaskQuery>,
) -> Result<Json<TaskCollection>, ApiError> {
    let orders = orders(&query.order_by, &["task_id"])?;
    let found = state.read(move |store| {
        let mut tasks = task_infos(&one(store, &raw)?.version.spec);
        sort(&mut tasks, &orders, |task, _| {
            SortKey::Text(task.task_id.clone().unwrap_or_default())
        });
        Ok(TaskCollection { total_entries: tasks.len(), tasks })
    });
    found.await.map(Json)
}

/// One task of a DAG.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/tasks/{task_id}", tag = "Task",
    params(("dag_id" = String, Path), ("task_id" = String, Path)),
    responses((status = 200, body = TaskInfo), (status = 404, body = Detail)
))]
pub(crate) async fn task(
    State(state): State<ApiState>,
    InPath((raw, task_id)): InPath<(String, String)>,
) -> Result<Json<TaskInfo>, ApiError> {
    let found = state.read(move |store| {
        let tasks = task_infos(&one(store, &raw)?.version.spec);
        let found = tasks.into_iter().find(|task| task.task_id.as_deref() == Some(&task_id));
        found.ok_or_else(|| no_task(&task_id))
    });
    found.await.map(Json)
}
