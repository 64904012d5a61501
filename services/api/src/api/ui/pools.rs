//! Pools: who holds their slots, and who has yet to come.
use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use dagbok_events::{MapIndex, PoolName, TaskId, TryNumber};
use serde_json::Value;

use super::{
    super::{errors::ApiError, pools, state::ApiState, view::when},
    view::View,
};
use crate::{
    model::{
        Store, StoreError,
        lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{RunRow, RunState, TaskInstanceState, TaskRow},
    },
    shapes::{Detail, PoolResponse, UiPool, UiPoolTask, UiPools},
};

/// Runs that are looked at for holders, and rows of their tasks.
const RUNS: usize = 1_000;
const ROWS: usize = 20_000;
/// Tasks that are named of each pool.
const NAMED: usize = 100;

/// Pools with their holders.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/pools", tag = "UI", responses(
    (status = 200, body = UiPools), (status = 503, body = Detail)
))]
pub(crate) async fn pools(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    View::Pools.snapshot(&state).await.map(Json)
}

pub(super) async fn snapshot(state: &ApiState) -> Result<UiPools, ApiError> {
    let seq = state.model.progress().now().applied.0;
    let now = state.clock.now();
    let read = state.read(move |store| {
        let all = pools::all(store)?;
        let deferred = all.iter().filter(|pool| pool.include_deferred);
        let mut found = Found {
            with_deferred: deferred.map(|pool| pool.name.clone()).collect(),
            ..Found::default()
        };
        found.look(store, ROWS)?;
        let shown = |pool: PoolResponse| {
            let tasks = found.pools.remove(pool.name.as_str()).unwrap_or_default();
            shown(pool, tasks)
        };
        let pools = all.into_iter().map(shown).collect();
        let complete = found.complete;
        Ok(UiPools { seq, as_of: now.into(), mark: String::new(), pools, complete })
    });
    read.await
}

fn shown(pool: PoolResponse, mut tasks: Tasks) -> UiPool {
    tasks.holders.sort_by_key(|task| task.since);
    let (holder_count, to_come_count) = (tasks.holders.len(), tasks.to_come.len());
    tasks.holders.truncate(NAMED);
    tasks.to_come.truncate(NAMED);
    UiPool {
        name: pool.name,
        slots: pool.slots,
        description: pool.description,
        include_deferred: pool.include_deferred,
        running: pool.running_slots,
        queued: pool.queued_slots,
        deferred: pool.deferred_slots,
        open: pool.open_slots,
        holders: tasks.holders,
        holder_count,
        to_come: tasks.to_come,
        to_come_count,
    }
}

#[derive(Default)]
struct Tasks {
    holders: Vec<UiPoolTask>,
    to_come: Vec<UiPoolTask>,
}

#[derive(Default)]
struct Found {
    pools: BTreeMap<String, Tasks>,
    /// Pools whose slots are held by what waits for a trigger, too.
    with_deferred: BTreeSet<String>,
    complete: bool,
    rows: usize,
}

impl Found {
    /// Looks through the runs that are under way, the one that began first before the others, and through at most so
    /// many rows of their tasks.
    fn look(&mut self, store: &Store, most: usize) -> Result<(), StoreError> {
        let ask = RunAsk {
            states: vec![RunState::Running],
            orders: vec![RunOrder { by: RunBy::Field(RunField::StartDate), down: false }],
            take: RUNS,
            ..RunAsk::all(Scope::All)
        };
        let runs = store.list_runs(&ask, None)?;
        self.complete = runs.exact && runs.total == runs.page.len();
        for run in &runs.page {
            self.of_run(store, run, most)?;
            if self.rows >= most {
                self.complete = false;
                break;
            }
        }
        Ok(())
    }

    fn of_run(&mut self, store: &Store, run: &RunRow, most: usize) -> Result<(), StoreError> {
        let Some(version) = store.version_shared(&run.dag_id, run.version)? else { return Ok(()) };
        let key = run.key();
        let mut begun = BTreeSet::new();
        for row in store.each_task(&key) {
            // Of tasks whose rows were not read it is not known whether they have begun.
            if self.rows >= most {
                return Ok(());
            }
            let row = row?;
            self.rows += 1;
            if let Some(attempt) = row.attempt.as_ref().filter(|_| self.holds(&row)) {
                let named = task(run, &row.task_id, row.map_index, row.state.word());
                // A try holds its slots from when it is offered, before it begins.
                let since = when(Some(attempt.queued_at));
                let held = UiPoolTask { slots: attempt.pool_slots, since, ..named };
                self.of(&attempt.pool).holders.push(held);
            }
            begun.insert(row.task_id);
        }
        for spec in version.spec.tasks.iter().filter(|spec| !begun.contains(&spec.task_id)) {
            self.rows += 1;
            let named = task(run, &spec.task_id, MapIndex::UNMAPPED, "none");
            let slots = spec.pool_slots;
            self.of(&spec.pool).to_come.push(UiPoolTask { slots, ..named });
        }
        Ok(())
    }

    fn of(&mut self, pool: &PoolName) -> &mut Tasks {
        self.pools.entry(pool.to_string()).or_default()
    }

    /// Whether its try is counted in its pool.
    fn holds(&self, row: &TaskRow) -> bool {
        let Some(attempt) = row.attempt.as_ref().filter(|it| TryNumber::get(it.number) > 0) else {
            return false;
        };
        let deferred = row.state == TaskInstanceState::Deferred
            && self.with_deferred.contains(attempt.pool.as_str());
        row.state.holds_slots() || deferred
    }
}

fn task(run: &RunRow, task_id: &TaskId, map_index: MapIndex, state: &str) -> UiPoolTask {
    UiPoolTask {
        dag_id: run.dag_id.to_string(),
        run_id: run.run_id.to_string(),
        task_id: task_id.to_string(),
        map_index: map_index.0,
        state: state.to_owned(),
        slots: 0,
        since: None,
    }
}
