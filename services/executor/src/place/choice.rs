//! Two places: one for the tries that an installed Airflow runs, one for the others.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_protocol::WorkItem;

use super::{Orphaned, Place, PlaceError, Start, Started};
use crate::settings::AirflowRuntime;

/// Both, and which tries are Airflow's.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Where Dagbok's own package runs tries.
    pub(crate) own: Arc<dyn Place>,
    /// Where Airflow's task runner does.
    pub(crate) airflow: Arc<dyn Place>,
    /// Whose.
    pub(crate) whose: AirflowRuntime,
}

impl Choice {
    fn of(&self, item: &WorkItem) -> &Arc<dyn Place> {
        if self.whose.takes(item) { &self.airflow } else { &self.own }
    }
}

#[async_trait]
impl Place for Choice {
    async fn start(&self, start: Start<'_>) -> Result<Started, PlaceError> {
        self.of(start.item).start(start).await
    }

    fn orphaned(&self, item: &WorkItem, how: Orphaned) {
        self.of(item).orphaned(item, how);
    }

    async fn tick(&self, fence_after: Duration) {
        tokio::join!(self.own.tick(fence_after), self.airflow.tick(fence_after));
    }

    fn trim(&self) {
        self.own.trim();
        self.airflow.trim();
    }

    fn python(&self) -> String {
        format!("{}, {}", self.own.python(), self.airflow.python())
    }
}
