//! Callbacks: a call of a DAG's is kept as a try of no task, so that its log is read and forgotten as theirs are; one of
//! a task that fails is said with its try.
use dagbok_events::{
    DagCallbackOrdered, Fact, Leg, LogRef, MapIndex, RunKey, TaskCallbackFailed, TaskId, Timestamp,
    TryNumber,
};
use dagbok_protocol::names::DAG_CALLBACK;

use super::{
    Context,
    counted::{change, known_run},
    task::{Done, LEGS_KEPT, fresh},
};
use crate::model::{
    Overlay, keys,
    rows::{FailedCallback, PastTryRow, TaskInstanceState, TryEnd, TryRow},
};

/// Failures of callbacks that are said with one try.
const FAILURES_KEPT: usize = 10;

/// What stands in place of a task's id where a DAG's callback is kept.
pub(crate) fn of_dag() -> TaskId {
    TaskId::new(DAG_CALLBACK).expect("a constant within the rules")
}

/// Folds a fact about a callback.
pub(super) fn about(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &Fact) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    match fact {
        Fact::DagCallbackOrdered(f) => ordered(rows, context, run, f),
        Fact::DagCallbackStarted(f) => call(rows, run, f.number, |row| {
            row.state = TaskInstanceState::Running;
            row.started_at = Some(context.at);
            row.executor = Some(f.executor.clone());
            (row.hostname, row.pid) = (Some(f.hostname.clone()), Some(f.pid));
        }),
        Fact::DagCallbackSucceeded(f) => call(rows, run, f.number, |row| {
            end(row, TaskInstanceState::Success, context.at, TryEnd::Succeeded);
            row.usage = Some(f.usage);
            row.log.clone_from(&f.log);
        }),
        Fact::DagCallbackFailed(f) => call(rows, run, f.number, |row| {
            let failure = Box::new(f.failure.clone());
            end(row, TaskInstanceState::Failed, context.at, TryEnd::Failed(failure));
            row.usage = Some(f.usage);
            row.log = f.log.clone().or_else(|| row.log.take());
        }),
        Fact::DagCallbackLost(f) => call(rows, run, f.number, |row| {
            row.state = TaskInstanceState::UpForRetry;
            row.log = f.log.clone().or_else(|| row.log.take());
        }),
        Fact::TaskCallbackFailed(f) => failed(rows, context, f),
        // It stays on offer.
        _ => Ok(()),
    }
}

/// Another attempt goes on in the same row, with the log of the one before.
fn ordered(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    run: &RunKey,
    fact: &DagCallbackOrdered,
) -> Done {
    let Some(number) = TryNumber::new(fact.number) else { return Ok(()) };
    let task_id = of_dag();
    let key = keys::past_try((run, &task_id, MapIndex::UNMAPPED), number);
    let (mut before, mut legs): (Option<LogRef>, Vec<LogRef>) = (None, Vec::new());
    if let Some(PastTryRow(row)) = rows.edit::<PastTryRow>(key.clone())? {
        (before, legs) = (row.log.take(), std::mem::take(&mut row.legs));
    }
    legs.extend(before);
    let surplus = legs.len().saturating_sub(LEGS_KEPT);
    legs.drain(..surplus);
    let row = TryRow {
        queue: fact.queue.clone(),
        leg: fact.attempt,
        legs,
        dag_callback: Some(Box::new(fact.clone())),
        ..fresh(number, context)
    };
    rows.put(key, Some(PastTryRow(row)));
    Ok(())
}

fn call(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    number: u16,
    change_it: impl FnOnce(&mut TryRow),
) -> Done {
    let Some(number) = TryNumber::new(number) else { return Ok(()) };
    let task_id = of_dag();
    let key = keys::past_try((run, &task_id, MapIndex::UNMAPPED), number);
    if let Some(PastTryRow(row)) = rows.edit::<PastTryRow>(key)? {
        change_it(row);
    }
    Ok(())
}

fn end(row: &mut TryRow, state: TaskInstanceState, at: Timestamp, end: TryEnd) {
    row.state = state;
    (row.ended_at, row.end) = (Some(at), Some(end));
}

fn failed(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskCallbackFailed) -> Done {
    let TaskCallbackFailed { task_id, map_index, try_number, leg: Leg(_), callback, message } =
        fact;
    change(rows, context, task_id, *map_index, |row| {
        let Some(attempt) = row.attempt.as_mut().filter(|it| it.number == *try_number) else {
            return;
        };
        let (callback, message) = (callback.clone(), message.clone());
        attempt.failed_callbacks.push(FailedCallback { callback, message });
        let surplus = attempt.failed_callbacks.len().saturating_sub(FAILURES_KEPT);
        attempt.failed_callbacks.drain(..surplus);
    })
}
