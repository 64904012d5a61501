//! What DAGs' files say of them, by version: for as long as a run may ask for it.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dagbok_events::{DagId, DagRegistered, DagSpec, DagVersion, TaskId, TaskSpec};
use serde::{Deserialize, Serialize};

/// Versions of a DAG that are kept though no run of theirs goes on: runs that are cleared have them again.
const NEWEST: usize = 4;

/// Meanings of DAGs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Specs {
    of: BTreeMap<DagId, BTreeMap<DagVersion, Arc<DagSpec>>>,
}

impl Specs {
    /// Takes a version in, and forgets older ones that none of `used` is.
    pub(crate) fn register(&mut self, f: &DagRegistered, used: &BTreeSet<DagVersion>) {
        let mut spec = f.spec.clone();
        // Nothing of these is told.
        (spec.params, spec.param_schemas) = (None, None);
        spec.watchers.clear();
        spec.deadlines.clear();
        spec.not_carried_out.clear();
        let versions = self.of.entry(spec.dag_id.clone()).or_default();
        versions.insert(f.version, Arc::new(spec));
        let oldest = versions.keys().rev().nth(NEWEST - 1).copied().unwrap_or_default();
        versions.retain(|version, _| *version >= oldest || used.contains(version));
    }

    pub(crate) fn forget(&mut self, dag: &DagId) {
        self.of.remove(dag);
    }

    /// A version of a DAG; the newest one, where that is no longer known.
    pub(crate) fn get(&self, dag: &DagId, version: DagVersion) -> Option<&Arc<DagSpec>> {
        let versions = self.of.get(dag)?;
        versions.get(&version).or_else(|| versions.values().next_back())
    }
}

/// The task of that name.
pub(crate) fn task<'a>(spec: &'a DagSpec, id: &TaskId) -> Option<&'a TaskSpec> {
    spec.tasks.iter().find(|task| task.task_id == *id)
}
