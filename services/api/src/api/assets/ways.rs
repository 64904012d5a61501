//! Ways through assets on which a DAG comes back to itself, as the DAGs of now have them: whoever changes one of these
//! DAGs ends the warning of all.
use std::collections::{BTreeSet, VecDeque};

use dagbok_events::{AssetCondition, AssetKey, AssetRef, DagId, DagSpec};

use crate::model::{Store, StoreError, rows::AssetRow};

/// DAGs that are looked at; a longer way is not warned of.
const LOOKED_AT: usize = 64;

/// The way by which a DAG's assets come back to it, if there is a short one: DAGs and assets in turn.
pub(in crate::api) fn way_back(
    store: &Store,
    spec: &DagSpec,
) -> Result<Option<Vec<String>>, StoreError> {
    let waits: Vec<&AssetRef> =
        spec.asset_condition.iter().flat_map(AssetCondition::named).collect();
    let own = brings(spec);
    if waits.is_empty() || own.is_empty() {
        return Ok(None);
    }
    let mut steps: Vec<(DagId, Option<(usize, AssetKey)>)> = vec![(spec.dag_id.clone(), None)];
    let mut seen = BTreeSet::from([spec.dag_id.clone()]);
    let mut next = VecDeque::from([(0, own)]);
    while let Some((from, brings)) = next.pop_front() {
        for asset in brings {
            if waits.iter().any(|wait| wait.means(&asset, [])) {
                return Ok(Some(told(&steps, from, &asset, &spec.dag_id)));
            }
            let waiting = store.asset_row(&asset)?.map(|row: AssetRow| row.scheduled);
            for dag_id in waiting.into_iter().flatten() {
                if steps.len() >= LOOKED_AT || !seen.insert(dag_id.clone()) {
                    continue;
                }
                let Some(row) = store.dag(&dag_id)? else { continue };
                let Some(version) = store.version_shared(&dag_id, row.version)? else { continue };
                next.push_back((steps.len(), self::brings(&version.spec)));
                steps.push((dag_id, Some((from, asset.clone()))));
            }
        }
    }
    Ok(None)
}

fn brings(spec: &DagSpec) -> BTreeSet<AssetKey> {
    spec.tasks.iter().flat_map(|task| &task.outlets).filter_map(AssetRef::key).collect()
}

/// The way to a step, and by an asset from there to the DAG that it began with.
fn told(
    steps: &[(DagId, Option<(usize, AssetKey)>)],
    mut at: usize,
    asset: &AssetKey,
    begin: &DagId,
) -> Vec<String> {
    let mut way = vec![begin.to_string(), asset.uri.clone()];
    loop {
        let (dag_id, from) = &steps[at];
        way.push(dag_id.to_string());
        let Some((before, asset)) = from else { break };
        way.push(asset.uri.clone());
        at = *before;
    }
    way.reverse();
    way
}
