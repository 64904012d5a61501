//! Home: counts by index, and the rows behind each of them by the same question.
use axum::{Json, extract::State};
use dagbok_events::{DagId, Micros, RunExpected, RunKey, Timestamp};
use dagbok_protocol::names::SCHEDULER_LEASE;

use super::{
    super::{
        errors::ApiError,
        executors::present,
        state::ApiState,
        view::{when, word},
    },
    failure::failure_of,
    told,
};
use crate::{
    alerts::Alerts,
    model::{
        Store, StoreError,
        lists::{Listed, Range, RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{DagRow, RunRow, RunState, TaskInstanceState},
    },
    shapes::{
        DEFAULT_OWNER, Detail, UiFailedRun, UiHome, UiImportError, UiLate, UiNext, UiVerdict,
        UiWaiting,
    },
};

/// How far back home looks.
const WINDOW: Micros = Micros::from_secs(24 * 3_600);
/// After how long without a word something waits long.
const QUIET: Micros = Micros::from_secs(60);
const HALF_HOUR: Micros = Micros::from_secs(1_800);
const HALF_HOURS: usize = 24;
/// Rows of each of home's groups.
const FAILED: usize = 50;
const LATE: usize = 50;
const FEW: usize = 20;
const NEXT: usize = 8;

/// The first view: whether all is right, and if not, what failed, why, and who was told.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/home", tag = "UI", responses(
    (status = 200, body = UiHome), (status = 503, body = Detail)
))]
pub(crate) async fn home(State(state): State<ApiState>) -> Result<Json<UiHome>, ApiError> {
    snapshot(&state).await.map(Json)
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
    let failed = ended(RunState::Failed, FAILED)?;
    let succeeded = ended(RunState::Success, 0)?;
    let dags = store.dags()?;
    let expected = Expected::of(&dags, since, now);
    let (needs_human, unacknowledged) = told::unacknowledged(alerts, FEW, now);
    let errors = store.import_errors()?;
    let runs = store.totals()?.runs_by_state();
    let count = |state| runs.get(&state).copied().unwrap_or(0);
    let live: Vec<&DagRow> = dags.iter().filter(|dag| dag.disappeared_at.is_none()).collect();
    let verdict = UiVerdict {
        failed: failed.total,
        failed_is_exact: failed.exact,
        succeeded: succeeded.total,
        succeeded_is_exact: succeeded.exact,
        running: count(RunState::Running),
        queued: count(RunState::Queued),
        late: expected.late.len(),
        missed: expected.missed.iter().map(|late| late.count as usize).sum(),
        unacknowledged,
        import_errors: errors.len(),
        dags: live.len(),
        paused: live.iter().filter(|dag| dag.paused).count(),
        scheduler: there.scheduler,
        executors: there.executors,
        lag: there.lag,
        alerting: alerts.is_some(),
    };
    let Expected { late, missed, next, next_12h } = expected;
    Ok(UiHome {
        seq,
        as_of: now.into(),
        since: since.into(),
        verdict,
        needs_human,
        failed: failed_rows(store, alerts, &failed.page, now)?,
        late: late.into_iter().chain(missed).take(LATE).collect(),
        waiting: waiting(store, now)?,
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

/// What schedules promise, and did not keep.
struct Expected {
    late: Vec<UiLate>,
    missed: Vec<UiLate>,
    next: Vec<UiNext>,
    next_12h: Vec<u32>,
}

impl Expected {
    fn of(dags: &[DagRow], since: Timestamp, now: Timestamp) -> Self {
        let mut found = Self {
            late: Vec::new(),
            missed: Vec::new(),
            next: Vec::new(),
            next_12h: vec![0; HALF_HOURS],
        };
        let mut next: Vec<(Timestamp, &DagId)> = Vec::new();
        for dag in dags.iter().filter(|dag| dag.disappeared_at.is_none()) {
            if let Some(missed) = dag.missed.as_ref().filter(|missed| missed.at >= since) {
                found.missed.push(UiLate {
                    dag_id: dag.dag_id.to_string(),
                    logical_date: Some(missed.last.into()),
                    due: None,
                    why: word(&missed.why),
                    count: missed.count,
                    owner: owner_of(&dag.owner),
                });
            }
            let (false, Some(promise)) = (dag.paused, &dag.expected) else { continue };
            let Some(due) = promise.due else { continue };
            if due.plus(promise.grace) < now {
                found.late.push(late(dag, promise, due));
            }
            for due in std::iter::once(due).chain(dag.ahead.intervals().map(|it| it.end)) {
                let half_hour = due.since(now).0.max(0) / HALF_HOUR.0;
                let bar = usize::try_from(half_hour).unwrap_or(usize::MAX);
                let Some(bar) = found.next_12h.get_mut(bar) else { break };
                *bar += 1;
            }
            if due >= now {
                next.push((due, &dag.dag_id));
            }
        }
        found.late.sort_by_key(|late| late.due);
        next.sort_unstable();
        let shown = next.into_iter().take(NEXT);
        found.next =
            shown.map(|(due, dag)| UiNext { dag_id: dag.to_string(), due: due.into() }).collect();
        found
    }
}

fn late(dag: &DagRow, promise: &RunExpected, due: Timestamp) -> UiLate {
    UiLate {
        dag_id: dag.dag_id.to_string(),
        logical_date: when(promise.logical_date),
        due: Some(due.into()),
        why: "late".to_owned(),
        count: 1,
        owner: owner_of(&promise.owner),
    }
}

/// Runs that were made and wait, or in which tasks do.
fn waiting(store: &Store, now: Timestamp) -> Result<Vec<UiWaiting>, StoreError> {
    let mut found = Vec::new();
    for state in [RunState::Running, RunState::Queued] {
        for run in list(store, state, None, RunField::Id, FEW)?.page {
            let of = |state| run.counts.get(&state).copied().unwrap_or(0);
            let tasks = of(TaskInstanceState::Queued) + of(TaskInstanceState::Scheduled);
            let quiet = now.since(run.updated_at) >= QUIET;
            if quiet && (tasks > 0 || state == RunState::Queued) {
                found.push(UiWaiting {
                    dag_id: run.dag_id.to_string(),
                    run_id: run.run_id.to_string(),
                    logical_date: when(run.logical_date),
                    state: state.word().to_owned(),
                    tasks,
                    since: run.updated_at.into(),
                });
            }
        }
    }
    found.truncate(FEW);
    Ok(found)
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
