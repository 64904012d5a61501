//! One run: why it failed, its tasks with their tries as bars, who was told.
use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use dagbok_events::{DagSpec, MapIndex, RunKey, TaskSpec, Timestamp, TryNumber};
use serde_json::Value;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, run_key},
        state::ApiState,
        view::{actor_name, inline_input, when, word},
    },
    dag::neighbours,
    failure::{self, failure_of},
    states::{Copies, state_of},
    told,
    view::View,
};
use crate::{
    alerts::Alerts,
    model::{
        Store, StoreError,
        rows::{RunRow, TaskInstanceState, TaskRow, TryRow, VersionRow},
    },
    shapes::{Detail, UiRun, UiRunTask, UiTryBar},
};

/// Rows of one run that are shown.
const ROWS: usize = 2_000;
/// Copies of a mapped task that are shown each for itself; of more those that did not succeed.
const COPIES: usize = 64;

/// A run with its tasks.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/runs/{dag_id}/{dag_run_id}", tag = "UI",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)), responses(
    (status = 200, body = UiRun), (status = 404, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn run(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    View::Run(run_key(&dag, &run)?).snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(state: &ApiState, key: RunKey) -> Result<UiRun, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let alerts = state.alerts.get().cloned();
    let read = state.read(move |store| {
        let run = store.run(&key)?;
        let run = run.ok_or_else(|| ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str()))?;
        Ok(read(store, alerts.as_ref(), &run, seq, now)?)
    });
    read.await
}

fn read(
    store: &Store,
    alerts: Option<&Alerts>,
    run: &RunRow,
    seq: u64,
    now: Timestamp,
) -> Result<UiRun, StoreError> {
    let key = run.key();
    let version = store.version_shared(&run.dag_id, run.version)?;
    let (tasks, complete) = match &version {
        Some(row) => tasks(store, run, &key, &row.spec)?,
        None => (BTreeMap::new(), false),
    };
    let (conf, note) = inline_input(store.run_input(&key)?);
    let conf = conf.and_then(|text| serde_json::from_str::<Value>(text.get()).ok());
    let mut counts: BTreeMap<String, u32> =
        run.counts.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect();
    if run.stateless() > 0 {
        *counts.entry("none".to_owned()).or_default() += run.stateless();
    }
    let (previous, next) = neighbours(store, run)?;
    let told = told::of_runs(alerts, std::slice::from_ref(&key), now).pop().unwrap_or_default();
    Ok(UiRun {
        seq,
        as_of: now.into(),
        mark: String::new(),
        dag_id: run.dag_id.to_string(),
        run_id: run.run_id.to_string(),
        timezone: zone_of(version.as_deref()),
        state: run.state.word().to_owned(),
        run_type: word(&run.run_type),
        logical_date: when(run.logical_date),
        data_interval_start: when(run.data_interval.map(|it| it.start)),
        data_interval_end: when(run.data_interval.map(|it| it.end)),
        partition_key: run.partition.as_ref().map(|it| it.key.clone()),
        run_after: run.run_after.into(),
        queued_at: run.queued_at.into(),
        start: when(run.start_date),
        end: when(run.end_date),
        ended: run.end.map(|end| word(&end)),
        ended_by: run.ended_by.as_ref().map(actor_name),
        reason: run.end_reason.clone(),
        by: actor_name(&run.created_by),
        version: run.version,
        bundle: run.bundle.to_string(),
        conf: conf.filter(|conf| conf.as_object().is_none_or(|it| !it.is_empty())),
        note,
        counts,
        task_count: run.tasks,
        failure: failure_of(store, run)?,
        tasks,
        complete,
        told,
        alerts: told::alerts_of(alerts, &key, now),
        previous,
        next,
        created_seq: run.created_seq,
        last_seq: run.last_seq,
    })
}

/// The zone that a DAG reckons in; UTC of one whose meaning is missing.
fn zone_of(version: Option<&VersionRow>) -> String {
    version.map_or_else(|| "UTC".to_owned(), |row| row.spec.schedule.timezone.clone())
}

/// Keyed so that the keys' order is the file's, and copies follow their task.
fn place(task: usize, copy: i32) -> String {
    if copy < 0 { format!("{task:05}") } else { format!("{task:05}.{copy:06}") }
}

fn tasks(
    store: &Store,
    run: &RunRow,
    key: &RunKey,
    spec: &DagSpec,
) -> Result<(BTreeMap<String, UiRunTask>, bool), StoreError> {
    let mut found = BTreeMap::new();
    for (at, task) in spec.tasks.iter().enumerate() {
        if found.len() >= ROWS {
            return Ok((found, false));
        }
        let Some(count) = run.expanded.get(&task.task_id).copied() else {
            let row = store.task(key, &task.task_id, MapIndex::UNMAPPED)?;
            let shown = shown(store, spec, task, key, MapIndex::UNMAPPED, row.as_ref())?;
            found.insert(place(at, -1), shown);
            continue;
        };
        let marks = store.marks(key, &task.task_id)?;
        let copies = Copies::of(&marks, count);
        let blank = shown(store, spec, task, key, MapIndex::UNMAPPED, None)?;
        let whole = UiRunTask {
            state: copies.worst().map_or("none", TaskInstanceState::word).to_owned(),
            copies: Some(copies.words()),
            ..blank
        };
        found.insert(place(at, -1), whole);
        for copy in worth_showing(&marks, count, COPIES) {
            let row = store.task(key, &task.task_id, MapIndex(copy))?;
            let shown = shown(store, spec, task, key, MapIndex(copy), row.as_ref())?;
            found.insert(place(at, copy), shown);
        }
    }
    Ok((found, true))
}

/// All copies where they are few; else those that did not succeed, as far as `most` goes.
pub(super) fn worth_showing(marks: &[u8], count: u32, most: usize) -> Vec<i32> {
    let all = 0..i32::try_from(count).unwrap_or(i32::MAX);
    if count as usize <= most {
        return all.collect();
    }
    let success = Some(TaskInstanceState::Success);
    let mark = |copy: &i32| usize::try_from(*copy).ok().and_then(|at| marks.get(at)).copied();
    let odd =
        all.filter(|copy| mark(copy).is_some_and(|mark| mark > 0 && state_of(mark) != success));
    odd.take(most).collect()
}

/// A task or a copy of it.
pub(super) fn shown(
    store: &Store,
    spec: &DagSpec,
    task: &TaskSpec,
    key: &RunKey,
    map_index: MapIndex,
    row: Option<&TaskRow>,
) -> Result<UiRunTask, StoreError> {
    let newest = row.and_then(|row| row.attempt.as_ref());
    let past = newest.is_some_and(|attempt| attempt.number.get() > 1);
    let tries = match (past, newest) {
        (true, _) => store.tries(key, &task.task_id, map_index)?.iter().map(bar).collect(),
        (false, Some(attempt)) => vec![bar(attempt)],
        (false, None) => Vec::new(),
    };
    let upstream = task.upstream.iter().filter_map(|at| spec.tasks.get(*at as usize));
    Ok(UiRunTask {
        task_id: task.task_id.to_string(),
        map_index: map_index.0,
        name: row.and_then(|row| row.name.clone()),
        state: row.map_or("none", |row| row.state.word()).to_owned(),
        try_number: newest.map_or(0, |attempt| TryNumber::get(attempt.number)),
        group: task.group.clone(),
        operator: task.operator.clone(),
        upstream: upstream.map(|task| task.task_id.to_string()).collect(),
        copies: None,
        tries,
        error: newest.and_then(failure::of_try).map(|failure| failure::line(&failure)),
    })
}

fn bar(attempt: &TryRow) -> UiTryBar {
    UiTryBar {
        number: attempt.number.get(),
        state: attempt.state.word().to_owned(),
        queued: attempt.queued_at.into(),
        start: when(attempt.started_at),
        end: when(attempt.ended_at),
    }
}

/// The run of a task with the meaning that it runs.
pub(super) fn known(
    store: &Store,
    key: &RunKey,
) -> Result<(Arc<RunRow>, Arc<VersionRow>), ApiError> {
    let unknown = || ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str());
    let run = store.run(key)?.ok_or_else(unknown)?;
    let version = store.version_shared(&run.dag_id, run.version)?.ok_or_else(unknown)?;
    Ok((Arc::new(run), version))
}
