//! DAGs, their versions and tasks.
use axum::{Json, extract::State};
use dagbok_protocol::CommandBody;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery, dag_id, no_task},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
    tell::tell,
    view::{DagView, task_infos, version_info},
};
use crate::{
    model::{
        Store,
        rows::{DagRow, RunState},
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
    exclude_stale: Option<bool>,
    /// Those that are paused, or not.
    paused: Option<bool>,
    /// Those whose file can't be read, or can.
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

    fn wants(&self, dag: &DagView) -> bool {
        let spec = &dag.version.spec;
        let name = spec.display_name.as_deref().unwrap_or(spec.dag_id.as_str());
        let owner = |owner: &String| spec.owner.split(',').any(|one| one.trim() == owner);
        let pattern = self.dag_display_name_pattern.as_deref();
        pattern.is_none_or(|pattern| matches(pattern, name))
            && (self.owners.is_empty() || self.owners.iter().any(owner))
            && self.has_import_errors.is_none_or(|has| dag.has_import_error == has)
            && self
                .last_dag_run_state
                .is_none_or(|state| dag.last_run.as_ref().map(|run| run.state) == Some(state))
    }
}

fn sort_key(dag: &DagView, field: &'static str) -> SortKey {
    let last = dag.last_run.as_ref();
    match field {
        "dag_display_name" => SortKey::Text(super::view::display_name(&dag.version.spec)),
        "is_paused" => SortKey::Number(f64::from(u8::from(dag.row.paused))),
        "next_dagrun" => dag.row.expected.as_ref().and_then(|run| run.due).into(),
        "last_run_state" => last.map_or(SortKey::Nothing, |run| run.state.word().into()),
        "last_run_start_date" => last.and_then(|run| run.start_date).into(),
        _ => dag.row.dag_id.as_str().into(),
    }
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
    let found = state.read(move |store| {
        let mut all = Vec::new();
        for row in store.dags()? {
            if query.wants_row(&row)
                && let Some(dag) = DagView::read(store, row)?
                && query.wants(&dag)
            {
                all.push(dag);
            }
        }
        sort(&mut all, &orders, sort_key);
        let (dags, total_entries) = page.cut(all);
        Ok(DagCollection { dags: dags.iter().map(DagView::response).collect(), total_entries })
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

/// Every meaning that a DAG has had.
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
        let rows = store.versions(&dag.row.dag_id)?;
        let mut all: Vec<_> = rows.iter().map(|(number, row)| version_info(*number, row)).collect();
        sort(&mut all, &orders, |info, _| SortKey::Number(f64::from(info.version_number)));
        let (dag_versions, total_entries) = page.cut(all);
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
