//! A task's row, and whatever counts it: the run's tasks by state, the pool's slots, the executor's tries.
use dagbok_events::{ExecutorId, MapIndex, PoolName, RunKey, TaskId};
use dagbok_protocol::limits::FAILED_NAMED;

use super::{Context, task::Done};
use crate::model::{
    Overlay, StoreError, keys,
    rows::{LoadRow, PoolRow, RunRow, STRIP, StripRow, TaskInstanceState, TaskRow},
};

/// The record's run, where it was made: facts about others are passed over.
pub(super) fn known_run<'a>(
    rows: &mut Overlay<'_>,
    context: &Context<'a>,
) -> Result<Option<&'a RunKey>, StoreError> {
    let Some(run) = context.run() else { return Ok(None) };
    Ok(rows.peek::<RunRow>(keys::run(run))?.is_some().then_some(run))
}

/// Changes a task's row and whatever counts it.
pub(super) fn change(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    task_id: &TaskId,
    map_index: MapIndex,
    change_it: impl FnOnce(&mut TaskRow),
) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let place = rows.edit::<TaskRow>(keys::task((run, task_id, map_index)))?;
    let before = place.as_ref().map(Share::of);
    let mut row = place.take().unwrap_or_else(|| TaskRow {
        task_id: task_id.clone(),
        map_index,
        state: TaskInstanceState::Scheduled,
        attempt: None,
        ruled_out_at: None,
        message: None,
        name: None,
        note: None,
        checkpoint: None,
        xcoms: Vec::new(),
        last_seq: context.seq,
    });
    change_it(&mut row);
    row.last_seq = context.seq;
    let after = Share::of(&row);
    *place = Some(row);
    if before.as_ref().map(|before| before.state) != Some(after.state) {
        mark(rows, run, (task_id, map_index), after.state)?;
    }
    if let Some(before) = before {
        if before == after {
            return Ok(());
        }
        before.count(rows, context, (task_id, map_index), Move::Out)?;
    }
    after.count(rows, context, (task_id, map_index), Move::In)
}

/// Notes the state of a mapped task's copy beside those of the others.
fn mark(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    (task_id, map_index): (&TaskId, MapIndex),
    state: TaskInstanceState,
) -> Done {
    let Ok(copy) = u32::try_from(map_index.0) else { return Ok(()) };
    let strip = rows.edit::<StripRow>(keys::strip(run, task_id, copy / STRIP))?;
    let StripRow(marks) = strip.get_or_insert_default();
    let place = (copy % STRIP) as usize;
    if marks.len() <= place {
        marks.resize(place + 1, 0);
    }
    marks[place] = state.mark();
    Ok(())
}

/// Forgets a task of a run, one copy of it, and takes it out of whatever counts it.
pub(super) fn forget(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    (run, task_id, map_index): keys::Instance<'_>,
) -> Done {
    let key = keys::task((run, task_id, map_index));
    if rows.peek::<TaskRow>(key.clone())?.is_none() {
        return Ok(());
    }
    let gone = rows.edit::<TaskRow>(key)?.take();
    let share = gone.as_ref().map(Share::of);
    share.map_or(Ok(()), |share| share.count(rows, context, (task_id, map_index), Move::Out))
}

/// Forgets every task of a run, and takes it out of whatever counts it.
pub(super) fn forget_all(rows: &mut Overlay<'_>, context: &Context<'_>, run: &RunKey) -> Done {
    for key in rows.keys_within::<TaskRow>(&keys::within_run::<TaskRow>(run))? {
        if let Some(row) = rows.edit::<TaskRow>(key)?.take() {
            let of = (&row.task_id, row.map_index);
            Share::of(&row).count(rows, context, of, Move::Out)?;
        }
    }
    rows.remove_all::<StripRow>(&keys::within_run::<StripRow>(run))
}

/// What one task adds to the counts of others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    state: TaskInstanceState,
    pool: Option<(PoolName, u32)>,
    executor: Option<ExecutorId>,
}

#[derive(Clone, Copy)]
enum Move {
    In,
    Out,
}

impl Move {
    fn apply32(self, count: &mut u32, by: u32) {
        *count = match self {
            Self::In => count.saturating_add(by),
            Self::Out => count.saturating_sub(by),
        };
    }
    fn apply64(self, count: &mut u64, by: u64) {
        *count = match self {
            Self::In => count.saturating_add(by),
            Self::Out => count.saturating_sub(by),
        };
    }
}

impl Share {
    fn of(row: &TaskRow) -> Self {
        let attempt = row.attempt.as_ref().filter(|_| row.state.counts_slots());
        Self {
            state: row.state,
            pool: attempt.map(|attempt| (attempt.pool.clone(), attempt.pool_slots)),
            executor: attempt
                .filter(|_| row.state == TaskInstanceState::Running)
                .and_then(|attempt| attempt.executor.clone()),
        }
    }

    fn count(
        &self,
        rows: &mut Overlay<'_>,
        context: &Context<'_>,
        (task_id, map_index): (&TaskId, MapIndex),
        step: Move,
    ) -> Done {
        if let Some(run) = context.run()
            && let Some(row) = rows.edit::<RunRow>(keys::run(run))?
        {
            step.apply32(row.counts.entry(self.state).or_default(), 1);
            row.counts.retain(|_, count| *count > 0);
            if self.state == TaskInstanceState::Failed {
                row.failed.retain(|(id, map)| (id, *map) != (task_id, map_index));
                if matches!(step, Move::In) && row.failed.len() < FAILED_NAMED {
                    row.failed.push((task_id.clone(), map_index));
                }
            }
        }
        if let Some((pool, slots)) = &self.pool {
            let row = rows.edit::<PoolRow>(keys::pool(pool))?.get_or_insert_default();
            let held = match self.state {
                TaskInstanceState::Running => &mut row.running,
                TaskInstanceState::Deferred => &mut row.deferred,
                _ => &mut row.queued,
            };
            step.apply64(held, u64::from(*slots));
        }
        if let Some(executor) = &self.executor {
            let row = rows.edit::<LoadRow>(keys::load(executor))?.get_or_insert_default();
            step.apply32(&mut row.running, 1);
        }
        Ok(())
    }
}
