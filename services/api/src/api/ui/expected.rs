//! The expected board: what schedules promise and did not keep, and what was made and waits. Home shows the first of it.
use axum::{Json, extract::State};
use dagbok_events::{DagId, Micros, RunExpected, Timestamp};
use serde_json::Value;

use super::{
    super::{
        errors::ApiError,
        state::ApiState,
        view::{when, word},
    },
    home::{WINDOW, owner_of},
    view::View,
};
use crate::{
    model::{
        Store, StoreError,
        lists::{Keep, Range, RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{DagRow, RunRow, RunState, TaskInstanceState},
    },
    shapes::{Detail, UiExpected, UiLate, UiNext, UiWaiting},
};

/// After how long without a word something waits long.
const QUIET: Micros = Micros::from_secs(60);
const HALF_HOUR: Micros = Micros::from_secs(1_800);
const HALF_HOURS: usize = 24;
/// Rows of each of the board's lists.
const ROWS: usize = 1_000;
const NEXT: usize = 50;

/// The expected board.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/expected", tag = "UI", responses(
    (status = 200, body = UiExpected), (status = 503, body = Detail)
))]
pub(crate) async fn expected(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    View::Expected.snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(state: &ApiState) -> Result<UiExpected, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let read = state.read(move |store| {
        let since = Timestamp(now.0 - WINDOW.0);
        let Expected { late, missed, next, next_12h } =
            Expected::of(&store.dags()?, since, now, NEXT);
        let waits = waiting(store, now, ROWS)?;
        Ok(UiExpected {
            seq,
            as_of: now.into(),
            mark: String::new(),
            since: since.into(),
            late_count: late.len() + missed.len(),
            late: late.into_iter().chain(missed).take(ROWS).collect(),
            waiting: waits.runs,
            waiting_count: waits.total,
            waiting_is_exact: waits.exact,
            next,
            next_12h,
        })
    });
    read.await
}

/// What schedules promise, and did not keep.
pub(super) struct Expected {
    pub(super) late: Vec<UiLate>,
    pub(super) missed: Vec<UiLate>,
    pub(super) next: Vec<UiNext>,
    pub(super) next_12h: Vec<u32>,
}

impl Expected {
    /// By the promises of `dags`, those broken since then, and at most so many of those to come.
    pub(super) fn of(dags: &[DagRow], since: Timestamp, now: Timestamp, most: usize) -> Self {
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
        let shown = next.into_iter().take(most);
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

/// Runs that wait.
pub(super) struct Waits {
    pub(super) runs: Vec<UiWaiting>,
    pub(super) total: usize,
    pub(super) exact: bool,
}

/// Runs that were made and wait, or in which tasks do, and of which nothing was heard for a while: the longest first.
pub(super) fn waiting(store: &Store, now: Timestamp, most: usize) -> Result<Waits, StoreError> {
    let until = now.0 - QUIET.0;
    let field = RunField::UpdatedAt;
    let ask = RunAsk {
        states: vec![RunState::Running, RunState::Queued],
        ranges: vec![Range { field, from: i64::MIN, to: until, nothing: false }],
        orders: vec![RunOrder { by: RunBy::Field(field), down: false }],
        take: most,
        ..RunAsk::all(Scope::All)
    };
    let waits = |run: &RunRow| run.state == RunState::Queued || waiting_tasks(run) > 0;
    let found = store.list_runs(&ask, Some(Keep::rows(&waits)))?;
    let shown = |run: &RunRow| UiWaiting {
        dag_id: run.dag_id.to_string(),
        run_id: run.run_id.to_string(),
        logical_date: when(run.logical_date),
        state: run.state.word().to_owned(),
        tasks: waiting_tasks(run),
        since: run.updated_at.into(),
    };
    let runs = found.page.iter().map(shown).collect();
    Ok(Waits { runs, total: found.total, exact: found.exact })
}

fn waiting_tasks(run: &RunRow) -> u32 {
    let of = |state| run.counts.get(&state).copied().unwrap_or(0);
    of(TaskInstanceState::Queued) + of(TaskInstanceState::Scheduled)
}
