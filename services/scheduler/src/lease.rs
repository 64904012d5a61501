//! Who leads: a key in the keyed state with a time to live. It decides who tries, not who may write.
use std::time::Duration;

use bytes::Bytes;
use dagbok_protocol::names::SCHEDULER_LEASE;
use dagbok_runlog::{Ports, StateError};
use dagbok_runtime::fresh_id;
use tokio::time::{Instant, sleep};

use crate::SchedulerSettings;

/// This scheduler's claim to lead.
#[derive(Debug)]
pub(crate) struct Lease {
    ports: Ports,
    ttl: Duration,
    holder: String,
    revision: u64,
    ignore: bool,
}

impl Lease {
    pub(crate) fn new(ports: Ports, settings: &SchedulerSettings) -> Self {
        let (ttl, ignore) = (settings.leader_lease, settings.ignore_lease);
        Self { ports, ttl, holder: fresh_id(), revision: 0, ignore }
    }

    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Waits until nobody else leads, and takes the lease.
    pub(crate) async fn acquire(&mut self) {
        if self.ignore {
            return;
        }
        let mut said = false;
        loop {
            let value = Bytes::from(self.holder.clone());
            match self.ports.state.create(SCHEDULER_LEASE, value, Some(self.ttl)).await {
                Ok(revision) => {
                    self.revision = revision;
                    return;
                }
                Err(StateError::Conflict { .. }) => {
                    if self.is_own().await {
                        return;
                    }
                    if !said {
                        tracing::info!("another scheduler leads: standing by");
                        said = true;
                    }
                }
                Err(StateError::Port(error)) => tracing::debug!(%error, "no lease to be had yet"),
            }
            sleep(self.ttl / 6).await;
        }
    }

    /// Whether the lease is this scheduler's already: a create whose answer was lost.
    async fn is_own(&mut self) -> bool {
        match self.ports.state.get(SCHEDULER_LEASE).await {
            Ok(Some(held)) if held.value == self.holder.as_bytes() => {
                self.revision = held.revision;
                true
            }
            _ => false,
        }
    }

    /// Renews the lease for as long as it can; returns once somebody else may lead.
    pub(crate) async fn keep(&mut self) {
        if self.ignore {
            std::future::pending::<()>().await;
        }
        let mut renewed = Instant::now();
        loop {
            sleep(self.ttl / 3).await;
            let value = Bytes::from(self.holder.clone());
            let update =
                self.ports.state.update(SCHEDULER_LEASE, value, self.revision, Some(self.ttl));
            match tokio::time::timeout(self.ttl, update).await {
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    renewed = Instant::now();
                }
                Ok(Err(StateError::Conflict { .. })) => {
                    if !self.is_own().await {
                        return;
                    }
                }
                Ok(Err(StateError::Port(_))) | Err(_) if renewed.elapsed() > self.ttl => return,
                Ok(Err(StateError::Port(error))) => {
                    tracing::debug!(%error, "lease not renewed yet");
                }
                Err(_) => {}
            }
        }
    }

    /// Lets the next one lead at once.
    pub(crate) async fn release(&mut self) {
        if !self.ignore
            && let Err(error) = self.ports.state.delete(SCHEDULER_LEASE).await
        {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}
