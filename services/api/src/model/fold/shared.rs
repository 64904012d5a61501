//! What facts about pools, limits, bundles and executors change.
use dagbok_events::{
    BundlePublished, ExecutorId, ExecutorJoined, ExecutorLeft, LimitsSet, PoolSet, Scope,
};

use super::Context;
use crate::model::{
    keys,
    overlay::{Overlay, Source},
    rows::{BundleRow, ExecutorRow, LimitsRow, PoolRow},
    store::StoreError,
};

pub(super) fn pool_set<S: Source>(
    rows: &mut Overlay<'_, S>,
    fact: &PoolSet,
) -> Result<(), StoreError> {
    let row = rows.edit::<PoolRow>(keys::pool(&fact.pool))?;
    row.get_or_insert_default().slots = Some(fact.slots);
    Ok(())
}

pub(super) fn limits_set<S: Source>(rows: &mut Overlay<'_, S>, fact: LimitsSet) {
    let LimitsSet { parallelism, max_losses } = fact;
    rows.put(keys::limits(), Some(LimitsRow { parallelism, max_losses }));
}

pub(super) fn bundle_published<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    fact: &BundlePublished,
) {
    rows.put(keys::bundle(), Some(BundleRow { bundle: fact.bundle.clone(), at: context.at }));
}

fn executor_of<'a>(context: &Context<'a>) -> Option<&'a ExecutorId> {
    match context.scope {
        Scope::Executor(id) => Some(id),
        Scope::Namespace | Scope::File(_) | Scope::Dag(_) | Scope::Run(_) => None,
    }
}

pub(super) fn executor_joined<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    fact: &ExecutorJoined,
) {
    let Some(id) = executor_of(context) else { return };
    let ExecutorJoined { hostname, slots, queues, version, python } = fact;
    let row = ExecutorRow {
        executor: id.clone(),
        hostname: hostname.clone(),
        slots: *slots,
        queues: queues.clone(),
        version: version.clone(),
        python: python.clone(),
        joined_at: context.at,
        left_at: None,
        left: None,
    };
    rows.put(keys::executor(id), Some(row));
}

pub(super) fn executor_left<S: Source>(
    rows: &mut Overlay<'_, S>,
    context: &Context<'_>,
    fact: ExecutorLeft,
) -> Result<(), StoreError> {
    let Some(id) = executor_of(context) else { return Ok(()) };
    if let Some(row) = rows.edit::<ExecutorRow>(keys::executor(id))? {
        row.left_at = Some(context.at);
        row.left = Some(fact.why);
    }
    Ok(())
}
