//! Task instances over many runs.
use std::{cmp::Reverse, collections::BinaryHeap, iter::from_fn, sync::Arc};

use dagbok_events::{DagId, Timestamp};

use super::{
    super::{
        errors::ApiError,
        extract::any_dag,
        page::{Order, Page, orders, sort},
        view::InstanceView,
    },
    CANCELLED, InstanceQuery, ORDERS, Window, collection,
    latest::Latest,
    sort_key,
};
use crate::{
    model::{
        Store, StoreError,
        lists::{
            RunAsk, RunBy, RunField, RunOrder, Scope, State, TASKS_IN_HAND, TASKS_OF_RUN_IN_HAND,
        },
        rows::{RunRow, TaskInstanceState},
    },
    shapes::{ListExtra, TaskInstanceCollection},
};

/// The instances of a DAG's runs, or of all.
pub(super) fn across(
    store: &Store,
    dag: &str,
    query: &InstanceQuery,
) -> Result<TaskInstanceCollection, ApiError> {
    let orders = orders(&query.order_by, ORDERS)?;
    let page = Page::new(query.limit, query.offset);
    let dag_id = any_dag(dag)?;
    if let Some(dag_id) = &dag_id
        && store.dag(dag_id)?.is_none()
    {
        return Err(ApiError::no_dag(dag));
    }
    let states = states(query);
    let total = store.count_tasks(dag_id.as_ref(), &states)?;
    let by_making = match orders.as_slice() {
        [] => Some(false),
        [Order { field: "id", down }] => Some(*down),
        _ => None,
    };
    if let Some(down) = by_making
        && query.asks_only_for_states()
    {
        let runs = store.runs_having(dag_id.as_ref(), &states, down);
        let found = window(store, runs, query, &states, (page, down))?;
        return Ok(collection(&found, total, ListExtra::default()));
    }
    if total <= TASKS_IN_HAND {
        let runs = store.runs_having(dag_id.as_ref(), &states, false);
        return picked(store, runs, query, &orders, page);
    }
    if let Some(order) = orders.first()
        && order.down
        && matches!(order.field, "start_date" | "end_date" | "queued_when")
    {
        let total = query.asks_only_for_states().then_some(total);
        return latest(store, dag_id, query, &orders, (page, total));
    }
    match orders.first() {
        None | Some(Order { field: "id", .. }) => {
            let down = by_making.unwrap_or(false);
            picked(store, store.runs_having(dag_id.as_ref(), &states, down), query, &orders, page)
        }
        Some(order) => picked(store, likely(store, dag_id, order), query, &orders, page),
    }
}

/// Which states are asked for; all where none is.
fn states(query: &InstanceQuery) -> Vec<State> {
    let all = TaskInstanceState::ALL.into_iter().map(Some).chain([None]);
    let word = |state: &State| state.map_or("none", TaskInstanceState::word);
    let is = |asked: &str, word: &str| asked == word || (asked == CANCELLED && word == "failed");
    let asked = |state: &State| {
        query.state.is_empty() || query.state.iter().any(|asked| is(asked, word(state)))
    };
    all.filter(asked).collect()
}

fn in_states(run: &RunRow, states: &[State]) -> usize {
    let count = |state: &State| match state {
        Some(state) => run.counts.get(state).copied().unwrap_or(0),
        None => run.stateless(),
    };
    states.iter().map(count).sum::<u32>() as usize
}

/// The page, of runs that are passed over by their counts until it begins.
fn window(
    store: &Store,
    runs: impl Iterator<Item = Result<RunRow, StoreError>>,
    query: &InstanceQuery,
    states: &[State],
    (page, down): (Page, bool),
) -> Result<Vec<InstanceView>, ApiError> {
    let (mut passed, mut found) = (0_usize, Vec::new());
    for run in runs {
        let run = run?;
        let here = in_states(&run, states);
        if found.len() >= page.limit {
            break;
        }
        if passed + here > page.offset {
            let (skip, take) = (page.offset.saturating_sub(passed), page.limit - found.len());
            let run = Arc::new(run);
            match Window::of(store, &run, query, &[])? {
                Some(window) if down => found.extend(window.reversed().page(store, skip, take)?),
                Some(window) => found.extend(window.page(store, skip, take)?),
                None => {
                    let (mut of_run, _) = InstanceView::of_run(store, &run, TASKS_OF_RUN_IN_HAND)?;
                    of_run.retain(|one| query.wants(one));
                    if down {
                        of_run.reverse();
                    }
                    found.extend(of_run.into_iter().skip(skip).take(take));
                }
            }
        }
        passed += here;
    }
    Ok(found)
}

/// What is wanted among the first [`TASKS_IN_HAND`] instances of `runs`, sorted.
fn picked(
    store: &Store,
    runs: impl Iterator<Item = Result<RunRow, StoreError>>,
    query: &InstanceQuery,
    orders: &[Order],
    page: Page,
) -> Result<TaskInstanceCollection, ApiError> {
    let (mut looked, mut all, mut complete) = (0, Vec::new(), true);
    for run in runs {
        let run = run?;
        if looked >= TASKS_IN_HAND {
            complete = false;
            break;
        }
        looked += 1;
        if query.wants_run(&run) {
            // The first run is looked at as by itself.
            let most = if looked == 1 { TASKS_OF_RUN_IN_HAND } else { TASKS_IN_HAND };
            let (of_run, whole) = InstanceView::of_run(store, &Arc::new(run), most)?;
            complete &= whole;
            looked += of_run.len();
            all.extend(of_run.into_iter().filter(|one| query.wants(one)));
        }
    }
    sort(&mut all, orders, sort_key);
    let (found, total) = page.cut(all);
    Ok(collection(&found, total, ListExtra { total_is_exact: complete, complete }))
}

/// The instances with the latest dates first, of runs in the order of a date that none of their tasks' is after: the
/// last start of a task, or the run's last change.
fn latest(
    store: &Store,
    dag_id: Option<DagId>,
    query: &InstanceQuery,
    orders: &[Order],
    (page, total): (Page, Option<usize>),
) -> Result<TaskInstanceCollection, ApiError> {
    let (wanted, field) = (page.offset.saturating_add(page.limit), orders[0].field);
    let scope = dag_id.map_or(Scope::All, |dag_id| Scope::Dags(vec![dag_id]));
    let starts = field == "start_date";
    let by = if starts { RunField::LatestStart } else { RunField::UpdatedAt };
    let (mut runs, mut instances, mut all) = (0, 0, Vec::new());
    let (mut complete, mut over) = (true, true);
    // The dates that are the latest so far, as many as the page ends with.
    let mut best = BinaryHeap::new();
    let mut latest = Latest::new(store, scope, by, wanted)?;
    while let Some((date, run)) = latest.next()? {
        let beaten = best.peek().is_some_and(|Reverse(last)| match orders {
            // What is as late comes after what was found before it.
            [_] => date <= *last,
            _ => date < *last,
        });
        if best.len() >= wanted && beaten {
            over = false;
            break;
        }
        if runs >= TASKS_IN_HAND || instances >= TASKS_OF_RUN_IN_HAND {
            (over, complete) = (false, false);
            break;
        }
        runs += 1;
        if !query.wants_run(&run) {
            continue;
        }
        let (of_run, whole) = InstanceView::of_run(store, &Arc::new(run), TASKS_OF_RUN_IN_HAND)?;
        complete &= whole;
        instances += of_run.len();
        for one in of_run.into_iter().filter(|one| query.wants(one)) {
            best.extend(date_of(&one, field).map(Reverse));
            if best.len() > wanted {
                best.pop();
            }
            all.push(one);
        }
    }
    // Runs none of whose tasks has begun are in no order of starts, and theirs come last.
    complete &= latest.is_whole && (!starts || best.len() >= wanted);
    sort(&mut all, orders, sort_key);
    let (found, seen) = page.cut(all);
    let extra = ListExtra { total_is_exact: total.is_some() || over && complete, complete };
    Ok(collection(&found, total.unwrap_or(seen), extra))
}

/// The date that instances are ordered by.
fn date_of(one: &InstanceView, field: &str) -> Option<Timestamp> {
    match field {
        "start_date" => one.start_date(),
        "end_date" => one.end_date(),
        _ => one.attempt().map(|attempt| attempt.queued_at),
    }
}

/// Runs in the order in which what is asked for is likely to come first.
fn likely<'a>(
    store: &'a Store,
    dag_id: Option<DagId>,
    order: &Order,
) -> impl Iterator<Item = Result<RunRow, StoreError>> + 'a {
    let field = match order.field {
        "start_date" | "queued_when" => RunField::StartDate,
        "end_date" => RunField::EndDate,
        "run_after" => RunField::RunAfter,
        "logical_date" => RunField::LogicalDate,
        _ => RunField::Id,
    };
    let scope = dag_id.map_or(Scope::All, |dag_id| Scope::Dags(vec![dag_id]));
    let ask = RunAsk {
        orders: vec![RunOrder { by: RunBy::Field(field), down: order.down }],
        take: TASKS_IN_HAND + 1,
        ..RunAsk::all(scope)
    };
    let mut runs = None;
    from_fn(move || {
        if runs.is_none() {
            match store.list_runs(&ask, None) {
                Ok(found) => runs = Some(found.page.into_iter()),
                Err(error) => {
                    runs = Some(Vec::new().into_iter());
                    return Some(Err(error));
                }
            }
        }
        runs.as_mut()?.next().map(Ok)
    })
}
