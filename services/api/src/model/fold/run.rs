//! What facts about runs change.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, MapIndex, ReportRefused, RunCleared, RunCreated, RunKey, RunMark, RunMarked, RunNoted,
    RunType, TaskExpanded,
};

use super::{Context, counted, task, version};
use crate::model::{
    Overlay, StoreError, keys, lists,
    rows::{
        DagRow, HitlOpenRow, HitlRow, Lapsed, LapsesRow, PastTryRow, RefusedRow, RunAssetsRow,
        RunChangeRow, RunEnd, RunInputRow, RunRow, RunState, SeqsRow, Stretch, VersionRow, XComRow,
    },
};

/// Stretches of sequences that a run's own row holds before they move to a row of their own.
const STRETCHES: usize = 64;

pub(super) fn created(
    rows: &mut Overlay<'_>,
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
        asset_events: _,
        asset_events_left_out: _,
        backfill_id,
        partition,
    } = fact;
    let spec = rows.peek::<VersionRow>(keys::version(&run.dag_id, *version))?;
    let tasks = spec.map_or(0, |row| u32::try_from(row.spec.tasks.len()).unwrap_or(u32::MAX));
    let row = RunRow {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        state: RunState::Queued,
        run_type: *run_type,
        partition: partition.clone(),
        logical_date: *logical_date,
        data_interval: *data_interval,
        run_after: *run_after,
        version: *version,
        bundle: bundle.clone(),
        earlier: Vec::new(),
        gone: Vec::new(),
        created_by: context.by.clone(),
        queued_at: context.at,
        start_date: None,
        end_date: None,
        latest_start: None,
        end: None,
        over_seq: 0,
        logs_lapsed: None,
        xcoms_lapsed: None,
        ended_by: None,
        end_reason: None,
        failed: Vec::new(),
        tasks,
        expanded: BTreeMap::new(),
        counts: BTreeMap::new(),
        backfill_id: *backfill_id,
        refused: 0,
        created_seq: context.seq,
        last_seq: context.seq,
        updated_at: context.at,
        seqs: Vec::new(),
    };
    lists::put_given(rows, &row, None, conf.as_ref());
    rows.put(keys::run(run), Some(row));
    if conf.is_some() || note.is_some() {
        let input = RunInputRow { conf: conf.clone(), note: note.clone() };
        rows.put(keys::run_input(run), Some(input));
    }
    if *run_type == RunType::AssetTriggered {
        super::asset::consumed(rows, run, fact)?;
    }
    super::backfill::made(rows, context, fact)
}

pub(super) fn started(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    row.state = RunState::Running;
    row.start_date = Some(context.at);
    Ok(())
}

/// How a run ends. Which tasks failed is known by themselves.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    state: RunState,
    end: RunEnd,
}

impl Ending {
    pub(super) const SUCCEEDED: Self = Self { state: RunState::Success, end: RunEnd::Tasks };
    pub(super) const FAILED: Self = Self { state: RunState::Failed, end: RunEnd::Tasks };
    pub(super) const TIMED_OUT: Self = Self { state: RunState::Failed, end: RunEnd::TimedOut };
    pub(super) const CANCELLED: Self = Self { state: RunState::Failed, end: RunEnd::Cancelled };
}

/// It is over. One that was stopped before, and whose teardowns have run since, is over as it was stopped.
pub(super) fn ended(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    ending: Ending,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    row.state = ending.state;
    row.end_date = Some(context.at);
    row.over_seq = context.seq;
    row.end.get_or_insert(ending.end);
    Ok(())
}

/// It is ended from outside: at once, or once its teardowns have run.
pub(super) fn stopped(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    ending: Ending,
    teardowns_left: bool,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    row.end = Some(ending.end);
    if teardowns_left {
        row.state = RunState::Running;
        row.start_date.get_or_insert(context.at);
    } else {
        row.state = ending.state;
        row.end_date = Some(context.at);
        row.over_seq = context.seq;
    }
    if matches!(context.by, Actor::User(_) | Actor::Token(_)) {
        row.ended_by = Some(context.by.clone());
        row.end_reason = context.reason.map(str::to_owned);
    }
    Ok(())
}

/// Somebody says how it ended: one that is over stays so since when it was.
pub(super) fn marked(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: RunMarked,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let state = match fact.state {
        RunMark::Success => RunState::Success,
        RunMark::Failed => RunState::Failed,
    };
    let ended = rows.peek::<RunRow>(keys::run(run))?.filter(|row| row.state.is_over());
    let since = ended.and_then(|row| Some((row.end_date?, row.over_seq)));
    stopped(rows, context, Ending { state, end: RunEnd::Marked }, fact.teardowns_left)?;
    if let (Some(row), Some((end_date, seq))) = (rows.edit::<RunRow>(keys::run(run))?, since) {
        (row.end_date, row.over_seq) = (Some(end_date), seq);
    }
    Ok(())
}

/// It has another note.
pub(super) fn noted(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunNoted,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    if rows.peek::<RunRow>(keys::run(run))?.is_none() {
        return Ok(());
    }
    let input = rows.peek::<RunInputRow>(keys::run_input(run))?;
    let conf = input.and_then(|input| input.conf.clone());
    let row = RunInputRow { conf, note: fact.note.clone() };
    let some = row.conf.is_some() || row.note.is_some();
    rows.put(keys::run_input(run), some.then_some(row));
    Ok(())
}

/// A run that was over waits for its turn again; one that only had its teardowns left goes on.
pub(super) fn cleared(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: RunCleared,
) -> Result<(), StoreError> {
    super::backfill::left(rows, context)?;
    let Some(run) = context.run() else { return Ok(()) };
    let lapses = rows.peek::<LapsesRow>(keys::lapses())?.cloned().unwrap_or_default();
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    if row.state.is_over() {
        let up_to_now = |kept_until| Lapsed { before_seq: context.seq, kept_until };
        let kept_until = row.end_date.and_then(|at| lapses.logs.kept_until(row.over_seq, at));
        row.logs_lapsed = kept_until.map(up_to_now).or(row.logs_lapsed);
        row.xcoms_lapsed = fact.xcoms_kept_until.map(up_to_now).or(row.xcoms_lapsed);
        row.state = RunState::Queued;
        row.queued_at = context.at;
        // One that is over anew with the same record took what it had taken.
        if !context.ends_run {
            row.start_date = None;
        }
    }
    (row.end_date, row.end, row.over_seq) = (None, None, 0);
    (row.ended_by, row.end_reason) = (None, None);
    Ok(())
}

/// A run that is gone, with all that was its; one that is not over can't go, as by the rules.
pub(super) fn deleted(rows: &mut Overlay<'_>, context: &Context<'_>) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.peek::<RunRow>(keys::run(run))?.cloned() else { return Ok(()) };
    if !row.state.is_over() {
        return Ok(());
    }
    let input = rows.peek::<RunInputRow>(keys::run_input(run))?.cloned();
    lists::put_given(rows, &row, input.as_ref().and_then(|it| it.conf.as_ref()), None);
    counted::forget_all(rows, context, run)?;
    rows.remove_all::<PastTryRow>(&keys::within_run::<PastTryRow>(run))?;
    rows.remove_all::<XComRow>(&keys::within_run::<XComRow>(run))?;
    rows.remove_all::<HitlRow>(&keys::within_run::<HitlRow>(run))?;
    rows.remove_all::<HitlOpenRow>(&keys::within_run::<HitlOpenRow>(run))?;
    rows.remove_all::<SeqsRow>(&keys::within_run::<SeqsRow>(run))?;
    rows.remove_all::<RunChangeRow>(&keys::within_run::<RunChangeRow>(run))?;
    rows.remove_all::<RefusedRow>(&keys::within_run::<RefusedRow>(run))?;
    rows.put::<RunRow>(keys::run(run), None);
    rows.put::<RunInputRow>(keys::run_input(run), None);
    rows.put::<RunAssetsRow>(keys::run_assets(run), None);
    Ok(())
}

/// A mapped task counts as its copies.
pub(super) fn expanded(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &TaskExpanded,
) -> Result<(), StoreError> {
    let Some(run) = context.run() else { return Ok(()) };
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    // Copies are never taken back by it, as by the rules: those that are too many are ruled out.
    let has = row.expanded.get(&fact.task_id).copied().unwrap_or(0);
    if fact.length <= has {
        return Ok(());
    }
    let others = row.tasks.saturating_sub(row.gone_count());
    let before = row.expanded.insert(fact.task_id.clone(), fact.length).unwrap_or(1);
    let others = others.saturating_add(fact.length.saturating_sub(before));
    // What stood for all copies was ruled out and cleared before there were any; what is gone stays.
    let is_gone = row.gone.iter().any(|it| it.is_of(&fact.task_id, -1));
    version::expanded(rows, context, fact)?;
    if let Some(row) = rows.edit::<RunRow>(keys::run(run))? {
        row.tasks = others.saturating_add(row.gone_count());
    }
    if is_gone {
        return Ok(());
    }
    counted::forget(rows, context, (run, &fact.task_id, MapIndex::UNMAPPED))
}

pub(super) fn report_refused(
    rows: &mut Overlay<'_>,
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
pub(super) fn note_seq(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    context: &Context<'_>,
) -> Result<(), StoreError> {
    let Some(row) = rows.edit::<RunRow>(keys::run(run))? else { return Ok(()) };
    row.last_seq = context.seq;
    row.updated_at = row.updated_at.max(context.at);
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
