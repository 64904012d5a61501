//! What facts about backfills change, and what their runs add to them.
use std::collections::BTreeMap;

use dagbok_events::{
    BackfillCreated, BackfillId, BackfillSkipped, DagId, Fact, RunBackfilled, RunCreated, RunType,
    Scope, Timestamp,
};
use dagbok_rows::key::table;

use super::Context;
use crate::model::{
    Overlay, StoreError, keys, lists,
    rows::{
        BackfillEnd, BackfillOfDagRow, BackfillPauseRow, BackfillRow, DagRow, RunInputRow, RunRow,
        RunState,
    },
};

/// What facts about backfills themselves change.
pub(super) fn about(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &Fact,
) -> Result<(), StoreError> {
    match fact {
        Fact::RunBackfilled(fact) => taken(rows, context, fact),
        Fact::BackfillCreated(fact) => created(rows, context, fact),
        Fact::BackfillPaused(fact) => paused(rows, context, fact.backfill_id),
        Fact::BackfillUnpaused(fact) => unpaused(rows, context, fact.backfill_id),
        Fact::BackfillSkipped(fact) => skipped(rows, context, *fact),
        Fact::BackfillCancelled(fact) => over(rows, context, (fact.backfill_id, true)),
        Fact::BackfillCompleted(fact) => over(rows, context, (fact.backfill_id, false)),
        _ => Ok(()),
    }
}

fn created(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &BackfillCreated,
) -> Result<(), StoreError> {
    let Some(dag_id) = context.dag() else { return Ok(()) };
    if rows.peek::<DagRow>(keys::dag(dag_id))?.is_none() {
        return Ok(());
    }
    let BackfillCreated {
        backfill_id,
        from_date,
        to_date,
        runs,
        run_backwards,
        reprocess_behavior,
        max_active_runs,
        conf,
    } = fact;
    let row = BackfillRow {
        backfill_id: *backfill_id,
        dag_id: dag_id.clone(),
        from_date: *from_date,
        to_date: *to_date,
        total: runs.iter().fold(0, |count, it| count.saturating_add(it.count)),
        runs: runs.clone(),
        run_backwards: *run_backwards,
        reprocess_behavior: *reprocess_behavior,
        max_active_runs: *max_active_runs,
        conf: conf.clone(),
        created_by: context.by.clone(),
        reason: context.reason.map(str::to_owned),
        created_at: context.at,
        created_seq: context.seq,
        updated_at: context.at,
        paused: None,
        end: None,
        taken: 0,
        skipped: BTreeMap::new(),
        counts: BTreeMap::new(),
    };
    rows.put(keys::backfill(*backfill_id), Some(row));
    rows.put(keys::backfill_of_dag(dag_id, *backfill_id), Some(BackfillOfDagRow {}));
    Ok(())
}

fn change(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    backfill_id: BackfillId,
    change: impl FnOnce(&mut BackfillRow),
) -> Result<(), StoreError> {
    if let Some(row) = rows.edit::<BackfillRow>(keys::backfill(backfill_id))? {
        row.updated_at = context.at;
        change(row);
    }
    Ok(())
}

fn paused(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    backfill_id: BackfillId,
) -> Result<(), StoreError> {
    let reason = context.reason.map(str::to_owned);
    let pause = BackfillPauseRow { by: context.by.clone(), at: context.at, reason };
    change(rows, context, backfill_id, |row| row.paused = Some(pause))
}

fn unpaused(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    backfill_id: BackfillId,
) -> Result<(), StoreError> {
    change(rows, context, backfill_id, |row| row.paused = None)
}

fn skipped(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: BackfillSkipped,
) -> Result<(), StoreError> {
    let BackfillSkipped { backfill_id, first: _, last: _, count, why } = fact;
    change(rows, context, backfill_id, |row| *row.skipped.entry(why).or_default() += count)
}

/// It is over; the flag says whether somebody ended it.
fn over(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    (backfill_id, cancelled): (BackfillId, bool),
) -> Result<(), StoreError> {
    let reason = context.reason.map(str::to_owned);
    let end = BackfillEnd { cancelled, by: context.by.clone(), at: context.at, reason };
    change(rows, context, backfill_id, |row| {
        row.end.get_or_insert(end);
    })
}

/// A run was made, of a backfill or of none.
pub(super) fn made(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunCreated,
) -> Result<(), StoreError> {
    match fact.backfill_id {
        Some(id) => change(rows, context, id, |row| row.taken += 1),
        None => Ok(()),
    }
}

/// A run that is over runs again for a backfill.
fn taken(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunBackfilled,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    (row.backfill_id, row.run_type) = (Some(fact.backfill_id), RunType::Backfill);
    if fact.conf.is_some() {
        let row = row.clone();
        let before = rows.peek::<RunInputRow>(keys::run_input(run))?.cloned();
        let (had, note) = before.map_or((None, None), |input| (input.conf, input.note));
        lists::put_given(rows, &row, had.as_ref(), fact.conf.as_ref());
        let input = RunInputRow { conf: fact.conf.clone(), note };
        rows.put(keys::run_input(run), Some(input));
    }
    change(rows, context, fact.backfill_id, |row| row.taken += 1)
}

/// A run that is over goes on by itself: it belongs to no backfill that is over.
pub(super) fn left(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.peek::<RunRow>(keys::run(run))? else { return Ok(()) };
    let Some(id) = row.backfill_id.filter(|_| row.state.is_over()) else { return Ok(()) };
    let goes_on = |row: &BackfillRow| row.end.is_none();
    if rows.peek::<BackfillRow>(keys::backfill(id))?.is_none_or(|row| !goes_on(row))
        && let Some(row) = rows.edit::<RunRow>(keys::run(run))?
    {
        row.backfill_id = None;
    }
    Ok(())
}

/// Which backfill the record's run belongs to, and how it stands.
pub(super) type Part = Option<(BackfillId, RunState)>;

pub(super) fn part(rows: &mut Overlay<'_>, scope: &Scope) -> Result<Part, StoreError> {
    let Scope::Run(run) = scope else { return Ok(None) };
    let row = rows.peek::<RunRow>(keys::run(run))?;
    Ok(row.and_then(|row| Some((row.backfill_id?, row.state))))
}

/// Counts the record's run where it stands now; where it left, as it stood.
pub(super) fn moved(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    before: Part,
) -> Result<(), StoreError> {
    let after = part(rows, context.scope)?;
    let Some((id, state)) = after.filter(|_| before != after) else { return Ok(()) };
    let stood = before.filter(|(of, _)| *of == id).map(|(_, state)| state);
    change(rows, context, id, |row| {
        if let Some(count) = stood.and_then(|state| row.counts.get_mut(&state)) {
            *count = count.saturating_sub(1);
        }
        *row.counts.entry(state).or_default() += 1;
        row.counts.retain(|_, count| *count > 0);
    })
}

/// Backfills of a DAG that is forgotten.
pub(super) fn forgotten_with(rows: &mut Overlay<'_>, dag_id: &DagId) -> Result<(), StoreError> {
    let of_dag = keys::within_dag::<BackfillOfDagRow>(dag_id);
    for key in rows.keys_within::<BackfillOfDagRow>(&of_dag)? {
        let number = key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        rows.put::<BackfillRow>(keys::backfill(BackfillId(number)), None);
        rows.put::<BackfillOfDagRow>(key, None);
    }
    Ok(())
}

/// Backfills that were over so long ago. Costs a look at every one there is.
pub(super) fn forgotten_before(
    rows: &mut Overlay<'_>,
    before: Timestamp,
) -> Result<(), StoreError> {
    for key in rows.keys_within::<BackfillRow>(&table::<BackfillRow>())? {
        let Some(row) = rows.peek::<BackfillRow>(key.clone())? else { continue };
        if row.end.as_ref().is_some_and(|end| end.at < before) {
            let of_dag = keys::backfill_of_dag(&row.dag_id, row.backfill_id);
            rows.put::<BackfillOfDagRow>(of_dag, None);
            rows.put::<BackfillRow>(key, None);
        }
    }
    Ok(())
}
