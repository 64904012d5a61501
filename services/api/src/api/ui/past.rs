//! How a DAG went: what its runs and tasks took over the days, and what became of each day. Read from the rows of its
//! newest runs when somebody asks; nothing is kept for it.
use std::collections::BTreeMap;

use axum::{Json, extract::State};
use dagbok_events::{DagSpec, MapIndex, TaskId, Timestamp};
use jiff::{civil::Date, tz::TimeZone};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, dag_id, no_task, task_id},
        state::ApiState,
    },
    dags::last_runs,
};
use crate::{
    model::{
        Store, StoreError,
        rows::{DagRow, RunRow, RunState, TaskInstanceState, TaskRow},
    },
    shapes::{Detail, UiDay, UiPast, UiPoint, UiTaskPast, seconds},
};

/// Runs that are looked at for days.
const RUNS: usize = 2_000;
const POINTS: usize = 240;
/// Rows of tasks that one answer reads: fewer runs of a DAG of many tasks.
const CELLS: usize = 20_000;
const TASK_RUNS: usize = 60;
const TASKS: usize = 500;

/// Of which task.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PastQuery {
    /// The task that points are of; of the runs themselves where not said.
    task_id: Option<String>,
}

/// How a DAG went over the days.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/dags/{dag_id}/past", tag = "UI",
    params(("dag_id" = String, Path), PastQuery), responses(
    (status = 200, body = UiPast), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn past(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<PastQuery>,
) -> Result<Json<UiPast>, ApiError> {
    let id = dag_id(&raw)?;
    let task = query.task_id.as_deref().map(task_id).transpose()?;
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let read = state.read(move |store| {
        let unknown = || ApiError::no_dag(id.as_str());
        let dag = store.dag(&id)?.ok_or_else(unknown)?;
        let version = store.version_shared(&id, dag.version)?.ok_or_else(unknown)?;
        let spec = &version.spec;
        let known = |task: &&TaskId| spec.tasks.iter().any(|it| it.task_id == **task);
        if let Some(task) = &task {
            Some(task).filter(known).ok_or_else(|| no_task(task.as_str()))?;
        }
        let runs = last_runs(store, &dag, RUNS)?;
        let shown = &runs[runs.len().saturating_sub(POINTS)..];
        let points = points(store, shown, task.as_ref())?;
        let took: Vec<f64> =
            points.iter().filter(|it| it.state == "success").filter_map(|it| it.took).collect();
        let (tasks, task_runs) = tasks(store, spec, &runs)?;
        Ok(UiPast {
            seq,
            as_of: now.into(),
            dag_id: id.to_string(),
            timezone: spec.schedule.timezone.clone(),
            task_id: task.as_ref().map(ToString::to_string),
            runs: runs.len(),
            complete: dag.totals.runs_by_state().values().sum::<u64>() <= runs.len() as u64,
            days: days(&dag, &spec.schedule.timezone, &runs),
            points,
            p50: share(&took, 50),
            p95: share(&took, 95),
            tasks,
            task_count: spec.tasks.len(),
            task_runs,
        })
    });
    read.await.map(Json)
}

/// What so many of a hundred do not exceed.
fn share(values: &[f64], hundredths: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// What a run stands for, or when it could begin.
fn stands_for(run: &RunRow) -> Timestamp {
    run.logical_date.unwrap_or(run.run_after)
}

fn days(dag: &DagRow, zone: &str, runs: &[RunRow]) -> Vec<UiDay> {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let date = |at: Timestamp| at.to_jiff().to_zoned(zone.clone()).date();
    let blank = |day: Date| UiDay {
        day: day.to_string(),
        hours: hours(day, &zone),
        states: BTreeMap::new(),
        planned: 0,
        p50: None,
        longest: None,
    };
    let mut found: BTreeMap<Date, (UiDay, Vec<f64>)> = BTreeMap::new();
    for run in runs {
        let day = date(stands_for(run));
        let (shown, took) = found.entry(day).or_insert_with(|| (blank(day), Vec::new()));
        *shown.states.entry(run.state.word().to_owned()).or_default() += 1;
        if run.state == RunState::Success {
            took.extend(seconds(run.start_date, run.end_date));
        }
    }
    let promised = dag.expected.as_ref().filter(|_| !dag.paused).and_then(|run| run.logical_date);
    let ahead = dag.ahead.intervals().filter(|_| !dag.paused).map(|it| it.start);
    for at in promised.into_iter().chain(ahead) {
        let day = date(at);
        found.entry(day).or_insert_with(|| (blank(day), Vec::new())).0.planned += 1;
    }
    let whole = |(day, took): (UiDay, Vec<f64>)| UiDay {
        p50: share(&took, 50),
        longest: share(&took, 100),
        ..day
    };
    found.into_values().map(whole).collect()
}

/// How long a day is: an hour less or more where clocks are changed.
fn hours(day: Date, zone: &TimeZone) -> u8 {
    let begin = |day: Date| day.to_zoned(zone.clone()).map(|it| it.timestamp().as_second());
    let length = begin(day).and_then(|from| Ok(begin(day.tomorrow()?)? - from));
    length.ok().and_then(|seconds| u8::try_from(seconds / 3_600).ok()).unwrap_or(24)
}

fn points(
    store: &Store,
    runs: &[RunRow],
    task: Option<&TaskId>,
) -> Result<Vec<UiPoint>, StoreError> {
    let mut points = Vec::with_capacity(runs.len());
    for run in runs {
        let blank = UiPoint {
            run_id: run.run_id.to_string(),
            at: stands_for(run).into(),
            state: run.state.word().to_owned(),
            queued: None,
            took: None,
            memory: None,
        };
        let Some(task) = task else {
            let queued = seconds(Some(run.queued_at), run.start_date);
            let took = seconds(run.start_date, run.end_date);
            points.push(UiPoint { queued, took, ..blank });
            continue;
        };
        let Some(row) = store.task(&run.key(), task, MapIndex::UNMAPPED)? else { continue };
        let state = row.state.word().to_owned();
        let Some(attempt) = &row.attempt else { continue };
        let queued = seconds(Some(attempt.queued_at), attempt.started_at);
        let memory = attempt.usage.map(|usage| usage.max_rss_bytes);
        points.push(UiPoint { state, queued, took: took(&row), memory, ..blank });
    }
    Ok(points)
}

fn took(row: &TaskRow) -> Option<f64> {
    let attempt = row.attempt.as_ref()?;
    seconds(attempt.started_at, attempt.ended_at)
}

/// The tasks of the newest version over the newest runs, and how many those are.
fn tasks(
    store: &Store,
    spec: &DagSpec,
    runs: &[RunRow],
) -> Result<(Vec<UiTaskPast>, usize), StoreError> {
    let count = (CELLS / spec.tasks.len().clamp(1, TASKS)).min(TASK_RUNS);
    let runs = &runs[runs.len().saturating_sub(count)..];
    let mut found = Vec::new();
    for task in spec.tasks.iter().take(TASKS) {
        let (mut lengths, mut memory) = (Vec::new(), Vec::new());
        let (mut succeeded, mut failed) = (0, 0);
        for run in runs.iter().filter(|_| !task.is_mapped) {
            let row = store.task(&run.key(), &task.task_id, MapIndex::UNMAPPED)?;
            let Some(row) = row else { continue };
            failed += u32::from(row.state == TaskInstanceState::Failed);
            let usage = row.attempt.as_ref().and_then(|attempt| attempt.usage);
            #[expect(clippy::cast_precision_loss, reason = "less than 2^53 bytes")]
            memory.extend(usage.map(|usage| usage.max_rss_bytes as f64));
            if row.state == TaskInstanceState::Success {
                succeeded += 1;
                lengths.extend(took(&row));
            }
        }
        let p50 = share(&lengths, 50);
        let newest = lengths.last().zip(p50).filter(|(_, p50)| lengths.len() > 3 && *p50 > 0.0);
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let trend = newest.map(|(newest, p50)| ((newest / p50 - 1.0) * 100.0).round() as i32);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
        let memory = share(&memory, 95).map(|bytes| bytes as u64);
        found.push(UiTaskPast {
            task_id: task.task_id.to_string(),
            succeeded,
            failed,
            p50,
            p95: share(&lengths, 95),
            trend,
            memory,
            mapped: task.is_mapped,
        });
    }
    Ok((found, runs.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_values_that_were_there() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!((share(&values, 50), share(&values, 95)), (Some(10.0), Some(19.0)));
        assert_eq!((share(&values, 100), share(&[7.0], 95)), (Some(20.0), Some(7.0)));
        assert_eq!(share(&[], 50), None);
    }

    #[test]
    fn days_on_which_clocks_are_changed_are_as_long_as_they_are() {
        let zone = TimeZone::get("Europe/Berlin").expect("a known zone");
        let day = |month, day| hours(jiff::civil::date(2026, month, day), &zone);
        assert_eq!((day(3, 29), day(10, 25), day(11, 29)), (23, 25, 24));
    }
}
