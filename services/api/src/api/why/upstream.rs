//! When a task that waits for others is expected to begin: by how long tries of all that is before it took, and of
//! what runs already, by how much longer it took.
//!
//! Each draw gives every task before it that is not done one of the lengths that it had, and lets each begin when all
//! that it waits for has ended. Room that is short is not foretold, so that this is the earliest that is likely.
use dagbok_events::{MapIndex, RunKey, TaskId, Timestamp, TriggerRule};
use dagbok_protocol::WhyAsk;

use super::expected::lengths_of;
use crate::{
    api::{drawn, errors::ApiError},
    model::{
        Store,
        rows::{RunRow, TaskInstanceState, VersionRow},
    },
    shapes::{WhyAnswer, WhyExpected},
};

/// With more before it that is not done than these nothing is foretold.
const MOST_BEFORE: usize = 200;

/// Of a task before the one that waits, in a draw.
#[derive(Debug)]
struct Before {
    /// Its place in the DAG's meaning.
    place: usize,
    /// Those of the same list that it waits for.
    upstream: Vec<usize>,
    /// Whether one of them is enough.
    any: bool,
    /// How long it may still take, once it has begun.
    lengths: Vec<i64>,
}

/// When what was asked about is expected to begin; `None` where nothing tells.
pub(super) fn of(
    store: &Store,
    ask: &WhyAsk,
    told: &WhyAnswer,
) -> Result<Option<WhyExpected>, ApiError> {
    let [reason] = &told.is.reasons[..] else { return Ok(None) };
    let (Some(run_id), Some(task_id)) = (&ask.run_id, &ask.task_id) else { return Ok(None) };
    if reason.kind != "upstream" {
        return Ok(None);
    }
    let key = RunKey { dag_id: ask.dag_id.clone(), run_id: run_id.clone() };
    let Some(run) = store.run(&key)? else { return Ok(None) };
    let version = store.version_shared(&run.dag_id, run.version)?;
    let Some(version) = version else { return Ok(None) };
    let now = told.at.0;
    let Some(before) = all_before(store, &run, &version, task_id, now)? else { return Ok(None) };
    // The last of them is the task itself.
    let of = before.iter().rev().skip(1).map(|it| it.lengths.len()).sum::<usize>();
    Ok(Some(drawn::expected(&draws(&before), now, of)))
}

/// What is before a task and not done, in the DAG's order, and at the end the task itself; `None` where one of those
/// has no history, stands as only a time tells, or has copies.
fn all_before(
    store: &Store,
    run: &RunRow,
    version: &VersionRow,
    task_id: &TaskId,
    now: Timestamp,
) -> Result<Option<Vec<Before>>, ApiError> {
    let tasks = &version.spec.tasks;
    let Some(own) = tasks.iter().position(|task| task.task_id == *task_id) else { return Ok(None) };
    let up = |place: usize| tasks[place].upstream.iter().filter_map(|it| usize::try_from(*it).ok());
    let (mut found, mut next) = (std::collections::BTreeSet::new(), vec![own]);
    let mut states = std::collections::BTreeMap::new();
    while let Some(place) = next.pop() {
        for before in up(place).filter(|it| *it < tasks.len()) {
            if states.contains_key(&before) {
                continue;
            }
            let Some(stands) = standing(store, run, &tasks[before].task_id)? else {
                return Ok(None);
            };
            states.insert(before, stands);
            if stands != Stands::Done {
                found.insert(before);
                next.push(before);
            }
        }
        if found.len() > MOST_BEFORE {
            return Ok(None);
        }
    }
    let mut all: Vec<Before> = Vec::new();
    for place in found.into_iter().chain([own]) {
        let task = &tasks[place];
        let upstream = up(place).filter_map(|it| all.iter().position(|one| one.place == it));
        let (upstream, any) = (upstream.collect(), is_any(task.trigger_rule));
        let mut lengths = vec![0];
        if place != own {
            lengths = lengths_of(store, &run.dag_id, &task.task_id, MapIndex::UNMAPPED)?;
            if let Some(Stands::Running(since)) = states.get(&place) {
                lengths = drawn::still(&lengths, now.since(*since).0.max(0));
            }
            if lengths.is_empty() {
                return Ok(None);
            }
        }
        all.push(Before { place, upstream, any, lengths });
    }
    Ok(Some(all))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Done,
    Running(Timestamp),
    ToCome,
}

/// How a task stands; `None` where more than one copy of it does, or only a time tells.
fn standing(store: &Store, run: &RunRow, task_id: &TaskId) -> Result<Option<Stands>, ApiError> {
    use TaskInstanceState as State;
    let key = run.key();
    if run.expanded.contains_key(task_id) {
        let count = run.expanded.get(task_id).copied().unwrap_or(0) as usize;
        let marks = store.marks(&key, task_id)?;
        let over = |mark: &u8| State::ALL.iter().any(|it| it.is_over() && it.mark() == *mark);
        let done = marks.len() >= count && marks[..count].iter().all(over);
        return Ok(done.then_some(Stands::Done));
    }
    let Some(row) = store.task(&key, task_id, MapIndex::UNMAPPED)? else {
        return Ok(Some(Stands::ToCome));
    };
    Ok(match row.state {
        it if it.is_over() => Some(Stands::Done),
        State::Running => {
            let since = row.attempt.and_then(|attempt| attempt.started_at);
            since.map(Stands::Running)
        }
        State::UpForRetry | State::UpForReschedule => None,
        _ => Some(Stands::ToCome),
    })
}

/// Whether one task before it lets it begin.
const fn is_any(rule: TriggerRule) -> bool {
    matches!(rule, TriggerRule::OneSuccess | TriggerRule::OneFailed | TriggerRule::OneDone)
}

/// How long it takes until the last of these begins, in each draw.
fn draws(all: &[Before]) -> Vec<i64> {
    drawn::draws(|dice| {
        let mut ends: Vec<i64> = Vec::with_capacity(all.len());
        for it in all {
            let above = it.upstream.iter().map(|up| ends[*up]);
            let begins = if it.any { above.min() } else { above.max() };
            ends.push(begins.unwrap_or(0) + dice.pick(&it.lengths));
        }
        ends.last().copied().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(all: &[(&[usize], bool, &[i64])]) -> (i64, i64) {
        let all = all.iter().enumerate().map(|(place, (upstream, any, lengths))| Before {
            place,
            upstream: upstream.to_vec(),
            any: *any,
            lengths: lengths.to_vec(),
        });
        let found = draws(&all.collect::<Vec<_>>());
        (drawn::tenths(&found, 5), drawn::tenths(&found, 9))
    }

    #[test]
    fn what_is_further_down_is_expected_later() {
        let own: &[i64] = &[0];
        assert_eq!(spread(&[(&[], false, &[7]), (&[0], false, own)]), (7, 7));
        let chain: &[(&[usize], bool, &[i64])] =
            &[(&[], false, &[7]), (&[0], false, &[5]), (&[1], false, own)];
        assert_eq!(spread(chain), (12, 12), "one after the other");
        let side: &[(&[usize], bool, &[i64])] =
            &[(&[], false, &[7]), (&[], false, &[5]), (&[0, 1], false, own)];
        assert_eq!(spread(side), (7, 7), "the longer of two");
        let any: &[(&[usize], bool, &[i64])] =
            &[(&[], false, &[7]), (&[], false, &[5]), (&[0, 1], true, own)];
        assert_eq!(spread(any), (5, 5), "the shorter, where one is enough");
        let (p50, p90) = spread(&[(&[], false, &[1, 1, 1, 1, 9]), (&[0], false, own)]);
        assert!(p50 == 1 && p90 == 9, "{p50} {p90}");
    }
}
