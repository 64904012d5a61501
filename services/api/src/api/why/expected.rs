//! When something is expected to go on: at the time that is set, or by how long tries of those that are in its way
//! took before.
//!
//! Each draw gives every holder one of the lengths that tries of its task had, longer than it has run already, and
//! lets who stands before take what gets free first.
use std::{cmp::Reverse, collections::BinaryHeap};

use dagbok_events::{DagId, MapIndex, TaskId, Timestamp};

use crate::{
    api::{drawn, errors::ApiError},
    model::{
        Store,
        lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::{RunState, TaskInstanceState},
    },
    shapes::{DateTime, WhyAnswer, WhyExpected, WhyReason},
};

/// Runs of a DAG that are looked at.
const RUNS: usize = 20;
/// With more before it than these nothing is foretold.
const MOST_BEFORE: u32 = 200;

/// When what was asked about is expected to go on; `None` where nothing tells, and where several things keep it.
pub(super) fn of(store: &Store, told: &WhyAnswer) -> Result<Option<WhyExpected>, ApiError> {
    let [reason] = &told.is.reasons[..] else { return Ok(None) };
    if let Some(DateTime(until)) = reason.until {
        return Ok(Some(WhyExpected { p50: until.into(), p90: until.into(), of: 0 }));
    }
    let in_line = matches!(
        reason.kind.as_str(),
        "pool"
            | "parallelism"
            | "max_active_tasks"
            | "max_active_tis_per_dag"
            | "max_active_tis_per_dagrun"
    );
    let before = told.place.as_ref().map_or(0, |place| place.before);
    if !in_line || reason.more > 0 || reason.holders.is_empty() || before > MOST_BEFORE {
        return Ok(None);
    }
    let now = told.at.0;
    let Some(holders) = holders_of(store, reason, now)? else { return Ok(None) };
    let of = holders.iter().map(|(lengths, _)| lengths.len()).sum::<usize>();
    Ok(Some(drawn::expected(&draws(&holders, before), now, of)))
}

/// How long tries of a holder's task took, and how long it has run; in microseconds.
type Held = (Vec<i64>, i64);

/// Of each holder how long tries of its task took, and how long it has run; `None` where one has no history.
fn holders_of(
    store: &Store,
    reason: &WhyReason,
    now: Timestamp,
) -> Result<Option<Vec<Held>>, ApiError> {
    let mut found = Vec::new();
    for holder in &reason.holders {
        let (Ok(dag_id), Ok(task_id)) =
            (DagId::new(holder.dag_id.as_str()), TaskId::new(holder.task_id.as_str()))
        else {
            return Ok(None);
        };
        let lengths = lengths_of(store, &dag_id, &task_id, MapIndex(holder.map_index))?;
        if lengths.is_empty() {
            return Ok(None);
        }
        let ran = holder.since.map_or(0, |DateTime(since)| now.since(since).0.max(0));
        found.push((lengths, ran));
    }
    Ok(Some(found))
}

/// How long tries of a task took that succeeded, in the newest runs of its DAG that are over.
pub(super) fn lengths_of(
    store: &Store,
    dag_id: &DagId,
    task_id: &TaskId,
    map_index: MapIndex,
) -> Result<Vec<i64>, ApiError> {
    let ask = RunAsk {
        states: vec![RunState::Success, RunState::Failed],
        orders: vec![RunOrder { by: RunBy::Field(RunField::Id), down: true }],
        take: RUNS,
        ..RunAsk::all(Scope::Dags(vec![dag_id.clone()]))
    };
    let mut lengths = Vec::new();
    for run in store.list_runs(&ask, None)?.page {
        let row = store.task(&run.key(), task_id, map_index)?;
        let row = row.filter(|row| row.state == TaskInstanceState::Success);
        let attempt = row.and_then(|row| row.attempt);
        let length = attempt.and_then(|it| Some(it.ended_at?.since(it.started_at?).0.max(0)));
        lengths.extend(length);
    }
    Ok(lengths)
}

/// How long it takes until the one behind `before` others gets what is held, in each draw.
fn draws(holders: &[(Vec<i64>, i64)], before: u32) -> Vec<i64> {
    let longer: Vec<Vec<i64>> =
        holders.iter().map(|(lengths, ran)| drawn::still(lengths, *ran)).collect();
    let all: Vec<i64> = holders.iter().flat_map(|(lengths, _)| lengths.iter().copied()).collect();
    drawn::draws(|dice| {
        let mut ends: BinaryHeap<Reverse<i64>> =
            longer.iter().map(|lengths| Reverse(dice.pick(lengths))).collect();
        for _ in 0..before {
            let Some(Reverse(free)) = ends.pop() else { break };
            ends.push(Reverse(free + dice.pick(&all)));
        }
        ends.peek().map_or(0, |Reverse(free)| *free)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(holders: &[(Vec<i64>, i64)], before: u32) -> (i64, i64) {
        let found = draws(holders, before);
        (drawn::tenths(&found, 5), drawn::tenths(&found, 9))
    }

    #[test]
    fn who_stands_further_back_is_expected_later() {
        assert_eq!(spread(&[(vec![10], 4)], 0), (6, 6), "what is left of it");
        assert_eq!(spread(&[(vec![10], 4)], 2), (26, 26), "and two more after it");
        assert_eq!(spread(&[(vec![10], 4), (vec![10], 9)], 1), (6, 6), "two slots, two at once");
        let (p50, p90) = spread(&[(vec![10, 10, 10, 10, 100], 0)], 0);
        assert!(p50 == 10 && p90 == 100, "{p50} {p90}");
        assert_eq!(spread(&[(vec![10], 30)], 0), (30, 30), "longer than it ever took");
    }
}
