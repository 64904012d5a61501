//! Who leads: a key with a time to live. It keeps a stand-by from sending what the leader sends; who may write the
//! alert log is decided by the log.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_runlog::{KeyedState, StateError};
use dagbok_runtime::fresh_id;
use tokio::time::{Instant, sleep};

/// The key of alerting's lease in the keyed state.
const KEY: &str = "lease/alerting";
/// How often whoever can't lead says why.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// This alerter's claim to lead.
#[derive(Debug)]
pub(crate) struct Lease {
    state: Arc<dyn KeyedState>,
    ttl: Duration,
    holder: String,
    revision: u64,
}

impl Lease {
    pub(crate) fn new(state: Arc<dyn KeyedState>, ttl: Duration) -> Self {
        Self { state, ttl, holder: fresh_id(), revision: 0 }
    }

    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    fn value(&self) -> Bytes {
        Bytes::from(self.holder.clone())
    }

    /// Waits until nobody else leads, and takes the lease. One that nobody renews for three of its spans is
    /// replaced: it should have run out.
    pub(crate) async fn acquire(&mut self) {
        let mut said: Option<Instant> = None;
        let mut seen: Option<(u64, Instant)> = None;
        loop {
            let trouble = match self.state.create(KEY, self.value(), Some(self.ttl)).await {
                Ok(revision) => {
                    self.revision = revision;
                    return;
                }
                Err(StateError::Port(error)) => {
                    seen = None;
                    format!("the lease can't be had: {error}")
                }
                Err(StateError::Conflict { .. }) => {
                    let held = self.state.get(KEY).await.ok().flatten();
                    if let Some(held) = held {
                        if held.value == self.holder.as_bytes() {
                            self.revision = held.revision;
                            return;
                        }
                        let since = match seen {
                            Some((revision, since)) if revision == held.revision => since,
                            _ => Instant::now(),
                        };
                        seen = Some((held.revision, since));
                        if since.elapsed() > self.ttl * 3 && self.replace(held.revision).await {
                            return;
                        }
                    }
                    "another alerting service leads: standing by".to_owned()
                }
            };
            if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                said = Some(Instant::now());
                tracing::info!("{trouble}");
            }
            sleep(self.ttl / 6).await;
        }
    }

    async fn replace(&mut self, revision: u64) -> bool {
        let replaced = self.state.update(KEY, self.value(), revision, Some(self.ttl)).await;
        replaced.is_ok_and(|revision| {
            self.revision = revision;
            true
        })
    }

    /// Renews the lease for as long as it can; returns once somebody else may lead.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            sleep(self.ttl / 3).await;
            let update = self.state.update(KEY, self.value(), self.revision, Some(self.ttl));
            match tokio::time::timeout(self.ttl, update).await {
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    renewed = Instant::now();
                }
                Ok(Err(StateError::Conflict { .. })) => match self.state.get(KEY).await {
                    Ok(Some(held)) if held.value == self.holder.as_bytes() => {
                        self.revision = held.revision;
                    }
                    _ => return,
                },
                // While the store is away nobody else can lead either; the log keeps two from writing.
                Ok(Err(StateError::Port(error))) => {
                    tracing::debug!(%error, since = ?renewed.elapsed(), "lease not renewed yet");
                }
                Err(_) => {}
            }
        }
    }

    /// Lets the next one lead at once.
    pub(crate) async fn release(&mut self) {
        if let Err(error) = self.state.delete(KEY).await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}
