//! When a backfill is expected to be over, by how long runs of its DAG took.
//!
//! Each draw gives every run one of the lengths that there were, and the runs the room that the backfill lets them
//! have. Dates that will be passed over count as runs, so it is said too late rather than too early.
use std::{cmp::Reverse, collections::BinaryHeap};

use dagbok_events::{RunType, Timestamp};

use crate::{
    api::{drawn, errors::ApiError},
    model::{
        Store,
        lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{BackfillRow, RunRow, RunState},
    },
    shapes::WhyExpected,
};

/// Runs that are looked at for how long they took.
const LENGTHS: usize = 50;
/// Runs that are drawn one by one; of more the time grows with their number.
const DRAWN: u32 = 500;

/// When its last run ends; `None` where it is kept, or nothing tells.
pub(super) fn of(
    store: &Store,
    row: &BackfillRow,
    now: Timestamp,
) -> Result<Option<WhyExpected>, ApiError> {
    let kept = store.dag(&row.dag_id)?.is_none_or(|dag| dag.paused || dag.disappeared_at.is_some());
    if kept || row.end.is_some() || row.paused.is_some() {
        return Ok(None);
    }
    let over = vec![RunState::Success, RunState::Failed];
    let own = |run: &RunRow| run.backfill_id == Some(row.backfill_id);
    let mut lengths: Vec<i64> = Vec::new();
    // Its own runs tell best; others of the DAG where there are too few.
    for types in [vec![RunType::Backfill], Vec::new()] {
        if lengths.len() < 3 {
            let found = runs(store, row, (over.clone(), types.clone(), LENGTHS))?;
            let of_type = |run: &&RunRow| types.is_empty() || own(run);
            lengths = found.iter().filter(of_type).filter_map(length).collect();
        }
    }
    if lengths.is_empty() {
        return Ok(None);
    }
    let most = row.max_active_runs as usize;
    let under_way = runs(store, row, (vec![RunState::Running], vec![RunType::Backfill], most))?;
    let ran = |run: &RunRow| run.start_date.map_or(0, |since| now.since(since).0.max(0));
    let ran: Vec<i64> = under_way.iter().filter(|run| own(run)).map(ran).collect();
    let waiting = row.total.saturating_sub(row.seen_to()) + row.count(RunState::Queued);
    let draws = draws(&lengths, &ran, waiting, most);
    Ok(Some(drawn::expected(&draws, now, lengths.len())))
}

/// The newest runs of its DAG that are so.
fn runs(
    store: &Store,
    row: &BackfillRow,
    (states, types, take): (Vec<RunState>, Vec<RunType>, usize),
) -> Result<Vec<RunRow>, ApiError> {
    let ask = RunAsk {
        states,
        types,
        orders: vec![RunOrder { by: RunBy::Field(RunField::Id), down: true }],
        take,
        ..RunAsk::all(Scope::Dags(vec![row.dag_id.clone()]))
    };
    Ok(store.list_runs(&ask, None)?.page)
}

fn length(run: &RunRow) -> Option<i64> {
    Some(run.end_date?.since(run.start_date?).0.max(0))
}

/// How long it takes until the last run ends, in each draw; in microseconds.
fn draws(lengths: &[i64], ran: &[i64], waiting: u32, most: usize) -> Vec<i64> {
    let under_way: Vec<Vec<i64>> = ran.iter().map(|ran| drawn::still(lengths, *ran)).collect();
    let singly = waiting.min(DRAWN);
    drawn::draws(|dice| {
        let mut ends: BinaryHeap<Reverse<i64>> =
            under_way.iter().map(|lengths| Reverse(dice.pick(lengths))).collect();
        ends.extend((ends.len()..most.min(singly as usize + ran.len())).map(|_| Reverse(0)));
        let mut last = ends.iter().map(|Reverse(end)| *end).max().unwrap_or(0);
        for _ in 0..singly {
            let Some(Reverse(free)) = ends.pop() else { break };
            let end = free.saturating_add(dice.pick(lengths));
            last = last.max(end);
            ends.push(Reverse(end));
        }
        let whole = i128::from(last) * i128::from(waiting.max(1)) / i128::from(singly.max(1));
        i64::try_from(whole).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(lengths: &[i64], ran: &[i64], waiting: u32, most: usize) -> (i64, i64) {
        let found = draws(lengths, ran, waiting, most);
        (drawn::tenths(&found, 5), drawn::tenths(&found, 9))
    }

    #[test]
    fn it_takes_as_long_as_its_runs_one_after_the_other_in_the_room_that_they_have() {
        assert_eq!(spread(&[10], &[4], 0, 2), (6, 6), "what is left of the last one");
        assert_eq!(spread(&[10], &[4], 3, 1), (36, 36), "one after the other");
        assert_eq!(spread(&[10], &[4, 9], 3, 2), (21, 21), "two at once: 1, 6, then 11, 16, 21");
        assert_eq!(spread(&[10], &[], 100, 10), (100, 100));
        assert_eq!(spread(&[10], &[], 10_000, 10), (10_000, 10_000), "more than are drawn");
        let (p50, p90) = spread(&[10, 10, 10, 10, 100], &[], 1, 1);
        assert!(p50 == 10 && p90 == 100, "{p50} {p90}");
    }
}
