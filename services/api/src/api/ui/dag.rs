//! One DAG: what its file says, and its newest runs as the grid's columns.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::{Json, extract::State};
use dagbok_events::{DagId, DagSpec, DagVersion, Payload, RunKey, TaskId, TryNumber};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, dag_id},
        state::ApiState,
        view::{DagView, actor_name, when, word},
    },
    dags::{last_runs, row},
    states::{Copies, digit},
    view::View,
};
use crate::{
    model::{
        Store, StoreError,
        rows::{RunRow, TaskInstanceState, TaskRow},
    },
    shapes::{Detail, UiColumn, UiDag, UiGridTask, UiParam},
};

/// Columns where not said, and at most.
const COLUMNS: usize = 30;
const MOST: usize = 200;
/// Cells that one answer reads: fewer columns of a DAG of many tasks.
const CELLS: usize = 250_000;

/// How much of the grid is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DagQuery {
    /// Columns of the grid; 30 where not said, at most 200, and fewer of a DAG of many tasks.
    pub(super) runs: Option<usize>,
}

/// A DAG with its grid.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/dags/{dag_id}", tag = "UI",
    params(("dag_id" = String, Path), DagQuery), responses(
    (status = 200, body = UiDag), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn dag(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<DagQuery>,
) -> Result<Json<Value>, ApiError> {
    View::Dag(dag_id(&raw)?, query).snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(
    state: &ApiState,
    id: DagId,
    query: DagQuery,
) -> Result<UiDag, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let read = state.read(move |store| {
        let unknown = || ApiError::no_dag(id.as_str());
        let dag = store.dag(&id)?.ok_or_else(unknown)?;
        let line = row(store, &dag)?.ok_or_else(unknown)?;
        let view = DagView::read(store, dag)?.ok_or_else(unknown)?;
        let details = view.response();
        let (row, spec) = (&view.row, &view.version.spec);
        let take = query.runs.unwrap_or(COLUMNS).min(MOST);
        let take = take.min(CELLS / spec.tasks.len().max(1)).max(2);
        let runs = last_runs(store, row, take)?;
        let mut columns = BTreeMap::new();
        for run in &runs {
            columns.insert(run.run_id.to_string(), column(store, row.version, spec, run)?);
        }
        Ok(UiDag {
            seq,
            as_of: now.into(),
            mark: String::new(),
            total_runs: line.runs.values().sum(),
            dag: line,
            description: spec.description.clone(),
            doc_md: spec.doc_md.clone(),
            version: row.version,
            registered_at: row.registered_at.into(),
            file: row.file.clone(),
            line: spec.source.line,
            timezone: spec.schedule.timezone.clone(),
            max_active_runs: spec.max_active_runs,
            max_active_tasks: spec.max_active_tasks,
            catchup: spec.catchup,
            pause: details.dagbok.paused,
            not_carried_out: details.dagbok.not_carried_out,
            params: params(spec),
            takes_partition: spec.schedule.timetable.takes_partitions(),
            last_conf: last_conf(store, &runs)?,
            tasks: tasks(spec),
            columns,
            order: runs.iter().map(|run| run.run_id.to_string()).collect(),
        })
    });
    read.await
}

fn tasks(spec: &DagSpec) -> Vec<UiGridTask> {
    let task = |task: &dagbok_events::TaskSpec| UiGridTask {
        task_id: task.task_id.to_string(),
        group: task.group.clone(),
        operator: task.operator.clone(),
        mapped: task.is_mapped,
        upstream: task.upstream.clone(),
    };
    spec.tasks.iter().map(task).collect()
}

fn column(
    store: &Store,
    version: DagVersion,
    spec: &DagSpec,
    run: &RunRow,
) -> Result<UiColumn, StoreError> {
    Ok(UiColumn {
        state: run.state.word().to_owned(),
        run_type: word(&run.run_type),
        logical_date: when(run.logical_date),
        run_after: run.run_after.into(),
        start: when(run.start_date),
        end: when(run.end_date),
        version: run.version,
        by: actor_name(&run.created_by),
        cells: store.column(run, version, || cells(store, spec, run))?.to_string(),
    })
}

/// Two digits for each task of the newest meaning.
fn cells(store: &Store, spec: &DagSpec, run: &RunRow) -> Result<String, StoreError> {
    let key = run.key();
    let known = store.version_shared(&run.dag_id, run.version)?;
    let known: Option<BTreeSet<&TaskId>> =
        known.as_ref().map(|row| row.spec.tasks.iter().map(|task| &task.task_id).collect());
    let all = at_once(store, spec, run, &key)?;
    let mut cells = String::with_capacity(spec.tasks.len() * 2);
    for task in &spec.tasks {
        if known.as_ref().is_some_and(|known| !known.contains(&task.task_id)) {
            cells.push_str("f0");
            continue;
        }
        let (state, number) = match &all {
            Some(all) => all.get(&task.task_id).copied().unwrap_or((None, 0)),
            None => cell(store, run, &key, &task.task_id)?,
        };
        cells.push(digit(state));
        cells.push(char::from_digit(u32::from(number.min(15)), 16).unwrap_or('0'));
    }
    Ok(cells)
}

/// Tasks that are worth being read one after the other; and of a run with copies each is asked for alone.
const ROW_BY_ROW: usize = 200;

/// A task's state, and the number of its newest try.
type Cell = (Option<TaskInstanceState>, u16);

/// Every task of a run without copies, in one walk over its rows; `None` where that is not worth it.
fn at_once(
    store: &Store,
    spec: &DagSpec,
    run: &RunRow,
    key: &RunKey,
) -> Result<Option<HashMap<TaskId, Cell>>, StoreError> {
    if spec.tasks.len() < ROW_BY_ROW || !run.expanded.is_empty() {
        return Ok(None);
    }
    let of = |row: TaskRow| {
        let number = row.attempt.map_or(0, |attempt| TryNumber::get(attempt.number));
        (row.task_id, (Some(row.state), number))
    };
    store.each_task(key).map(|row| Ok(of(row?))).collect::<Result<_, _>>().map(Some)
}

fn cell(store: &Store, run: &RunRow, key: &RunKey, task_id: &TaskId) -> Result<Cell, StoreError> {
    if let Some(count) = run.expanded.get(task_id) {
        let copies = Copies::of(&store.marks(key, task_id)?, *count);
        return Ok((copies.worst(), 0));
    }
    let row = store.task(key, task_id, dagbok_events::MapIndex::UNMAPPED)?;
    let Some(row) = row else { return Ok((None, 0)) };
    Ok((Some(row.state), row.attempt.map_or(0, |attempt| TryNumber::get(attempt.number))))
}

fn params(spec: &DagSpec) -> Vec<UiParam> {
    let object = |text: &Option<String>| -> Map<String, Value> {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    let (defaults, mut schemas) = (object(&spec.params), object(&spec.param_schemas));
    let mut all: Vec<UiParam> = Vec::new();
    for (name, default) in defaults {
        let schema = schemas.remove(&name);
        let required = spec.required_params.contains(&name);
        all.push(UiParam { schema, name, default: Some(default), required });
    }
    for name in &spec.required_params {
        if !all.iter().any(|param| param.name == *name) {
            let schema = schemas.remove(name);
            all.push(UiParam { schema, name: name.clone(), default: None, required: true });
        }
    }
    all
}

/// What the newest run was given that was given something.
fn last_conf(store: &Store, runs: &[RunRow]) -> Result<Option<Value>, StoreError> {
    for run in runs.iter().rev().take(5) {
        if let Some(Payload::Inline(text)) = store.run_input(&run.key())?.and_then(|it| it.conf) {
            let given = serde_json::from_str::<Value>(&text).ok();
            if let Some(given) = given.filter(|it| it.as_object().is_some_and(|it| !it.is_empty()))
            {
                return Ok(Some(given));
            }
        }
    }
    Ok(None)
}

/// The newest runs of a DAG around one of them: before it and after it.
pub(super) fn neighbours(
    store: &Store,
    run: &RunRow,
) -> Result<(Option<String>, Option<String>), StoreError> {
    let Some(dag) = store.dag(&run.dag_id)? else { return Ok((None, None)) };
    let runs = last_runs(store, &dag, MOST)?;
    let Some(at) = runs.iter().position(|it| it.run_id == run.run_id) else {
        return Ok((None, None));
    };
    let id = |run: &RunRow| run.run_id.to_string();
    Ok((at.checked_sub(1).map(|at| id(&runs[at])), runs.get(at + 1).map(id)))
}
