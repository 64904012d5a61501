//! Task instances and their tries.
mod across;
mod latest;
mod window;

use std::sync::Arc;

use across::across;
use axum::{Json, extract::State};
use dagbok_events::{ExecutorId, MapIndex, RunKey, TaskSpec};
use serde::Deserialize;
use utoipa::IntoParams;
use window::Window;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, flag, map_index, no_task, no_try, run_key, task_id, try_number},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
    view::{InstanceView, copies_of},
};
use crate::{
    model::{
        Store,
        lists::TASKS_OF_RUN_IN_HAND,
        rows::{RunRow, TaskInstanceState},
    },
    shapes::{Detail, ListExtra, TaskInstance, TaskInstanceCollection, TryCollection, TryInstance},
};

/// Which task instances are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct InstanceQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those in any of these states; `none` for those without one. `failed` has those that were cancelled too, as in
    /// Airflow, `cancelled` has them alone.
    state: Vec<String>,
    /// Whether those that were cancelled are meant, or only others.
    #[serde(deserialize_with = "flag")]
    cancelled: Option<bool>,
    /// The copies of this task.
    task_id: Option<String>,
    /// Those whose task's name has this in it; `%`, `_` and `|` as in Airflow.
    task_display_name_pattern: Option<String>,
    /// Those in this group, or in one within it.
    task_group_id: Option<String>,
    /// Those of runs whose id has this in it.
    run_id_pattern: Option<String>,
    /// Those of DAGs whose id has this in it.
    dag_id_pattern: Option<String>,
    /// Those in any of these pools.
    pool: Vec<String>,
    /// Those for any of these queues.
    queue: Vec<String>,
    /// Those that any of these executors run or ran.
    executor: Vec<String>,
    /// Those whose newest try is any of these.
    try_number: Vec<u16>,
    /// Those of any of these operators.
    operator: Vec<String>,
    /// Those copies.
    map_index: Vec<i32>,
    /// `task_id`, `map_index`, `state`, `start_date`, `end_date`, `duration`, `try_number`, `operator`,
    /// `pool`, `run_after`, `logical_date`, `queued_when`; the DAG's own order where not said.
    order_by: Vec<String>,
}

const ORDERS: &[&str] = &[
    "id",
    "task_id",
    "map_index",
    "state",
    "start_date",
    "end_date",
    "duration",
    "try_number",
    "operator",
    "pool",
    "run_after",
    "logical_date",
    "queued_when",
];

/// What Airflow has no state for, and counts as failed.
const CANCELLED: &str = "cancelled";

fn any<T: PartialEq + ?Sized>(wanted: &[impl std::borrow::Borrow<T>], found: Option<&T>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one.borrow() == found))
}

impl InstanceQuery {
    /// Whether counts tell how many there are.
    fn asks_only_for_states(&self) -> bool {
        self.task_id.is_none()
            && self.task_display_name_pattern.is_none()
            && self.task_group_id.is_none()
            && self.run_id_pattern.is_none()
            && self.dag_id_pattern.is_none()
            && self.pool.is_empty()
            && self.queue.is_empty()
            && self.executor.is_empty()
            && self.try_number.is_empty()
            && self.operator.is_empty()
            && self.map_index.is_empty()
            && !self.tells_cancelled()
    }

    fn wants_run(&self, run: &RunRow) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| matches(pattern, text))
        };
        fits(&self.run_id_pattern, run.run_id.as_str())
            && fits(&self.dag_id_pattern, run.dag_id.as_str())
    }

    /// Whether only the DAG's spec, map indexes and states decide what is wanted.
    fn needs_no_row(&self) -> bool {
        self.pool.is_empty()
            && self.queue.is_empty()
            && self.executor.is_empty()
            && self.try_number.is_empty()
            && !self.tells_cancelled()
    }

    /// Whether what was cancelled is told from what failed.
    fn tells_cancelled(&self) -> bool {
        self.cancelled.is_some() || self.state.iter().any(|state| state == CANCELLED)
    }

    fn wants_state(&self, state: Option<TaskInstanceState>) -> bool {
        any::<str>(&self.state, Some(state.map_or("none", TaskInstanceState::word)))
    }

    fn wants_task(&self, task: &TaskSpec) -> bool {
        self.wants_name(task.task_id.as_str(), task.group.as_deref())
            && any::<str>(&self.operator, Some(&task.operator))
    }

    fn wants_name(&self, task_id: &str, group: Option<&str>) -> bool {
        let in_group = |wanted: &str| {
            group.is_some_and(|group| {
                group
                    .strip_prefix(wanted)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let pattern = self.task_display_name_pattern.as_deref();
        self.task_id.as_deref().is_none_or(|wanted| wanted == task_id)
            && pattern.is_none_or(|pattern| matches(pattern, task_id))
            && self.task_group_id.as_deref().is_none_or(in_group)
    }

    fn wants(&self, one: &InstanceView) -> bool {
        let spec = one.spec();
        let attempt = one.attempt();
        let executor =
            attempt.and_then(|attempt| attempt.executor.as_ref()).map(ExecutorId::as_str);
        (any::<str>(&self.state, Some(one.state().unwrap_or("none")))
            || (one.is_cancelled() && any::<str>(&self.state, Some(CANCELLED))))
            && self.cancelled.is_none_or(|wanted| wanted == one.is_cancelled())
            && self.wants_name(one.task_id(), spec.and_then(|spec| spec.group.as_deref()))
            && any::<str>(&self.pool, Some(one.pool()))
            && any::<str>(&self.queue, one.queue())
            && any::<str>(&self.executor, executor)
            && any::<u16>(
                &self.try_number,
                Some(&attempt.map_or(0, |attempt| attempt.number.get())),
            )
            && any::<str>(&self.operator, spec.map(|spec| spec.operator.as_str()))
            && any::<i32>(&self.map_index, Some(&one.map_index()))
    }
}

fn sort_key(one: &InstanceView, field: &'static str) -> SortKey {
    let attempt = one.attempt();
    match field {
        "map_index" => SortKey::Number(f64::from(one.map_index())),
        "state" => one.state().map_or(SortKey::Nothing, SortKey::from),
        "start_date" => one.start_date().into(),
        "end_date" => one.end_date().into(),
        "duration" => one.duration().into(),
        "try_number" => {
            SortKey::Number(attempt.map_or(0.0, |attempt| f64::from(attempt.number.get())))
        }
        "operator" => one.spec().map_or(SortKey::Nothing, |spec| spec.operator.as_str().into()),
        "pool" => one.pool().into(),
        "run_after" => Some(one.run.run_after).into(),
        "logical_date" => one.run.logical_date.into(),
        "queued_when" => attempt.map(|attempt| attempt.queued_at).into(),
        _ => one.task_id().into(),
    }
}

/// The instances of one run.
fn find(
    store: &Store,
    dag: &str,
    run: &str,
    query: &InstanceQuery,
) -> Result<TaskInstanceCollection, ApiError> {
    let orders = orders(&query.order_by, ORDERS)?;
    let page = Page::new(query.limit, query.offset);
    let run = store.run(&run_key(dag, run)?)?.ok_or_else(|| ApiError::no_run(dag, run))?;
    if !query.wants_run(&run) {
        return Ok(collection(&[], 0, ListExtra::default()));
    }
    let run = Arc::new(run);
    if let Some(window) = Window::of(store, &run, query, &orders)? {
        let found = window.page(store, page.offset, page.limit)?;
        return Ok(collection(&found, window.total(), ListExtra::default()));
    }
    let (mut all, complete) = InstanceView::of_run(store, &run, TASKS_OF_RUN_IN_HAND)?;
    all.retain(|one| query.wants(one));
    sort(&mut all, &orders, sort_key);
    let (found, total_entries) = page.cut(all);
    Ok(collection(&found, total_entries, ListExtra { total_is_exact: complete, complete }))
}

fn collection(
    found: &[InstanceView],
    total_entries: usize,
    dagbok: ListExtra,
) -> TaskInstanceCollection {
    let task_instances = found.iter().map(InstanceView::listed).collect();
    TaskInstanceCollection { task_instances, total_entries, dagbok }
}

/// The tasks of a run, those without a state too; `~` for any DAG or any run.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), InstanceQuery),
    responses((status = 200, body = TaskInstanceCollection), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<InstanceQuery>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    if dag == "~" && run != "~" {
        return Err(ApiError::BadRequest(
            "a run of any DAG is no run: name the DAG, or use `~` for both".to_owned(),
        ));
    }
    let read = state.read(move |store| {
        if run == "~" { across(store, &dag, &query) } else { find(store, &dag, &run, &query) }
    });
    read.await.map(Json)
}

/// The copies of a mapped task.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), InstanceQuery),
    responses((status = 200, body = TaskInstanceCollection), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn copies(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(mut query): InQuery<InstanceQuery>,
) -> Result<Json<TaskInstanceCollection>, ApiError> {
    let found = state.read(move |store| {
        instance(store, &run_key(&dag, &run)?, &task, None)?;
        query.task_id = Some(task);
        find(store, &dag, &run, &query)
    });
    found.await.map(Json)
}

/// One task of a run; its first copy where no map index is asked for.
pub(crate) fn instance(
    store: &Store,
    key: &RunKey,
    task: &str,
    map: Option<MapIndex>,
) -> Result<InstanceView, ApiError> {
    let task_id = task_id(task)?;
    let run = store
        .run(key)?
        .ok_or_else(|| ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str()))?;
    let run = Arc::new(run);
    let copies = copies_of(&run, &task_id);
    let row = match map {
        Some(map) => store.task(key, &task_id, map)?,
        None => store.first_copy(key, &task_id)?,
    };
    let map_index = row.as_ref().map_or(map.unwrap_or(MapIndex(copies.start)), |row| row.map_index);
    let one = InstanceView::of(store, &run, &task_id, map_index, row)?;
    let stateless = one.place.is_some() && copies.contains(&map_index.0);
    if one.row.is_none() && !stateless {
        return Err(match map {
            Some(MapIndex(index)) if one.place.is_some() => {
                let there = match copies.end - 1 {
                    last if copies.start >= 0 && last >= 0 => format!("they go from 0 to {last}"),
                    _ => "it has none".to_owned(),
                };
                let why = format!("the task `{task}` has no copy {index} in this run: {there}");
                ApiError::NotFound(why)
            }
            _ => no_task(task),
        });
    }
    Ok(one)
}

/// One task of a run.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path)),
    responses((status = 200, body = TaskInstance), (status = 404, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
) -> Result<Json<TaskInstance>, ApiError> {
    let found = state
        .read(move |store| Ok(instance(store, &run_key(&dag, &run)?, &task, None)?.response()));
    found.await.map(Json)
}

/// One copy of a task of a run.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    responses((status = 200, body = TaskInstance), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get_copy(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
) -> Result<Json<TaskInstance>, ApiError> {
    let found = state.read(move |store| {
        Ok(instance(store, &run_key(&dag, &run)?, &task, Some(MapIndex(map)))?.response())
    });
    found.await.map(Json)
}

fn tries_of(
    store: &Store,
    key: &RunKey,
    task: &str,
    map: MapIndex,
) -> Result<TryCollection, ApiError> {
    let one = instance(store, key, task, Some(map))?;
    let rows = store.tries(key, &task_id(task)?, map)?;
    let then = |row| one.try_then(store, row);
    let task_instances: Vec<_> = rows.iter().map(then).collect::<Result<_, _>>()?;
    Ok(TryCollection { total_entries: task_instances.len(), task_instances })
}

/// Every try of a task of a run, oldest first.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries",
    tag = "Task Instance", params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path)),
    responses((status = 200, body = TryCollection), (status = 404, body = Detail)
))]
pub(crate) async fn tries(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
) -> Result<Json<TryCollection>, ApiError> {
    let found =
        state.read(move |store| tries_of(store, &run_key(&dag, &run)?, &task, MapIndex::UNMAPPED));
    found.await.map(Json)
}

/// Every try of one copy of a task, oldest first.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    responses((status = 200, body = TryCollection), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn tries_of_copy(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
) -> Result<Json<TryCollection>, ApiError> {
    let found =
        state.read(move |store| tries_of(store, &run_key(&dag, &run)?, &task, MapIndex(map)));
    found.await.map(Json)
}

/// Which copy is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct CopyQuery {
    /// −1 where not said.
    map_index: Option<i32>,
}

/// One try of a task of a run.
#[utoipa::path(get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("task_try_number" = u16, Path), CopyQuery),
    responses((status = 200, body = TryInstance), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn one_try(
    State(state): State<ApiState>,
    InPath((dag, run, task, number)): InPath<(String, String, String, u16)>,
    InQuery(query): InQuery<CopyQuery>,
) -> Result<Json<TryInstance>, ApiError> {
    let found = state.read(move |store| {
        let key = run_key(&dag, &run)?;
        let map = map_index(query.map_index);
        let one = instance(store, &key, &task, Some(map))?;
        let found = store.one_try(&key, &task_id(&task)?, map, try_number(number, &task)?)?;
        let found = found.ok_or_else(|| no_try(&task, number))?;
        Ok(one.try_then(store, &found)?)
    });
    found.await.map(Json)
}
