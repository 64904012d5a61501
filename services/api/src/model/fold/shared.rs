//! What facts about pools, limits, bundles and executors change.
use dagbok_events::{
    BundlePublished, ExecutorCordoned, ExecutorId, ExecutorJoined, ExecutorLeft, HistoryForgotten,
    LimitsSet, PoolDeleted, PoolSet, Scope, Timestamp,
};
use dagbok_protocol::Lapses;
use dagbok_rows::key::table;

use super::Context;
use crate::model::{
    Overlay, StoreError, keys,
    rows::{
        BundleRow, CordonRow, ExecutorOrderRow, ExecutorRow, LapsesRow, LimitsRow, LoadRow,
        PoolRow, RefusedRow, TotalsRow,
    },
};

pub(super) fn pool_set(rows: &mut Overlay<'_>, fact: &PoolSet) -> Result<(), StoreError> {
    let row = rows.edit::<PoolRow>(keys::pool(&fact.pool))?;
    let row = row.get_or_insert_default();
    row.slots = Some(fact.slots);
    row.description.clone_from(&fact.description);
    row.include_deferred = fact.include_deferred;
    Ok(())
}

/// Tries that hold its slots go on: the row stays, with what they hold.
pub(super) fn pool_deleted(rows: &mut Overlay<'_>, fact: &PoolDeleted) -> Result<(), StoreError> {
    let row = rows.edit::<PoolRow>(keys::pool(&fact.pool))?;
    match row {
        Some(row) if row.queued + row.running > 0 => {
            (row.slots, row.description, row.include_deferred) = (None, None, false);
        }
        row => *row = None,
    }
    Ok(())
}

pub(super) fn limits_set(rows: &mut Overlay<'_>, fact: LimitsSet) {
    let LimitsSet {
        parallelism,
        max_losses,
        max_consecutive_failed_dag_runs,
        task_queued_timeout: _,
    } = fact;
    let row = LimitsRow { parallelism, max_losses, max_consecutive_failed_dag_runs };
    rows.put(keys::limits(), Some(row));
}

pub(super) fn bundle_published(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &BundlePublished,
) {
    let row = BundleRow { bundle: fact.bundle.clone(), at: context.at };
    rows.put(keys::bundle(fact.folder.as_deref()), Some(row));
}

fn executor_of<'a>(context: &Context<'a>) -> Option<&'a ExecutorId> {
    match context.scope {
        Scope::Executor(id) => Some(id),
        Scope::Namespace | Scope::File(_) | Scope::Dag(_) | Scope::Run(_) => None,
    }
}

/// Moves an executor to its place in the order, and counts it.
fn place(
    rows: &mut Overlay<'_>,
    before: Option<&ExecutorRow>,
    after: &ExecutorRow,
) -> Result<(), StoreError> {
    if let Some(before) = before {
        rows.put::<ExecutorOrderRow>(keys::executor_order(before), None);
    }
    rows.put(keys::executor_order(after), Some(ExecutorOrderRow {}));
    let left = |row: &ExecutorRow| row.left_at.is_some();
    let (was, is) = (before.is_some_and(left), left(after));
    if was != is {
        let totals = rows.edit::<TotalsRow>(keys::totals())?.get_or_insert_default();
        let count = &mut totals.executors_left;
        *count = if is { *count + 1 } else { count.saturating_sub(1) };
    }
    Ok(())
}

pub(super) fn executor_joined(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &ExecutorJoined,
) -> Result<(), StoreError> {
    let Some(id) = executor_of(context) else { return Ok(()) };
    let ExecutorJoined {
        hostname,
        slots,
        queues,
        version,
        python,
        resources,
        isolation,
        name: _,
        protocol,
        part_of: _,
    } = fact;
    let row = ExecutorRow {
        executor: id.clone(),
        hostname: hostname.clone(),
        slots: *slots,
        queues: queues.clone(),
        version: version.clone(),
        python: python.clone(),
        resources: resources.clone(),
        isolation: isolation.clone(),
        name: fact.called(),
        protocol: protocol.unwrap_or(dagbok_protocol::FIRST_PROTOCOL),
        joined_at: context.at,
        left_at: None,
        left: None,
    };
    let before = rows.edit::<ExecutorRow>(keys::executor(id))?.replace(row.clone());
    place(rows, before.as_ref(), &row)
}

pub(super) fn cordoned(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &ExecutorCordoned) {
    let row = CordonRow {
        name: fact.name.clone(),
        drain: fact.drain,
        limit: fact.limit,
        by: context.by.clone(),
        reason: context.reason.map(ToOwned::to_owned),
        at: context.at,
    };
    rows.put(keys::cordon(&fact.name), Some(row));
}

pub(super) fn executor_left(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: ExecutorLeft,
) -> Result<(), StoreError> {
    let Some(id) = executor_of(context) else { return Ok(()) };
    let Some(row) = rows.edit::<ExecutorRow>(keys::executor(id))? else { return Ok(()) };
    let before = row.clone();
    row.left_at = Some(context.at);
    row.left = Some(fact.why);
    let after = row.clone();
    place(rows, Some(&before), &after)
}

/// Executors that left, reports that were refused and backfills that were over so long ago. Each costs a look at every one there is.
pub(super) fn history_forgotten(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: HistoryForgotten,
) -> Result<(), StoreError> {
    let HistoryForgotten {
        executors_left_before,
        reports_refused_before,
        backfills_over_before,
        logs_of_runs_over_before,
        xcoms_of_runs_over_before,
    } = fact;
    // Which runs that is about is looked up when one is read.
    if logs_of_runs_over_before.is_some() || xcoms_of_runs_over_before.is_some() {
        let row = rows.edit::<LapsesRow>(keys::lapses())?.get_or_insert_default();
        let note = |lapses: &mut Lapses, before: Option<Timestamp>| {
            if let Some(before) = before {
                lapses.note(context.seq, context.at, before);
            }
        };
        note(&mut row.logs, logs_of_runs_over_before);
        note(&mut row.xcoms, xcoms_of_runs_over_before);
    }
    if let Some(before) = backfills_over_before {
        super::backfill::forgotten_before(rows, before)?;
    }
    if let Some(before) = executors_left_before {
        forget_executors(rows, before)?;
    }
    if let Some(before) = reports_refused_before {
        for key in rows.keys_within::<RefusedRow>(&table::<RefusedRow>())? {
            if rows.peek::<RefusedRow>(key.clone())?.is_some_and(|row| row.at < before) {
                rows.put::<RefusedRow>(key, None);
            }
        }
    }
    Ok(())
}

fn forget_executors(rows: &mut Overlay<'_>, before: Timestamp) -> Result<(), StoreError> {
    let mut gone = 0;
    for key in rows.keys_within::<ExecutorRow>(&table::<ExecutorRow>())? {
        let row = rows.peek::<ExecutorRow>(key.clone())?;
        let left = |row: &&ExecutorRow| row.left_at.is_some_and(|left| left < before);
        let Some(row) = row.filter(left).cloned() else { continue };
        rows.put::<ExecutorOrderRow>(keys::executor_order(&row), None);
        rows.put::<LoadRow>(keys::load(&row.executor), None);
        rows.put::<ExecutorRow>(key, None);
        gone += 1;
    }
    if gone > 0 {
        let totals = rows.edit::<TotalsRow>(keys::totals())?.get_or_insert_default();
        totals.executors_left = totals.executors_left.saturating_sub(gone);
    }
    Ok(())
}
