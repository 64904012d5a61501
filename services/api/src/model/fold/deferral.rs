//! Tries that wait for a trigger: the log of the leg before, and the trigger's own, are kept with the others.
use dagbok_events::{Fact, LogRef, TriggerFailed, TriggerFired, TryDeferred};

use super::{
    Context,
    task::{Done, LEGS_KEPT, change_try},
};
use crate::model::{
    Overlay,
    rows::{TaskInstanceState, TryRow},
};

/// Folds a fact of a try that waits for a trigger, or of the trigger.
pub(super) fn fold(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &Fact) -> Done {
    match fact {
        Fact::TryDeferred(fact) => deferred(rows, context, fact),
        Fact::TriggerFired(fact) => fired(rows, context, fact),
        Fact::TriggerFailed(fact) => failed(rows, context, fact),
        _ => Ok(()),
    }
}

fn deferred(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryDeferred) -> Done {
    let TryDeferred { task_id, map_index, try_number, leg, ended_at, usage, log, .. } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        attempt.state = TaskInstanceState::Deferred;
        (attempt.leg, attempt.retry_at) = (*leg, fact.timeout_at);
        (attempt.ended_at, attempt.usage) = (Some(*ended_at), Some(*usage));
        attempt.log.clone_from(log);
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
