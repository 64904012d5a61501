//! When the scheduler last gave a sign of life: each time it renews its lease, as this API sees it. The
//! lease itself carries no time, and another machine's clock would not be this one's.
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use dagbok_events::Timestamp;
use dagbok_protocol::names::SCHEDULER_LEASE;
use dagbok_runlog::{Change, KeyedState};
use dagbok_runtime::{Clock, Shutdown};
use futures::StreamExt as _;

/// The pause before a watch that broke is begun anew.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What was seen last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicI64>);

impl Pulse {
    /// Watches the lease until `shutdown` starts.
    pub(crate) fn watch(state: Arc<dyn KeyedState>, clock: Clock, shutdown: &Shutdown) -> Self {
        let (pulse, ended) = (Self::default(), shutdown.clone());
        let seen = pulse.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = seen.follow(state, clock) => {}
                () = ended.started() => {}
            }
        });
        pulse
    }

    async fn follow(&self, state: Arc<dyn KeyedState>, clock: Clock) {
        loop {
            if let Ok(mut changes) = state.watch(SCHEDULER_LEASE).await {
                while let Some(Ok(change)) = changes.next().await {
                    if matches!(change, Change::Put { key, .. } if key == SCHEDULER_LEASE) {
                        self.0.store(clock.now().0, Ordering::Relaxed);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// When the lease was last seen to be renewed; `None` while it was not.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Timestamp)
    }
}
