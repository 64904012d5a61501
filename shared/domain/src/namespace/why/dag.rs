//! Why a DAG has no run now, and when the next one comes.
use dagbok_events::{AssetCondition, AssetRef, RunId, Timestamp};
use dagbok_protocol::{PartitionWaits, Piece, Reason, Stands};

use super::{NAMED, Namespace, piece};
use crate::namespace::Dag;

impl Namespace {
    /// A DAG, with what keeps its next run from being made.
    pub(super) fn why_no_run(&self, dag: &Dag, now: Timestamp) -> Piece {
        let mut reasons = Vec::new();
        if dag.gone {
            let reasons = vec![Reason::Gone];
            return Piece { reasons, ..piece(Stands::Scheduled) };
        }
        if dag.paused {
            reasons.push(Reason::Paused);
        }
        let spec = &dag.current.spec;
        let expected = dag.expected.as_ref();
        let promised = expected.and_then(|run| Some((run.logical_date?, run.due?)));
        match promised {
            Some((logical_date, due)) if due > now => {
                reasons.push(Reason::NextRun { logical_date, due });
            }
            Some(_) => {}
            None if spec.asset_condition.is_some() => {}
            None if spec.schedule.timetable.has_no_ticks() => {
                reasons.push(Reason::NoSchedule);
            }
            // A DAG that was never unpaused has no promise yet.
            None if dag.paused => {}
            None => reasons.push(Reason::NoFurtherRun),
        }
        if let Some(condition) = &spec.asset_condition {
            reasons.extend(reason_of_assets(dag, condition));
        }
        if !dag.has_room() && !dag.is_partitioned() {
            let runs = dag.active.iter().filter_map(|number| self.runs.get(number));
            let own = runs.filter(|run| run.meta().backfill_id.is_none());
            let runs: Vec<RunId> = own.take(NAMED).map(|run| run.key().run_id.clone()).collect();
            let active = u32::try_from(dag.active.len()).unwrap_or(u32::MAX);
            let named = u32::try_from(runs.len()).unwrap_or(u32::MAX);
            let more = active.saturating_sub(dag.apart).saturating_sub(named);
            let most = dag.max_active_runs();
            reasons.push(Reason::MaxActiveRuns { most, runs, more, before: 0 });
        }
        if reasons.is_empty() {
            reasons.push(Reason::Next);
        }
        Piece { reasons, ..piece(Stands::Scheduled) }
    }
}

/// The assets that a DAG still waits for, unless it waits for none.
fn reason_of_assets(dag: &Dag, condition: &AssetCondition) -> Option<Reason> {
    if dag.is_partitioned() {
        return reason_of_partitions(dag);
    }
    if dag.waiting.is_enough(condition) {
        return None;
    }
    let mut missing: Vec<AssetRef> = dag.waiting.missing(condition).into_iter().cloned().collect();
    let more = u32::try_from(missing.len().saturating_sub(NAMED)).unwrap_or(u32::MAX);
    missing.truncate(NAMED);
    let there = u32::try_from(dag.waiting.queued().count()).unwrap_or(u32::MAX);
    Some(Reason::Assets { missing, more, there })
}

/// The partitions that a DAG has something of, unless one has all: then its run comes with the next decision.
fn reason_of_partitions(dag: &Dag) -> Option<Reason> {
    if dag.partitions.ready() > 0 {
        return None;
    }
    let mut waiting: Vec<PartitionWaits> = Vec::new();
    let (mut bytes, mut waits) = (0, dag.partitions.waits(&dag.current.spec));
    while waiting.len() < PARTITIONS_NAMED
        && bytes < PARTITIONS_BYTES
        && let Some(next) = waits.next()
    {
        let keys = next.assets.iter().flat_map(|it| it.came.iter().chain(&it.missing));
        bytes += keys.map(String::len).sum::<usize>() + 256 * (1 + next.assets.len());
        waiting.push(next);
    }
    let more = u32::try_from(waits.len()).unwrap_or(u32::MAX);
    let (dropped, events_dropped) = (dag.partitions.dropped(), dag.partitions.events_dropped());
    Some(Reason::Partitions { waiting, more, dropped, events_dropped })
}

/// Partitions that an answer names.
const PARTITIONS_NAMED: usize = 50;
/// What they may take in it, in bytes.
const PARTITIONS_BYTES: usize = 200 << 10;
