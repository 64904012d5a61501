//! The list of DAGs: a page costs what it shows.
use std::cmp::Reverse;

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::InQuery,
        state::ApiState,
        view::{describe, display_name, when},
    },
    home::owner_of,
    view::View,
};
use crate::{
    model::{
        Store, StoreError,
        lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{DagRow, LastRun, RunRow, RunState},
    },
    shapes::{Detail, UiDagRow, UiDags, UiLastRun, seconds},
};

/// Runs that the list shows of each DAG.
const LAST: usize = 14;
/// DAGs of a page, where not said, and at most.
const PAGE: usize = 50;
const MOST: usize = 500;

/// How many DAGs come before a page of the list, whose pages count from 1.
pub(super) const fn before_page(page: usize) -> usize {
    page.saturating_sub(1).saturating_mul(PAGE)
}

/// Which DAGs are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DagsQuery {
    /// Words that all stand in the id or the name, or `tag:…`, `owner:…`, `is:paused`, `is:active`, `is:failed`, `is:running`,
    /// `is:stale`; and in which order, `sort:next`, `sort:last`, `sort:owner` or `sort:name`, the other way round with `sort:-…`.
    pub(super) q: Option<String>,
    /// Entries of the page; 50 where not said, at most 500.
    pub(super) limit: Option<usize>,
    /// Entries before it.
    pub(super) offset: Option<usize>,
}

/// DAGs with their last runs.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/dags", tag = "UI", params(DagsQuery), responses(
    (status = 200, body = UiDags), (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn dags(
    State(state): State<ApiState>,
    InQuery(query): InQuery<DagsQuery>,
) -> Result<Json<Value>, ApiError> {
    View::Dags(query).snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(state: &ApiState, query: DagsQuery) -> Result<UiDags, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let read = state.read(move |store| {
        let words = query.q.unwrap_or_default().to_lowercase();
        let words: Vec<&str> = words.split_whitespace().collect();
        // What is gone from its file is shown to those who ask for it.
        let gone_too = words.contains(&"is:stale");
        let mut all = store.dags()?;
        all.retain(|dag| {
            (gone_too || dag.disappeared_at.is_none()) && words.iter().all(|word| wants(dag, word))
        });
        if let Some(by) = words.iter().find_map(|word| word.strip_prefix("sort:")) {
            sort(&mut all, by);
        }
        let (total, offset) = (all.len(), query.offset.unwrap_or(0));
        let page = all.into_iter().skip(offset).take(query.limit.unwrap_or(PAGE).min(MOST));
        let rows = page.filter_map(|dag| row(store, &dag).transpose());
        let dags = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(UiDags { seq, as_of: now.into(), mark: String::new(), total, offset, dags })
    });
    read.await
}

/// Orders DAGs by a word; those with nothing in it come last, whichever way. What is equal stays in the order of ids.
fn sort(all: &mut [DagRow], by: &str) {
    let (by, down) = by.strip_prefix('-').map_or((by, false), |by| (by, true));
    let due = |dag: &DagRow| dag.expected.as_ref().filter(|_| !dag.paused).and_then(|run| run.due);
    let last = |dag: &DagRow| match dag.last_run {
        // The newest first.
        LastRun::Is { seq, .. } => Some(u64::MAX - seq),
        LastRun::None | LastRun::Deleted => None,
    };
    let place = |dag: &DagRow| match by {
        "next" => due(dag).map(|at| (at.0, 0, String::new())),
        "last" => last(dag).map(|seq| (0, seq, String::new())),
        "owner" => Some((0, 0, owner_of(&dag.owner).to_lowercase())),
        "name" => Some((0, 0, dag.dag_id.as_str().to_lowercase())),
        _ => None,
    };
    all.sort_by_cached_key(|dag| {
        let place = place(dag);
        let nothing = place.is_none();
        // Turned within the key: the list turned would turn what is equal, too.
        if down { (nothing, None, place.map(Reverse)) } else { (nothing, place, None) }
    });
}

fn wants(dag: &DagRow, word: &str) -> bool {
    let runs = |state| dag.totals.runs_by_state().get(&state).is_some_and(|count| *count > 0);
    match word.split_once(':') {
        Some(("tag", tag)) => dag.tags.iter().any(|it| it.to_lowercase() == tag),
        Some(("owner", owner)) => owner_of(&dag.owner).to_lowercase().contains(owner),
        Some(("sort", _)) => true,
        Some(("is", "paused")) => dag.paused,
        Some(("is", "active")) => !dag.paused,
        Some(("is", "failed")) => runs(RunState::Failed),
        Some(("is", "running")) => runs(RunState::Running),
        Some(("is", "stale")) => dag.disappeared_at.is_some(),
        _ => {
            let name = dag.display_name.as_deref().unwrap_or_default().to_lowercase();
            dag.dag_id.as_str().to_lowercase().contains(word) || name.contains(word)
        }
    }
}

/// The newest runs of a DAG, the newest last.
pub(super) fn last_runs(
    store: &Store,
    dag: &DagRow,
    take: usize,
) -> Result<Vec<RunRow>, StoreError> {
    let ask = RunAsk {
        orders: vec![RunOrder { by: RunBy::Field(RunField::RunAfter), down: true }],
        take,
        ..RunAsk::all(Scope::Dags(vec![dag.dag_id.clone()]))
    };
    let mut found = store.list_runs(&ask, None)?.page;
    found.reverse();
    Ok(found)
}

/// A row of the list; `None` of a DAG whose meaning is missing.
pub(super) fn row(store: &Store, dag: &DagRow) -> Result<Option<UiDagRow>, StoreError> {
    let Some(version) = store.version_shared(&dag.dag_id, dag.version)? else { return Ok(None) };
    let last = last_runs(store, dag, LAST)?;
    let (p50, trend) = durations(&last);
    let spec = &version.spec;
    let name = display_name(spec);
    let bar = |run: &RunRow| UiLastRun {
        run_id: run.run_id.to_string(),
        state: run.state.word().to_owned(),
        seconds: seconds(run.start_date, run.end_date),
        run_after: run.run_after.into(),
    };
    let due = dag.expected.as_ref().filter(|_| !dag.paused).and_then(|run| run.due);
    Ok(Some(UiDagRow {
        name: Some(name).filter(|name| name != dag.dag_id.as_str()),
        paused: dag.paused,
        stale: dag.disappeared_at.is_some(),
        import_error: store.import_error(&dag.file)?.is_some(),
        schedule: spec.schedule.text.clone(),
        schedule_words: describe(spec),
        next: when(due),
        owner: owner_of(&dag.owner),
        tags: dag.tags.clone(),
        runs: {
            let counts = dag.totals.runs_by_state();
            counts.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect()
        },
        last: last.iter().map(bar).collect(),
        p50,
        trend,
        dag_id: dag.dag_id.to_string(),
    }))
}

/// The middle of how long runs took that succeeded, and by how many hundredths the newest differs.
fn durations(runs: &[RunRow]) -> (Option<f64>, Option<i32>) {
    let done = runs.iter().filter(|run| run.state == RunState::Success);
    let mut took: Vec<f64> = done.filter_map(|run| seconds(run.start_date, run.end_date)).collect();
    let Some(newest) = took.last().copied() else { return (None, None) };
    let count = took.len();
    took.sort_by(f64::total_cmp);
    let middle = took[count / 2];
    if count < 4 || middle <= 0.0 {
        return (Some(middle), None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let trend = ((newest / middle - 1.0) * 100.0).round() as i32;
    (Some(middle), Some(trend))
}

#[cfg(test)]
mod tests {
    use dagbok_events::{DagId, Timestamp};
    use dagbok_protocol::Ahead;

    use super::*;
    use crate::model::rows::TotalsRow;

    fn dag(id: &str, owner: &str, last_run: LastRun) -> DagRow {
        DagRow {
            dag_id: DagId::new(id).expect("an id"),
            version: 1,
            registered_at: Timestamp(0),
            file: String::new(),
            display_name: None,
            owner: owner.to_owned(),
            tags: Vec::new(),
            paused: false,
            pause: None,
            disappeared_at: None,
            expected: None,
            ahead: Ahead::default(),
            missed: None,
            totals: TotalsRow::default(),
            last_run,
        }
    }

    #[test]
    fn equal_dags_stay_in_the_order_of_ids_whichever_way_the_list_goes() {
        let ran = |seq| LastRun::Is { seq, state: RunState::Success, start_date: None };
        let sorted = |by: &str| {
            let mut all = [
                dag("a", "eva", ran(4)),
                dag("b", "ada", LastRun::None),
                dag("c", "ada", ran(9)),
                dag("d", "eva", LastRun::Deleted),
            ];
            sort(&mut all, by);
            all.iter().map(|dag| dag.dag_id.as_str()).collect::<String>()
        };
        assert_eq!(sorted("owner"), "bcad");
        assert_eq!(sorted("-owner"), "adbc");
        assert_eq!(sorted("last"), "cabd");
        assert_eq!(sorted("-last"), "acbd");
        assert_eq!(sorted("other"), "abcd");
    }
}
