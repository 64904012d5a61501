//! The fold: what each record changes in the rows. Deterministic and total: the same records give the
//! same rows however they are batched, and history is never refused: a fact about what is unknown is
//! passed over, or kept with what it says itself.
mod asset;
mod backfill;
mod callback;
mod change;
mod checkpoint;
mod counted;
mod dag;
mod deferral;
mod run;
mod secret;
mod shared;
mod task;
mod version;

pub(crate) use callback::of_dag;

use super::{
    Overlay, StoreError, keys,
    lists::{Standing, moved},
    rows::{CordonRow, HitlOpenRow, RunRow},
};
use dagbok_events::{Actor, DagId, Fact, Record, RunKey, Scope, Timestamp};

/// What the facts of a record share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) by: &'a Actor,
    pub(crate) reason: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    /// Whether a run is over with the record.
    pub(crate) ends_run: bool,
}

impl<'a> Context<'a> {
    /// The run that the record is about.
    pub(crate) fn run(&self) -> Option<&'a RunKey> {
        match self.scope {
            Scope::Run(run) => Some(run),
            Scope::Namespace | Scope::File(_) | Scope::Dag(_) | Scope::Executor(_) => None,
        }
    }

    /// The DAG that the record is about, or whose run it is about.
    pub(crate) fn dag(&self) -> Option<&'a DagId> {
        match self.scope {
            Scope::Dag(dag_id) => Some(dag_id),
            Scope::Run(run) => Some(&run.dag_id),
            Scope::Namespace | Scope::File(_) | Scope::Executor(_) => None,
        }
    }
}

/// Folds one record into the rows.
pub(crate) fn fold(rows: &mut Overlay<'_>, seq: u64, record: &Record) -> Result<(), StoreError> {
    let Record { at: _, clock: _, scope, by, reason, cause: _, trace: _, facts } = record;
    let (at, reason) = (record.decided_at(), reason.as_deref());
    let ends_run = facts.iter().any(Fact::ends_run);
    let context = Context { seq, at, by, reason, scope, ends_run };
    let before = standing(rows, scope)?;
    let part = backfill::part(rows, scope)?;
    let mut updates = 0;
    for (place, fact) in facts.iter().enumerate() {
        if let Fact::AssetUpdated(fact) = fact {
            asset::updated(rows, &context, updates, fact)?;
            updates += 1;
        }
        fold_fact(rows, &context, u32::try_from(place).unwrap_or(u32::MAX), fact)?;
    }
    if let Scope::Run(run) = scope {
        change::note(rows, run, &context, facts)?;
        if ends_run {
            rows.remove_all::<HitlOpenRow>(&keys::within_run::<HitlOpenRow>(run))?;
        }
        run::note_seq(rows, run, &context)?;
        let after = standing(rows, scope)?;
        moved(rows, run, before.as_ref(), after.as_ref())?;
        backfill::moved(rows, &context, part)?;
    }
    Ok(())
}

/// Where the record's run stands in indexes and counts.
fn standing(rows: &mut Overlay<'_>, scope: &Scope) -> Result<Option<Standing>, StoreError> {
    let Scope::Run(run) = scope else { return Ok(None) };
    Ok(rows.peek::<RunRow>(keys::run(run))?.map(Standing::of))
}

#[deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]
#[expect(clippy::too_many_lines, reason = "one arm a fact, and none may be forgotten")]
fn fold_fact(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    place: u32,
    fact: &Fact,
) -> Result<(), StoreError> {
    match fact {
        Fact::DagRegistered(fact) => {
            asset::registered(rows, context, &fact.spec)?;
            dag::registered(rows, context, fact)?;
        }
        Fact::BundlePublished(fact) => shared::bundle_published(rows, context, fact),
        Fact::DagImportFailed(fact) => dag::import_failed(rows, context, fact),
        Fact::DagImportRecovered(_) => dag::import_recovered(rows, context),
        Fact::DagDisappeared(_) => dag::disappeared(rows, context)?,
        Fact::DagPaused(fact) => dag::paused(rows, context, fact)?,
        Fact::DagUnpaused(_) => dag::unpaused(rows, context)?,
        Fact::RunExpected(fact) => dag::expected(rows, context, fact)?,
        Fact::RunMissed(fact) => dag::missed(rows, context, fact)?,
        Fact::RunCreated(fact) => run::created(rows, context, fact)?,
        Fact::RunStarted(_) => run::started(rows, context)?,
        Fact::RunSucceeded(_) => run::ended(rows, context, run::Ending::SUCCEEDED)?,
        Fact::RunFailed(_) => run::ended(rows, context, run::Ending::FAILED)?,
        Fact::RunTimedOut(fact) => {
            run::stopped(rows, context, run::Ending::TIMED_OUT, fact.teardowns_left)?;
        }
        Fact::RunCancelled(fact) => {
            run::stopped(rows, context, run::Ending::CANCELLED, fact.teardowns_left)?;
        }
        Fact::RunCleared(fact) => run::cleared(rows, context, *fact)?,
        Fact::RunBackfilled(_)
        | Fact::BackfillCreated(_)
        | Fact::BackfillPaused(_)
        | Fact::BackfillUnpaused(_)
        | Fact::BackfillSkipped(_)
        | Fact::BackfillCancelled(_)
        | Fact::BackfillCompleted(_) => backfill::about(rows, context, fact)?,
        Fact::RunDeleted(_) => run::deleted(rows, context)?,
        Fact::RunVersionChanged(fact) => version::changed(rows, context, fact)?,
        Fact::TaskExpanded(fact) => run::expanded(rows, context, fact)?,
        Fact::TaskCleared(_) | Fact::TaskMarked(_) | Fact::TaskNoted(_) => {
            task::by_hand(rows, context, fact)?;
        }
        Fact::RunMarked(fact) => run::marked(rows, context, *fact)?,
        Fact::RunNoted(fact) => run::noted(rows, context, fact)?,
        Fact::TaskQueued(fact) => task::queued(rows, context, fact)?,
        Fact::TaskRuledOut(fact) => task::ruled_out(rows, context, fact)?,
        Fact::TryStarted(fact) => task::started(rows, context, fact)?,
        Fact::TrySucceeded(fact) => {
            task::succeeded(rows, context, fact)?;
            checkpoint::of_done(rows, context, &fact.task_id, fact.map_index)?;
        }
        Fact::TryFailed(fact) => task::failed(rows, context, fact)?,
        Fact::TrySkipped(fact) => {
            task::skipped(rows, context, fact)?;
            checkpoint::of_done(rows, context, &fact.task_id, fact.map_index)?;
        }
        Fact::TryLost(fact) => task::lost(rows, context, fact)?,
        Fact::TryCancelled(fact) => task::cancelled(rows, context, fact)?,
        Fact::TryReturned(fact) => task::returned(rows, context, fact)?,
        Fact::TryRescheduled(fact) => task::rescheduled(rows, context, fact)?,
        Fact::TryDeferred(_)
        | Fact::TriggerFired(_)
        | Fact::TriggerFailed(_)
        | Fact::HitlAnswered(_) => {
            deferral::fold(rows, context, fact)?;
        }
        Fact::DagCallbackOrdered(_)
        | Fact::DagCallbackStarted(_)
        | Fact::DagCallbackSucceeded(_)
        | Fact::DagCallbackFailed(_)
        | Fact::DagCallbackLost(_)
        | Fact::DagCallbackUnbegun(_)
        | Fact::TaskCallbackFailed(_) => callback::about(rows, context, fact)?,
        Fact::XComPushed(fact) => task::xcom_pushed(rows, context, fact)?,
        Fact::TryNamed(fact) => task::named(rows, context, fact)?,
        Fact::CheckpointKept(_) | Fact::CheckpointDropped(_) | Fact::TryProgressed(_) => {
            checkpoint::about(rows, context, fact)?;
        }
        Fact::ReportRefused(fact) => run::report_refused(rows, context, place, fact)?,
        Fact::PoolSet(fact) => shared::pool_set(rows, fact)?,
        Fact::PoolDeleted(fact) => shared::pool_deleted(rows, fact)?,
        Fact::VariableSet(_)
        | Fact::VariableDeleted(_)
        | Fact::ConnectionSet(_)
        | Fact::ConnectionDeleted(_)
        | Fact::SecretsRewrapped(_) => secret::about(rows, context, fact)?,
        Fact::LimitsSet(fact) => shared::limits_set(rows, *fact),
        Fact::ExecutorJoined(fact) => shared::executor_joined(rows, context, fact)?,
        Fact::ExecutorLeft(fact) => shared::executor_left(rows, context, *fact)?,
        Fact::ExecutorCordoned(fact) => shared::cordoned(rows, context, fact),
        Fact::ExecutorUncordoned(fact) => rows.put::<CordonRow>(keys::cordon(&fact.name), None),
        Fact::DagForgotten(_) => dag::forgotten(rows, context)?,
        Fact::DagVersionsForgotten(fact) => dag::versions_forgotten(rows, context, *fact)?,
        Fact::HistoryForgotten(fact) => shared::history_forgotten(rows, context, *fact)?,
        Fact::QueuedAssetsDropped(fact) => asset::dropped(rows, context, fact)?,
        // The first is folded with its place among those of its record; of the others no row tells: what a timetable
        // answers is promised by a fact of its own, and lineage is for who exports it.
        Fact::AssetUpdated(_)
        | Fact::LineageTold(_)
        | Fact::ExecutorFull(_)
        | Fact::ScheduleForetold(_)
        | Fact::ClockWentBack(_)
        | Fact::ForeignEntrySkipped(_) => {}
    }
    Ok(())
}
