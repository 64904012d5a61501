//! What facts about runs change.
use std::collections::BTreeMap;

use dagbok_events::{Actor, DagId, ReportRefused, RunCreated, RunKey, TaskExpanded, TaskId};

use super::{Context, counted, task};
use crate::model::{
    keys,
    overlay::{Overlay, Source},
    rows::{
        DagRow, DagRunOrderRow, PastTryRow, RefusedRow, RunEnd, RunInputRow, RunOrderRow, RunRow,
        RunState, SeqsRow, Stretch, VersionRow, XComRow,
    },
    store::StoreError,
};

/// Stretches of sequences that a run's own row holds before they move to a row of their own.
const STRETCHES: usize = 64;

pub(super) fn created<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    fact: &RunCreated,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    // A run of an unknown DAG, or one that is there already, is passed over as by the rules.
    if rows.peek::<DagRow>(keys::dag(&run.dag_id))?.is_none()
        || rows.peek::<RunRow>(keys::run(run))?.is_some()
    {
        return Ok(());
    }
    let RunCreated {
        run_type,
        logical_date,
        data_interval,
        run_after,
        version,
        bundle,
        conf,
        note,
    } = fact;
    let spec = rows.peek::<VersionRow>(keys::version(&run.dag_id, *version))?;
    let tasks = spec.map_or(0, |row| u32::try_from(row.spec.tasks.len()).unwrap_or(u32::MAX));
    let row = RunRow {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        state: RunState::Queued,
        run_type: *run_type,
        logical_date: *logical_date,
        data_interval: *data_interval,
        run_after: *run_after,
        version: *version,
        bundle: bundle.clone(),
        created_by: context.by.clone(),
        queued_at: context.at,
        start_date: None,
        end_date: None,
        end: None,
        ended_by: None,
        end_reason: None,
        failed_tasks: Vec::new(),
        tasks,
        expanded: BTreeMap::new(),
        counts: BTreeMap::new(),
        refused: 0,
        created_seq: context.seq,
        last_seq: context.seq,
        updated_at: context.at,
        seqs: Vec::new(),
    };
    rows.put(keys::run(run), Some(row));
    count_run(rows, &run.dag_id, None, Some(RunState::Queued))?;
    if conf.is_some() || note.is_some() {
        let input = RunInputRow { conf: conf.clone(), note: note.clone() };
        rows.put(keys::run_input(run), Some(input));
    }
    let order = RunOrderRow { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
    rows.put(keys::run_order(context.seq), Some(order));
    let order = DagRunOrderRow { run_id: run.run_id.clone() };
    rows.put(keys::dag_run_order(&run.dag_id, context.seq), Some(order));
    Ok(())
}

pub(super) fn started<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    let last = std::mem::replace(&mut row.state, RunState::Running);
    row.start_date = Some(context.at);
    count_run(rows, &run.dag_id, Some(last), Some(RunState::Running))
}

/// How a run ends.
pub(super) struct Ending<'a> {
    state: RunState,
    end: RunEnd,
    failed: &'a [TaskId],
}

impl<'a> Ending<'a> {
    pub(super) const fn succeeded() -> Self {
        Self { state: RunState::Success, end: RunEnd::Tasks, failed: &[] }
    }
    pub(super) const fn failed(failed: &'a [TaskId]) -> Self {
        Self { state: RunState::Failed, end: RunEnd::Tasks, failed }
    }
    pub(super) const fn timed_out() -> Self {
        Self { state: RunState::Failed, end: RunEnd::TimedOut, failed: &[] }
    }
    pub(super) const fn cancelled() -> Self {
        Self { state: RunState::Failed, end: RunEnd::Cancelled, failed: &[] }
    }
}

pub(super) fn ended<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    ending: &Ending<'_>,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    let last = std::mem::replace(&mut row.state, ending.state);
    row.end_date = Some(context.at);
    row.end = Some(ending.end);
    row.failed_tasks = ending.failed.to_vec();
    if matches!(context.by, Actor::User(_) | Actor::Token(_)) {
        row.ended_by = Some(context.by.clone());
        row.end_reason = context.reason.map(str::to_owned);
    }
    count_run(rows, &run.dag_id, Some(last), Some(ending.state))
}

/// A run that was over waits for its turn again.
pub(super) fn cleared<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    let last = std::mem::replace(&mut row.state, RunState::Queued);
    row.queued_at = context.at;
    (row.start_date, row.end_date, row.end) = (None, None, None);
    (row.ended_by, row.end_reason) = (None, None);
    row.failed_tasks.clear();
    count_run(rows, &run.dag_id, Some(last), Some(RunState::Queued))
}

/// A run that is gone, with all that was its; one that is not over can't go, as by the rules.
pub(super) fn deleted<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.peek::<RunRow>(keys::run(run))? else { return Ok(()) };
    let (state, created_seq) = (row.state, row.created_seq);
    if !state.is_over() {
        return Ok(());
    }
    counted::forget_all(rows, context, run)?;
    rows.remove_all::<PastTryRow>(&keys::within_run::<PastTryRow>(run))?;
    rows.remove_all::<XComRow>(&keys::within_run::<XComRow>(run))?;
    rows.remove_all::<SeqsRow>(&keys::within_run::<SeqsRow>(run))?;
    rows.remove_all::<RefusedRow>(&keys::within_run::<RefusedRow>(run))?;
    rows.put::<RunRow>(keys::run(run), None);
    rows.put::<RunInputRow>(keys::run_input(run), None);
    rows.put::<RunOrderRow>(keys::run_order(created_seq), None);
    rows.put::<DagRunOrderRow>(keys::dag_run_order(&run.dag_id, created_seq), None);
    count_run(rows, &run.dag_id, Some(state), None)
}

/// A mapped task counts as its copies.
pub(super) fn expanded<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    fact: &TaskExpanded,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    if fact.length > 0 && row.expanded.insert(fact.task_id.clone(), fact.length).is_none() {
        row.tasks = row.tasks.saturating_add(fact.length - 1);
    }
    Ok(())
}

/// Moves one run of the DAG from one state's count to another's.
fn count_run<S: Source>(
    rows: &mut Overlay<'_, S>,
    dag_id: &DagId,
    from: Option<RunState>,
    to: Option<RunState>,
) -> Result<(), StoreError> {
    if let Some(row) = rows.edit::<DagRow>(keys::dag(dag_id))? {
        if let Some(from) = from
            && let Some(count) = row.runs.get_mut(&from)
        {
            *count = count.saturating_sub(1);
        }
        if let Some(to) = to {
            *row.runs.entry(to).or_default() += 1;
        }
        row.runs.retain(|_, count| *count > 0);
    }
    Ok(())
}

pub(super) fn report_refused<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    place: u32,
    fact: &ReportRefused,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    if fact.usage.is_some() || fact.log.is_some() {
        task::left_behind(rows, context, fact)?;
    }
    let ReportRefused { task_id, map_index, try_number, leg: _, report, executor, why, usage, log } =
        fact;
    let row = RefusedRow {
        seq: context.seq,
        at: context.at,
        task_id: task_id.clone(),
        map_index: *map_index,
        try_number: *try_number,
        report: *report,
        executor: executor.clone(),
        why: *why,
        usage: *usage,
        log: log.clone(),
    };
    rows.put(keys::refused(run, context.seq, place), Some(row));
    if let Some(row) = rows.edit::<RunRow>(keys::run(run))? {
        row.refused += 1;
    }
    Ok(())
}

/// Adds a record to the run's index of sequences.
pub(super) fn note_seq<S: Source>(
    rows: &mut Overlay<'_, S>,
    run: &RunKey,
    context: &Context<'_>,
) -> Result<(), StoreError> {
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    row.last_seq = context.seq;
    row.updated_at = context.at;
    match row.seqs.last_mut() {
        Some(Stretch(first, count)) if *first + u64::from(*count) == context.seq => *count += 1,
        _ => row.seqs.push(Stretch(context.seq, 1)),
    }
    if row.seqs.len() > STRETCHES {
        let newest = row.seqs.split_off(STRETCHES);
        let full = std::mem::replace(&mut row.seqs, newest);
        let first = full.first().map_or(0, |stretch| stretch.0);
        rows.put(keys::seqs(run, first), Some(SeqsRow(full)));
    }
    Ok(())
}
