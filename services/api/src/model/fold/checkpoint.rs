//! What facts about checkpoints and progress change: the task's row, and its newest try's.
use dagbok_events::{CheckpointDropped, CheckpointKept, Fact, MapIndex, TaskId, TryProgressed};

use super::{
    Context,
    counted::{change, known_run},
    task::{Done, change_try},
};
use crate::model::{
    Overlay, keys,
    rows::{Progress, TaskRow},
};

pub(super) fn about(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &Fact) -> Done {
    match fact {
        Fact::CheckpointKept(fact) => kept(rows, context, fact),
        Fact::CheckpointDropped(fact) => dropped(rows, context, fact),
        Fact::TryProgressed(fact) => progressed(rows, context, fact),
        _ => Ok(()),
    }
}

fn kept(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &CheckpointKept) -> Done {
    change(rows, context, &fact.task_id, fact.map_index, |row| {
        row.checkpoint.get_or_insert_default().take_in(fact);
    })
}

fn dropped(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &CheckpointDropped) -> Done {
    change(rows, context, &fact.task_id, fact.map_index, |row| row.checkpoint = None)
}

/// A task that is done well, or that skips itself, needs none any more.
pub(super) fn of_done(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    task_id: &TaskId,
    map_index: MapIndex,
) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let row = rows.edit::<TaskRow>(keys::task((run, task_id, map_index)))?;
    if row.as_ref().is_none_or(|row| row.checkpoint.is_none()) {
        return Ok(());
    }
    change(rows, context, task_id, map_index, |row| row.checkpoint = None)
}

fn progressed(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TryProgressed) -> Done {
    let TryProgressed { task_id, map_index, try_number, leg: _, done, text, said_at } = fact;
    change_try(rows, context, task_id, *map_index, *try_number, |attempt| {
        let (done, text, said_at) = (*done, text.clone(), *said_at);
        attempt.progress = Some(Box::new(Progress { done, text, said_at }));
    })
}
