//! The second opinion on assets: whom an event is for, and when it makes a run.
use std::collections::BTreeSet;

use dagbok_events::{AssetCondition, AssetKey, AssetRef, AssetUpdated, DagId};

use super::{Audit, DagModel, Finding};

impl Audit {
    /// An event is for all that wait for its asset, and those that are paused only keep it.
    pub(super) fn asset_updated(&mut self, f: &AssetUpdated) -> Finding {
        let (mut queued, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for (dag_id, dag) in self.dags.iter_mut().filter(|(_, dag)| !dag.gone) {
            let spec = &dag.versions[&dag.current];
            let waits = |condition: &AssetCondition| counts(condition, &|asset| *asset == f.asset);
            if !spec.asset_condition.as_ref().is_some_and(|it| any_of(it, &waits)) {
                continue;
            }
            if dag.paused {
                kept.insert(dag_id.clone());
            } else {
                queued.insert(dag_id.clone());
                dag.fresh.insert(f.asset.clone());
            }
        }
        if !kept.is_empty() {
            self.note("an asset updated for a paused DAG");
        }
        let told = |dags: &[DagId]| dags.iter().cloned().collect::<BTreeSet<_>>();
        let right = told(&f.queued_for) == queued && told(&f.kept_for) == kept;
        if right { Ok(()) } else { Err(format!("{f:?} is for {queued:?} and kept for {kept:?}")) }
    }
}

impl DagModel {
    /// All that it waits for is up to date, and from here on it waits again.
    pub(super) fn may_run_by_assets(&mut self) -> Finding {
        let met = |condition| counts(condition, &|asset| self.fresh.contains(asset));
        let condition = self.versions[&self.current].asset_condition.as_ref();
        if self.paused || self.gone || !condition.is_some_and(met) {
            return Err(format!("assets may not make it now: {:?} of {condition:?}", self.fresh));
        }
        self.fresh.clear();
        Ok(())
    }
}

/// Whether a condition holds where these assets are up to date.
fn counts(condition: &AssetCondition, fresh: &dyn Fn(&AssetKey) -> bool) -> bool {
    match condition {
        AssetCondition::One { of: AssetRef::Asset { name, uri, .. } } => {
            fresh(&AssetKey { name: name.clone(), uri: uri.clone() })
        }
        AssetCondition::One { .. } => false,
        AssetCondition::All { of } => of.iter().all(|part| counts(part, fresh)),
        AssetCondition::Any { of } => of.iter().any(|part| counts(part, fresh)),
    }
}

/// Whether any single asset of a condition does.
fn any_of(condition: &AssetCondition, does: &dyn Fn(&AssetCondition) -> bool) -> bool {
    match condition {
        AssetCondition::One { .. } => does(condition),
        AssetCondition::All { of } | AssetCondition::Any { of } => {
            of.iter().any(|part| any_of(part, does))
        }
    }
}
