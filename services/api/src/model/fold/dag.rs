//! What facts about DAGs and their files change.
use dagbok_events::{
    DagImportFailed, DagPaused, DagRegistered, DagVersionsForgotten, RunExpected, RunMissed, Scope,
};

use dagbok_protocol::Ahead;

use super::{Context, asset};
use crate::model::{
    Overlay, StoreError, keys,
    rows::{DagRow, ImportErrorRow, LastRun, MissedRow, PauseRow, TotalsRow, VersionRow},
};

pub(super) fn registered(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &DagRegistered,
) -> Result<(), StoreError> {
    let DagRegistered { version, spec_digest, bundle, spec, paused } = fact;
    let dag_id = &spec.dag_id;
    let row = VersionRow {
        spec: spec.clone(),
        spec_digest: spec_digest.clone(),
        bundle: bundle.clone(),
        created_at: context.at,
    };
    rows.put(keys::version(dag_id, *version), Some(row));
    let row = rows.edit::<DagRow>(keys::dag(dag_id))?;
    let mut next = row.take().unwrap_or_else(|| DagRow {
        dag_id: dag_id.clone(),
        version: *version,
        registered_at: context.at,
        file: String::new(),
        display_name: None,
        owner: String::new(),
        tags: Vec::new(),
        paused: false,
        pause: None,
        disappeared_at: None,
        expected: None,
        ahead: Ahead::default(),
        missed: None,
        totals: TotalsRow::default(),
        last_run: LastRun::None,
    });
    next.version = *version;
    next.registered_at = context.at;
    next.file.clone_from(&spec.source.file);
    next.display_name.clone_from(&spec.display_name);
    next.owner.clone_from(&spec.owner);
    next.tags.clone_from(&spec.tags);
    next.paused = paused.unwrap_or(next.paused);
    next.disappeared_at = None;
    *row = Some(next);
    Ok(())
}

/// Changes the row of the record's DAG, where there is one.
fn change(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    change: impl FnOnce(&mut DagRow),
) -> Result<(), StoreError> {
    if let Some(dag_id) = context.dag()
        && let Some(row) = rows.edit::<DagRow>(keys::dag(dag_id))?
    {
        change(row);
    }
    Ok(())
}

/// Its file has it no more: nothing waits for assets in its name either.
pub(super) fn disappeared(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    if let Some(dag_id) = context.dag() {
        asset::left(rows, dag_id)?;
    }
    change(rows, context, |row| row.disappeared_at = Some(context.at))
}

/// No new runs: because somebody said so, or because the newest failed.
pub(super) fn paused(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &DagPaused,
) -> Result<(), StoreError> {
    let pause = PauseRow {
        at: context.at,
        by: context.by.clone(),
        reason: context.reason.map(str::to_owned),
        failed_runs: fact.failed_runs.clone(),
    };
    change(rows, context, |row| (row.paused, row.pause) = (true, Some(pause)))
}

pub(super) fn unpaused(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    change(rows, context, |row| (row.paused, row.pause) = (false, None))
}

/// A DAG that is gone, with all its versions; one that has runs can't go, as by the rules.
pub(super) fn forgotten(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    let Some(dag_id) = context.dag() else { return Ok(()) };
    let Some(row) = rows.peek::<DagRow>(keys::dag(dag_id))? else { return Ok(()) };
    if row.totals.runs.values().any(|count| *count > 0) {
        return Ok(());
    }
    rows.remove_all::<VersionRow>(&keys::within_dag::<VersionRow>(dag_id))?;
    super::backfill::forgotten_with(rows, dag_id)?;
    rows.put::<DagRow>(keys::dag(dag_id), None);
    Ok(())
}

pub(super) fn versions_forgotten(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: DagVersionsForgotten,
) -> Result<(), StoreError> {
    let Some(dag_id) = context.dag() else { return Ok(()) };
    let Some(row) = rows.peek::<DagRow>(keys::dag(dag_id))? else { return Ok(()) };
    let first = keys::version(dag_id, fact.below.min(row.version));
    let all = rows.keys_within::<VersionRow>(&keys::within_dag::<VersionRow>(dag_id))?;
    for key in all.into_iter().filter(|key| *key < first) {
        rows.put::<VersionRow>(key, None);
    }
    Ok(())
}

pub(super) fn expected(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunExpected,
) -> Result<(), StoreError> {
    let alone = || RunExpected { further: Vec::new(), keeps: false, ..fact.clone() };
    let promise = fact.logical_date.is_some().then(alone);
    change(rows, context, |row| {
        row.ahead.take_in(fact);
        row.expected = promise;
    })
}

pub(super) fn missed(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunMissed,
) -> Result<(), StoreError> {
    let RunMissed { first, last, count, why } = fact;
    let missed = MissedRow { first: *first, last: *last, count: *count, why: *why, at: context.at };
    change(rows, context, |row| row.missed = Some(missed))
}

pub(super) fn import_failed(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &DagImportFailed) {
    let Scope::File(file) = context.scope else { return };
    let DagImportFailed { line, exception, message, traceback, keeps } = fact;
    let row = ImportErrorRow {
        seq: context.seq,
        at: context.at,
        file: file.clone(),
        line: *line,
        exception: exception.clone(),
        message: message.clone(),
        traceback: traceback.clone(),
        keeps: keeps.clone(),
    };
    rows.put(keys::import_error(file), Some(row));
}

pub(super) fn import_recovered(rows: &mut Overlay<'_>, context: &Context<'_>) {
    if let Scope::File(file) = context.scope {
        rows.put::<ImportErrorRow>(keys::import_error(file), None);
    }
}
