//! What facts about tasks and tries change: the task's row and its tries.
use dagbok_events::{
    Actor, Fact, ForeignReport, Leg, MapIndex, Payload, PoolName, QueueName, ReportRefused,
    RuledOut, TaskCleared, TaskId, TaskMark, TaskMarked, TaskNoted, TaskQueued, TaskRuledOut,
    Timestamp, TryCancelled, TryFailed, TryLost, TryNamed, TryNumber, TryRescheduled, TryReturned,
    TrySkipped, TryStarted, TrySucceeded, XComPushed,
};

use super::{
    Context,
    counted::{change, known_run},
};
use crate::model::{
    Overlay, StoreError, keys,
    rows::{Handed, PastTryRow, RunRow, TaskInstanceState, TaskRow, TryEnd, TryRow, XComRow},
};

pub(super) type Done = Result<(), StoreError>;

pub(super) fn queued(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskQueued) -> Done {
    let TaskQueued { task_id, map_index, try_number, leg, pool, pool_slots, queue } = fact;
    let next = TryRow {
        pool: pool.clone(),
        pool_slots: *pool_slots,
        queue: queue.clone(),
        ..fresh(*try_number, context)
    };
    let mut forgotten = Vec::new();
    let mut past = None;
    change(rows, context, task_id, *map_index, |row| {
        row.state = TaskInstanceState::Queued;
        (row.ruled_out_at, row.message) = (None, None);
        if let Some(attempt) = &mut row.attempt
            && attempt.number == *try_number
            && !leg.is_first()
        {
            next_leg(attempt, *leg, context);
            return;
        }
        let spared = row.attempt.as_ref().map_or(0, TryRow::spared_with_it);
        let next = TryRow { spared, ..next };
        past = row.attempt.replace(next).filter(|last| last.number != *try_number);
        // As in Airflow a new try begins without what the last one handed on.
        forgotten = std::mem::take(&mut row.xcoms);
    })?;
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let instance = (run, task_id, *map_index);
    if let Some(past) = past {
        rows.put(keys::past_try(instance, past.number), Some(PastTryRow(past)));
    }
    for handed in forgotten {
        if let Handed::Apart(name) = handed {
            rows.put::<XComRow>(keys::xcom(instance, &name), None);
        }
    }
    Ok(())
}

pub(super) fn ruled_out(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &TaskRuledOut,
) -> Done {
    for map_index in copies(rows, context, &fact.task_id, (fact.map_index, fact.further))? {
        change(rows, context, &fact.task_id, map_index, |row| {
            row.state = match fact.why {
                RuledOut::Skipped => TaskInstanceState::Skipped,
                RuledOut::UpstreamFailed => TaskInstanceState::UpstreamFailed,
                RuledOut::Removed | RuledOut::OutOfDates => TaskInstanceState::Removed,
            };
            row.ruled_out_at = Some(context.at);
            row.message.clone_from(&fact.message);
        })?;
    }
    Ok(())
}

/// The copies that a fact names which says the same of further ones: no more than the task has.
fn copies(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    task_id: &TaskId,
    (first, further): (MapIndex, u32),
) -> Result<impl Iterator<Item = MapIndex> + use<>, StoreError> {
    let most = match context.run() {
        Some(run) => rows
            .peek::<RunRow>(keys::run(run))?
            .and_then(|row| row.expanded.get(task_id).copied())
            .unwrap_or(0),
        None => 0,
    };
    Ok((0..=further.min(most)).map(move |n| MapIndex(first.0.saturating_add_unsigned(n))))
}

/// What somebody says of tasks, or lets run again.
pub(super) fn by_hand(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &Fact) -> Done {
    match fact {
        Fact::TaskCleared(fact) => cleared(rows, context, fact),
        Fact::TaskMarked(fact) => marked(rows, context, fact),
        Fact::TaskNoted(fact) => noted(rows, context, fact),
        _ => Ok(()),
    }
}

/// A task that is to run again keeps the try that it had until the next one is offered.
fn cleared(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskCleared) -> Done {
    for map_index in copies(rows, context, &fact.task_id, (fact.map_index, fact.further))? {
        let mut forgotten = Vec::new();
        change(rows, context, &fact.task_id, map_index, |row| {
            row.state = TaskInstanceState::Cleared;
            (row.ruled_out_at, row.message) = (None, None);
            forgotten = std::mem::take(&mut row.xcoms);
        })?;
        let Some(run) = known_run(rows, context)? else { return Ok(()) };
        for handed in forgotten {
            if let Handed::Apart(name) = handed {
                rows.put::<XComRow>(keys::xcom((run, &fact.task_id, map_index), &name), None);
            }
        }
    }
    Ok(())
}

/// A task that stands as somebody says: its tries stay as they ended.
fn marked(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskMarked) -> Done {
    for map_index in copies(rows, context, &fact.task_id, (fact.map_index, fact.further))? {
        change(rows, context, &fact.task_id, map_index, |row| {
            row.state = match fact.state {
                TaskMark::Success => TaskInstanceState::Success,
                TaskMark::Failed => TaskInstanceState::Failed,
                TaskMark::Skipped => TaskInstanceState::Skipped,
            };
            row.ruled_out_at = row.attempt.is_none().then_some(context.at);
            row.checkpoint = None;
            row.message = Some(marked_by(context, row.state.word()));
        })?;
    }
    Ok(())
}

/// A task has another note; one that has not begun has a row from then on, without a state.
fn noted(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskNoted) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let known = rows.peek::<TaskRow>(keys::task((run, &fact.task_id, fact.map_index)))?.is_some();
    change(rows, context, &fact.task_id, fact.map_index, |row| {
        if !known {
            row.state = TaskInstanceState::Cleared;
        }
        row.note.clone_from(&fact.note);
    })
}

fn marked_by(context: &Context<'_>, state: &str) -> String {
    let by = match context.by {
        Actor::User(name) | Actor::Token(name) => format!(" by {name}"),
        _ => String::new(),
    };
    let why = context.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("marked as {state}{by}{why}")
}

pub(super) fn started(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryStarted) -> Done {
    let TryStarted {
        task_id,
        map_index,
        try_number,
        leg: _,
        executor,
        hostname,
        pid,
        started_at,
        inputs,
    } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        attempt.state = TaskInstanceState::Running;
        attempt.executor = Some(executor.clone());
        attempt.hostname = Some(hostname.clone());
        attempt.pid = Some(*pid);
        attempt.started_at.get_or_insert(*started_at);
        attempt.inputs.clone_from(inputs);
    })?;
    if let Some(run) = context.run()
        && let Some(row) = rows.edit::<RunRow>(keys::run(run))?
    {
        row.latest_start = row.latest_start.max(Some(*started_at));
    }
    Ok(())
}

pub(super) fn succeeded(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &TrySucceeded,
) -> Done {
    let TrySucceeded { task_id, map_index, try_number, leg: _, ended_at, usage, log, skips: _ } =
        fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        end(attempt, TaskInstanceState::Success, *ended_at, TryEnd::Succeeded);
        attempt.usage = Some(*usage);
        attempt.log.clone_from(log);
    })
}

pub(super) fn failed(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryFailed) -> Done {
    let TryFailed {
        task_id,
        map_index,
        try_number,
        leg: _,
        ended_at,
        failure,
        retry_at,
        usage,
        log,
    } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        let why = TryEnd::Failed(Box::new(failure.clone()));
        end(attempt, retry_or_failed(*retry_at), *ended_at, why);
        attempt.retry_at = *retry_at;
        attempt.usage = Some(*usage);
        attempt.log.clone_from(log);
    })
}

pub(super) fn skipped(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TrySkipped) -> Done {
    let TrySkipped { task_id, map_index, try_number, leg: _, ended_at, message, usage, log } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        end(attempt, TaskInstanceState::Skipped, *ended_at, TryEnd::Skipped(message.clone()));
        attempt.usage = Some(*usage);
        attempt.log.clone_from(log);
    })
}

pub(super) fn lost(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryLost) -> Done {
    let TryLost { task_id, map_index, try_number, leg: _, executor, why, retry_at, usage, log } =
        fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        end(attempt, retry_or_failed(*retry_at), context.at, TryEnd::Lost(*why));
        attempt.retry_at = *retry_at;
        attempt.usage = *usage;
        attempt.log.clone_from(log);
        if attempt.executor.is_none() {
            attempt.executor.clone_from(executor);
        }
    })
}

pub(super) fn cancelled(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &TryCancelled,
) -> Done {
    change_try(rows, context, &fact.task_id, fact.map_index, fact.try_number, |attempt| {
        let skipped = TaskInstanceState::Skipped;
        let state = if fact.skipped { skipped } else { TaskInstanceState::Failed };
        end(attempt, state, context.at, TryEnd::Cancelled);
    })
}

/// What an executor still says of a try that is over by the log, as one that was cancelled always is
/// before its process is: its claim changes nothing, and what the try used and wrote is kept with it.
pub(super) fn left_behind(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &ReportRefused,
) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let instance = (run, &fact.task_id, fact.map_index);
    let add_to = |attempt: &mut TryRow| {
        let theirs = attempt.executor.as_ref().is_none_or(|executor| *executor == fact.executor);
        if !theirs {
            return;
        }
        if fact.report == ForeignReport::Left {
            attempt.left.clone_from(&fact.log);
        } else if attempt.end.is_some() {
            attempt.executor.get_or_insert_with(|| fact.executor.clone());
            attempt.usage = attempt.usage.or(fact.usage);
            attempt.log = attempt.log.take().or_else(|| fact.log.clone());
        }
    };
    let Some(task) = rows.edit::<TaskRow>(keys::task(instance))? else { return Ok(()) };
    match &mut task.attempt {
        Some(newest) if newest.number == fact.try_number => add_to(newest),
        Some(newest) if newest.number > fact.try_number => {
            let past = rows.edit::<PastTryRow>(keys::past_try(instance, fact.try_number))?;
            if let Some(PastTryRow(past)) = past {
                add_to(past);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A try that goes on later: what its legs wrote is kept, of the last ones at least.
pub(super) fn rescheduled(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &TryRescheduled,
) -> Done {
    let TryRescheduled { task_id, map_index, try_number, leg, ended_at, due, usage, log } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        attempt.state = TaskInstanceState::UpForReschedule;
        attempt.leg = *leg;
        attempt.retry_at = Some(*due);
        attempt.ended_at = Some(*ended_at);
        attempt.usage = Some(*usage);
        attempt.log.clone_from(log);
    })
}

/// The next leg of a try was offered.
fn next_leg(attempt: &mut TryRow, leg: Leg, context: &Context<'_>) {
    attempt.state = TaskInstanceState::Queued;
    attempt.leg = leg;
    (attempt.queued_at, attempt.queued_seq) = (context.at, context.seq);
    (attempt.ended_at, attempt.end, attempt.retry_at) = (None, None, None);
    attempt.legs.extend(attempt.log.take());
    let surplus = attempt.legs.len().saturating_sub(LEGS_KEPT);
    attempt.legs.drain(..surplus);
}

/// Legs of one try whose logs are told of.
pub(super) const LEGS_KEPT: usize = 32;

pub(super) fn returned(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryReturned) -> Done {
    change_try(rows, context, &fact.task_id, fact.map_index, fact.try_number, |attempt| {
        let state = if fact.leg.is_first() {
            TaskInstanceState::UpForRetry
        } else {
            TaskInstanceState::UpForReschedule
        };
        end(attempt, state, context.at, TryEnd::Returned);
        attempt.executor = Some(fact.executor.clone());
        attempt.retry_at = Some(context.at);
    })
}

pub(super) fn xcom_pushed(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &XComPushed,
) -> Done {
    let XComPushed { task_id, map_index, try_number, leg: _, key, value, length: _ } = fact;
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let instance = (run, task_id, *map_index);
    let Some(row) = rows.edit::<TaskRow>(keys::task(instance))? else { return Ok(()) };
    let place = row.xcoms.binary_search_by(|handed| handed.name().cmp(key));
    let last = match place {
        Ok(at) => Some(row.xcoms.remove(at)),
        Err(_) => None,
    };
    let (Ok(at) | Err(at)) = place;
    let mut apart = None;
    if let Some(value) = value {
        let (key, value) = (key.clone(), value.clone());
        let handed = XComRow { key, value, try_number: *try_number, at: context.at };
        if is_small(&handed.value) && row.xcoms.len() < SMALL_XCOMS {
            row.xcoms.insert(at, Handed::Small(handed));
        } else {
            row.xcoms.insert(at, Handed::Apart(handed.key.clone()));
            apart = Some(handed);
        }
    }
    if apart.is_some() || matches!(last, Some(Handed::Apart(_))) {
        rows.put(keys::xcom(instance, key), apart);
    }
    Ok(())
}

/// What people call a copy, by the newest try that says so.
pub(super) fn named(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryNamed) -> Done {
    change(rows, context, &fact.task_id, fact.map_index, |row| {
        let newest = row.attempt.as_ref().map(|attempt| attempt.number);
        if newest == Some(fact.try_number) {
            row.name = Some(fact.rendered_map_index.clone());
        }
    })
}

/// Values that a task's row holds; further ones have rows of their own.
const SMALL_XCOMS: usize = 8;
/// The largest value that a task's row holds, in bytes of JSON.
const SMALL_XCOM_BYTES: usize = 256;

fn is_small(value: &Payload) -> bool {
    match value {
        Payload::Inline(text) => text.len() <= SMALL_XCOM_BYTES,
        Payload::Blob { .. } => true,
    }
}

const fn retry_or_failed(retry_at: Option<Timestamp>) -> TaskInstanceState {
    match retry_at {
        Some(_) => TaskInstanceState::UpForRetry,
        None => TaskInstanceState::Failed,
    }
}

fn end(attempt: &mut TryRow, state: TaskInstanceState, at: Timestamp, end: TryEnd) {
    attempt.state = state;
    attempt.ended_at = Some(at);
    attempt.end = Some(end);
}

/// A try that was offered now, or of which nothing earlier is known.
pub(super) fn fresh(number: TryNumber, context: &Context<'_>) -> TryRow {
    TryRow {
        number,
        spared: 0,
        state: TaskInstanceState::Queued,
        pool: PoolName::new("default_pool").expect("a constant within the rules"),
        pool_slots: 1,
        queue: QueueName::new("default").expect("a constant within the rules"),
        queued_at: context.at,
        queued_seq: context.seq,
        started_at: None,
        ended_at: None,
        executor: None,
        hostname: None,
        pid: None,
        end: None,
        retry_at: None,
        usage: None,
        log: None,
        left: None,
        leg: Leg::FIRST,
        legs: Vec::new(),
        inputs: std::collections::BTreeMap::new(),
        failed_callbacks: Vec::new(),
        progress: None,
        dag_callback: None,
    }
}

/// Changes the newest try, and gives the task that try's state. A fact about an older try, which the
/// rules never make, changes nothing; one about a newer begins it.
pub(super) fn change_try(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    task_id: &TaskId,
    map_index: MapIndex,
    number: TryNumber,
    change_it: impl FnOnce(&mut TryRow),
) -> Done {
    let mut latest = None;
    change(rows, context, task_id, map_index, |row| {
        let newest = row.attempt.as_ref().map(|attempt| attempt.number);
        if newest > Some(number) {
            return;
        }
        if newest != Some(number) {
            row.attempt = Some(fresh(number, context));
        }
        if let Some(attempt) = &mut row.attempt {
            change_it(attempt);
            row.state = attempt.state;
            latest = attempt.started_at.max(attempt.ended_at);
        }
    })?;
    if let Some(latest) = latest.filter(|latest| *latest > context.at)
        && let Some(run) = context.run()
        && let Some(row) = rows.edit::<RunRow>(keys::run(run))?
    {
        row.updated_at = row.updated_at.max(latest);
    }
    Ok(())
}
