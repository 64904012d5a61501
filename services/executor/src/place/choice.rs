//! Several places: one for the tries that an installed Airflow runs, one for each environment of a DAG folder, one
//! for the others.
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_events::Digest;
use dagbok_protocol::WorkItem;
use parking_lot::Mutex;

use super::{Orphaned, Place, PlaceError, Start, Started};
use crate::settings::{AirflowRuntime, lock_in};

/// Bundles that are remembered with the environment of each, at most.
const BUNDLES: usize = 256;

/// All of them, and which tries are whose.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Where Dagbok's own package runs tries.
    pub(crate) own: Arc<dyn Place>,
    /// Where it does in environments of DAG folders, by the digests of their locks.
    pub(crate) environments: BTreeMap<String, Arc<dyn Place>>,
    /// Where Airflow's task runner does, and whose tries.
    pub(crate) airflow: Option<(AirflowRuntime, Arc<dyn Place>)>,
    /// The digest of the lock in each bundle.
    pub(crate) locks: Mutex<BTreeMap<Digest, Option<String>>>,
}

impl Choice {
    fn of(&self, item: &WorkItem, folder: &Path) -> &Arc<dyn Place> {
        match &self.airflow {
            Some((whose, airflow)) if whose.takes(item) => return airflow,
            _ if self.environments.is_empty() => return &self.own,
            _ => {}
        }
        let mut locks = self.locks.lock();
        if locks.len() >= BUNDLES && !locks.contains_key(&item.bundle) {
            locks.pop_first();
        }
        let lock = locks.entry(item.bundle.clone()).or_insert_with(|| lock_in(folder));
        lock.as_ref().and_then(|lock| self.environments.get(lock)).unwrap_or(&self.own)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Place>> {
        let airflow = self.airflow.iter().map(|(_, place)| place);
        std::iter::once(&self.own).chain(self.environments.values()).chain(airflow)
    }
}

#[async_trait]
impl Place for Choice {
    async fn start(&self, start: Start<'_>) -> Result<Started, PlaceError> {
        self.of(start.item, start.folder).start(start).await
    }

    fn orphaned(&self, item: &WorkItem, how: Orphaned) {
        // Which of them ran it is not said; what the others note of it is never asked for.
        self.all().for_each(|place| place.orphaned(item, how));
    }

    async fn tick(&self, fence_after: Duration) {
        let ticks: Vec<_> = self.all().map(|place| place.tick(fence_after)).collect();
        futures::future::join_all(ticks).await;
    }

    fn trim(&self) {
        self.all().for_each(|place| place.trim());
    }

    fn python(&self) -> String {
        self.all().map(|place| place.python()).collect::<Vec<_>>().join(", ")
    }
}
