//! Tries that wait for a trigger: the log of the leg before, and the trigger's own, are kept with the others.
use dagbok_events::{
    Fact, HitlAnswered, HitlAsk, LogRef, TriggerFailed, TriggerFired, TryDeferred,
};

use super::{
    Context,
    task::{Done, LEGS_KEPT, change_try},
};
use crate::model::{
    Overlay, keys,
    rows::{HitlOpenRow, HitlRow, TaskInstanceState, TryRow},
};

/// Folds a fact of a try that waits for a trigger, or of the trigger.
pub(super) fn fold(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &Fact) -> Done {
    match fact {
        Fact::TryDeferred(fact) => deferred(rows, context, fact),
        Fact::TriggerFired(fact) => fired(rows, context, fact),
        Fact::TriggerFailed(fact) => failed(rows, context, fact),
        Fact::HitlAnswered(fact) => answered(rows, context, fact),
        _ => Ok(()),
    }
}

fn deferred(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryDeferred) -> Done {
    let TryDeferred { task_id, map_index, try_number, leg, ended_at, usage, log, .. } = fact;
    asked(rows, context, fact);
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        attempt.state = TaskInstanceState::Deferred;
        (attempt.leg, attempt.retry_at) = (*leg, fact.timeout_at);
        (attempt.ended_at, attempt.usage) = (Some(*ended_at), Some(*usage));
        attempt.log.clone_from(log);
    })
}

/// A task that asks people: what, and that nobody has answered yet.
fn asked(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryDeferred) {
    let (Some(run), Some(ask)) = (context.run(), &fact.ask) else { return };
    let of = (run, &fact.task_id, fact.map_index);
    let row = HitlRow {
        run: run.clone(),
        task_id: fact.task_id.clone(),
        map_index: fact.map_index,
        try_number: fact.try_number,
        ask: HitlAsk::clone(ask),
        created_at: context.at,
        timeout_at: fact.timeout_at,
        answer: None,
    };
    let open = HitlOpenRow {
        run: run.clone(),
        task_id: fact.task_id.clone(),
        map_index: fact.map_index,
        try_number: fact.try_number,
    };
    rows.put(keys::hitl(of, fact.try_number), Some(row));
    rows.put(keys::hitl_open(of), Some(open));
}

fn answered(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &HitlAnswered) -> Done {
    let Some(run) = context.run() else { return Ok(()) };
    let of = (run, &fact.task_id, fact.map_index);
    if let Some(row) = rows.edit::<HitlRow>(keys::hitl(of, fact.try_number))? {
        row.answer = Some(fact.clone());
    }
    rows.put::<HitlOpenRow>(keys::hitl_open(of), None);
    change_try(rows, context, &fact.task_id, fact.map_index, fact.try_number, |attempt| {
        goes_on(attempt, None);
    })
}

fn fired(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TriggerFired) -> Done {
    let TriggerFired { task_id, map_index, try_number, log, .. } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        goes_on(attempt, log.as_ref());
    })
}

fn failed(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TriggerFailed) -> Done {
    let TriggerFailed { task_id, map_index, try_number, log, .. } = fact;
    if let Some(run) = context.run() {
        rows.put::<HitlOpenRow>(keys::hitl_open((run, task_id, *map_index)), None);
    }
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        goes_on(attempt, log.as_ref());
    })
}

fn goes_on(attempt: &mut TryRow, log: Option<&LogRef>) {
    attempt.state = TaskInstanceState::Scheduled;
    // Nobody has it until it is offered again.
    (attempt.retry_at, attempt.executor) = (None, None);
    attempt.legs.extend(attempt.log.take());
    attempt.legs.extend(log.cloned());
    let surplus = attempt.legs.len().saturating_sub(LEGS_KEPT);
    attempt.legs.drain(..surplus);
}
