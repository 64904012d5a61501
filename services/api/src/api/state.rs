//! What every handler is handed.
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use dagbok_inbox::Inbox;
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_secrets::KeyFile;
use tokio::sync::{Notify, RwLock};

use super::{
    errors::ApiError, logs::KeptLogs, pulse::Pulse, queues::CountsQueues, sources::Sources,
    why::Past,
};
use crate::{
    alerts::Alerts,
    model::{ReadModel, Store},
    retention::{Keeper, Rules},
};

/// How long the API waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the scheduler's answer to a command.
    pub answer: Duration,
    /// For the read model to catch up with the log, or with a command's record.
    pub model: Duration,
    /// For one request that does not stream, all in all.
    pub request: Duration,
    /// Between two signs of life on a stream with nothing to say.
    pub heartbeat: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            model: Duration::from_secs(5),
            request: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// The API's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Parts>);

/// What [`ApiState`] holds.
#[derive(Debug)]
pub struct Parts {
    /// The primitives.
    pub ports: Ports,
    /// The way to the scheduler.
    pub inbox: Inbox,
    /// The rows.
    pub model: ReadModel,
    /// When the scheduler last gave a sign of life.
    pub pulse: Pulse,
    /// Logs of tries that were read last.
    pub logs: KeptLogs,
    /// DAG files that were read last.
    pub sources: Sources,
    /// The time.
    pub clock: Clock,
    /// Streams end when this starts.
    pub shutdown: Shutdown,
    /// How long to wait.
    pub patience: Patience,
    /// What is kept where nobody says otherwise.
    pub rules: Rules,
    /// Told where runs went by hand.
    pub went: Arc<Notify>,
    /// Who answers about the past, where somebody does.
    pub past: OnceLock<Arc<dyn Past>>,
    /// Who counts what waits on queues, where somebody does.
    pub queues: OnceLock<Arc<dyn CountsQueues>>,
    /// Alerts, where there is a log of them.
    pub alerts: OnceLock<Alerts>,
    /// Where the master key of variables and connections lies.
    pub secrets: OnceLock<KeyFile>,
    /// Held while something is sealed and sent, and alone by whoever destroys the key that it was sealed by.
    pub sealing: RwLock<()>,
}

impl Deref for ApiState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl ApiState {
    /// Opens the inbox; the rest is handed in.
    pub async fn new(
        ports: Ports,
        model: ReadModel,
        clock: Clock,
        shutdown: Shutdown,
        patience: Patience,
        rules: Rules,
    ) -> Result<Self, PortError> {
        let inbox = Inbox::open(&ports, clock.clone()).await?;
        let pulse = Pulse::watch(Arc::clone(&ports.state), clock.clone(), &shutdown);
        Ok(Self(Arc::new(Parts {
            ports,
            inbox,
            model,
            pulse,
            logs: KeptLogs::default(),
            sources: Sources::default(),
            clock,
            shutdown,
            patience,
            rules,
            went: Arc::default(),
            past: OnceLock::new(),
            queues: OnceLock::new(),
            alerts: OnceLock::new(),
            secrets: OnceLock::new(),
            sealing: RwLock::default(),
        })))
    }

    /// Who lets runs go.
    pub(crate) fn keeper(&self) -> Keeper {
        Keeper {
            model: self.model.clone(),
            log: Arc::clone(&self.ports.log),
            inbox: self.inbox.clone(),
            blobs: Arc::clone(&self.ports.blobs),
            clock: self.clock.clone(),
            went: Arc::clone(&self.went),
        }
    }

    /// Asks the rows on a blocking thread, once they hold all that the log held at the start.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.model_is_ready().await?;
        let store = self.model.store();
        let asked = tokio::task::spawn_blocking(move || question(&store));
        asked.await.map_err(|panic| ApiError::bug(&panic))?
    }

    /// Waits until the rows are complete, within bounds.
    async fn model_is_ready(&self) -> Result<(), ApiError> {
        let mut standing = self.model.progress().subscribe();
        let ready = standing.wait_for(|now| now.caught_up || now.failed.is_some());
        // Time running out is seen below: the standing is then as it was.
        let _ = tokio::time::timeout(self.patience.model, ready).await;
        let now = self.model.progress().now();
        if let Some(why) = now.failed {
            return Err(ApiError::Unavailable(format!(
                "the read model has stopped and its rows are out of date: {why}"
            )));
        }
        if now.caught_up {
            return Ok(());
        }
        Err(ApiError::Unavailable(format!(
            "the read model is being built: {} of {} records are folded in; ask again shortly",
            now.applied, now.last
        )))
    }
}
