//! Home: counts by index, and the rows behind each of them by the same question.
use std::collections::BTreeSet;

use axum::{Json, extract::State};
use dagbok_events::{Micros, RunKey, Timestamp};
use dagbok_protocol::names::SCHEDULER_LEASE;
use serde_json::Value;

use super::{
    super::{
        errors::ApiError,
        executors::present,
        state::ApiState,
        view::{when, word},
    },
    expected::{Expected, waiting},
    failure::failure_of,
    question::asks,
    told,
    view::View,
};
use crate::{
    alerts::Alerts,
    model::{
        Store, StoreError,
        lists::{Keep, Listed, Range, RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{DagRow, RunRow, RunState, TaskInstanceState},
    },
    shapes::{DEFAULT_OWNER, Detail, UiFailedRun, UiHome, UiImportError, UiVerdict},
};

/// How far back home looks.
pub(super) const WINDOW: Micros = Micros::from_secs(24 * 3_600);
/// Rows of each of home's groups.
const FAILED: usize = 50;
const LATE: usize = 50;
const FEW: usize = 20;
const NEXT: usize = 8;

/// The first view: whether all is right, and if not, what failed, why, and who was told.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/home", tag = "UI", responses(
    (status = 200, body = UiHome), (status = 503, body = Detail)
))]
pub(crate) async fn home(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    View::Home.snapshot(&state).await.map(Json)
}

/// Who is there, by what is no fold.
struct Present {
    scheduler: bool,
    executors: Option<usize>,
    lag: u64,
}

pub(super) async fn snapshot(state: &ApiState) -> Result<UiHome, ApiError> {
    let (lease, executors) = tokio::join!(state.ports.state.get(SCHEDULER_LEASE), present(state));
    let standing = state.model.progress().now();
    let there = Present {
        scheduler: matches!(lease, Ok(Some(_))),
        executors: executors.ok().map(|executors| executors.len()),
        lag: standing.lag(),
    };
    let now = state.clock.now();
    let alerts = state.alerts.get().cloned();
    let seq = standing.applied.0;
    state.read(move |store| Ok(read(store, alerts.as_ref(), seq, now, &there)?)).await
}

fn read(
    store: &Store,
    alerts: Option<&Alerts>,
    seq: u64,
    now: Timestamp,
    there: &Present,
) -> Result<UiHome, StoreError> {
    let since = Timestamp(now.0 - WINDOW.0);
    let ended = |state, take| {
        let range = Range { field: RunField::EndDate, from: since.0, to: i64::MAX, nothing: false };
        list(store, state, Some(range), RunField::EndDate, take)
    };
    let (failed, succeeded) = (ended(RunState::Failed, FAILED)?, ended(RunState::Success, 0)?);
    let dags = store.dags()?;
    let expected = Expected::of(&dags, since, now, NEXT);
    let failing = failing(store)?;
    let rows = |runs: &[RunRow]| failed_rows(store, alerts, runs, now);
    let (failed_rows, failing_rows) = (rows(&failed.page)?, rows(&failing.page)?);
    // What is about a run of these is acknowledged in that run's row: nothing is said twice.
    let rows = failed_rows.iter().chain(&failing_rows);
    let shown: BTreeSet<u64> = rows.filter_map(|row| row.told.alert_id).collect();
    let alone = told::unacknowledged(alerts, &shown, FEW, now);
    let (waits, asks) = (waiting(store, now, FEW)?, asks(store, FEW)?);
    let errors = store.import_errors()?;
    let runs = store.totals()?.runs_by_state();
    let count = |state| runs.get(&state).copied().unwrap_or(0);
    let (live, paused) = live(&dags);
    let verdict = UiVerdict {
        failed: failed.total,
        failed_is_exact: failed.exact,
        failing: failing.total,
        failing_is_exact: failing.exact,
        succeeded: succeeded.total,
        succeeded_is_exact: succeeded.exact,
        running: count(RunState::Running),
        queued: count(RunState::Queued),
        late: expected.late.len(),
        missed: expected.missed.iter().map(|late| late.count as usize).sum(),
        waiting: waits.total,
        waiting_is_exact: waits.exact,
        unacknowledged: alone.all,
        needs_human: alone.count,
        asks: asks.total,
        asks_is_exact: asks.exact,
        import_errors: errors.len(),
        dags: live,
        paused,
        scheduler: there.scheduler,
        executors: there.executors,
        lag: there.lag,
        alerting: alerts.is_some(),
    };
    let Expected { late, missed, next, next_12h } = expected;
    Ok(UiHome {
        seq,
        as_of: now.into(),
        mark: String::new(),
        since: since.into(),
        verdict,
        needs_human: alone.shown,
        asks: asks.shown,
        failed: failed_rows,
        failing: failing_rows,
        late: late.into_iter().chain(missed).take(LATE).collect(),
        waiting: waits.runs,
        import_errors: errors.into_iter().take(FEW).map(import_error).collect(),
        next,
        next_12h,
    })
}

fn list(
    store: &Store,
    state: RunState,
    range: Option<Range>,
    by: RunField,
    take: usize,
) -> Result<Listed<RunRow>, StoreError> {
    let down = by == RunField::EndDate;
    let ask = RunAsk {
        states: vec![state],
        ranges: range.into_iter().collect(),
        orders: vec![RunOrder { by: RunBy::Field(by), down }],
        take,
        ..RunAsk::all(Scope::All)
    };
    store.list_runs(&ask, None)
}

/// Runs that go on though a task of them has failed: that is no news any more once they are over.
fn failing(store: &Store) -> Result<Listed<RunRow>, StoreError> {
    let ask = RunAsk {
        states: vec![RunState::Running],
        orders: vec![RunOrder { by: RunBy::Field(RunField::StartDate), down: true }],
        take: FEW,
        ..RunAsk::all(Scope::All)
    };
    let has_failed =
        |run: &RunRow| run.counts.get(&TaskInstanceState::Failed).is_some_and(|count| *count > 0);
    store.list_runs(&ask, Some(Keep::rows(&has_failed)))
}

/// How many DAGs a file defines, and how many of them are paused.
fn live(dags: &[DagRow]) -> (usize, usize) {
    let live = || dags.iter().filter(|dag| dag.disappeared_at.is_none());
    (live().count(), live().filter(|dag| dag.paused).count())
}

fn failed_rows(
    store: &Store,
    alerts: Option<&Alerts>,
    runs: &[RunRow],
    now: Timestamp,
) -> Result<Vec<UiFailedRun>, StoreError> {
    let keys: Vec<RunKey> = runs.iter().map(RunRow::key).collect();
    let told = told::of_runs(alerts, &keys, now);
    let row = |(run, told): (&RunRow, _)| {
        let owner = store.version_shared(&run.dag_id, run.version)?;
        Ok(UiFailedRun {
            dag_id: run.dag_id.to_string(),
            run_id: run.run_id.to_string(),
            logical_date: when(run.logical_date),
            run_type: word(&run.run_type),
            end_date: when(run.end_date),
            failure: failure_of(store, run)?,
            owner: owner_of(owner.as_ref().map_or("", |row| &row.spec.owner)),
            told,
        })
    };
    runs.iter().zip(told).map(row).collect()
}

pub(super) fn owner_of(owner: &str) -> String {
    if owner.is_empty() { DEFAULT_OWNER } else { owner }.to_owned()
}

fn import_error(row: crate::model::rows::ImportErrorRow) -> UiImportError {
    UiImportError {
        file: row.file,
        line: row.line,
        exception: row.exception,
        message: row.message,
        at: row.at.into(),
        keeps: row.keeps.iter().map(ToString::to_string).collect(),
    }
}
