//! Several places: one for the tries that an installed Airflow runs, one for each environment of a DAG folder, one
//! for the others.
use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_protocol::WorkItem;

use super::{Environments, Orphaned, Place, PlaceError, Start, Started};
use crate::settings::AirflowRuntime;

/// All of them, and which tries are whose.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Where Dagbok's own package runs tries.
    pub(crate) own: Arc<dyn Place>,
    /// Where it does in environments of DAG folders.
    pub(crate) environments: Option<Environments>,
    /// Where Airflow's task runner does, and whose tries.
    pub(crate) airflow: Option<(AirflowRuntime, Arc<dyn Place>)>,
}

impl Choice {
    async fn of(&self, item: &WorkItem, folder: &Path) -> Result<Arc<dyn Place>, PlaceError> {
        if let Some(airflow) = self.in_airflow(item) {
            return Ok(Arc::clone(airflow));
        }
        let Some(environments) = &self.environments else { return Ok(Arc::clone(&self.own)) };
        let found = environments.of(&item.bundle, folder).await.map_err(PlaceError::Start)?;
        Ok(found.unwrap_or_else(|| Arc::clone(&self.own)))
    }

    fn in_airflow(&self, item: &WorkItem) -> Option<&Arc<dyn Place>> {
        let (whose, airflow) = self.airflow.as_ref()?;
        whose.takes(item).then_some(airflow)
    }

    fn all(&self) -> impl Iterator<Item = Arc<dyn Place>> {
        let airflow = self.airflow.iter().map(|(_, place)| Arc::clone(place));
        let environments = self.environments.iter().flat_map(Environments::all);
        std::iter::once(Arc::clone(&self.own)).chain(environments).chain(airflow)
    }
}

#[async_trait]
impl Place for Choice {
    async fn start(&self, start: Start<'_>) -> Result<Started, PlaceError> {
        self.of(start.item, start.folder).await?.start(start).await
    }

    fn orphaned(&self, item: &WorkItem, how: Orphaned) {
        // Which of them ran it is not said; what the others note of it is never asked for.
        self.all().for_each(|place| place.orphaned(item, how));
    }

    async fn tick(&self, fence_after: Duration) {
        let all: Vec<_> = self.all().collect();
        futures::future::join_all(all.iter().map(|place| place.tick(fence_after))).await;
    }

    fn trim(&self) {
        self.all().for_each(|place| place.trim());
    }

    fn python(&self) -> String {
        self.all().map(|place| place.python()).collect::<Vec<_>>().join(", ")
    }

    fn python_of(&self, item: &WorkItem) -> String {
        let own = || self.environments.as_ref().and_then(|it| it.known(&item.bundle));
        let place = self.in_airflow(item).cloned().or_else(own);
        place.as_ref().unwrap_or(&self.own).python_of(item)
    }
}
