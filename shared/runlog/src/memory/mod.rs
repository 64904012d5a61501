//! All primitives in memory: for tests, simulations and throw-away runs, and, where the log is
//! embedded, for everything that the log can rebuild. Time is tokio's, so that a test that pauses
//! time moves leases and times to live with it. Nothing here runs in the background.
mod blobs;
mod log;
mod queue;
mod signals;
mod snapshots;
mod state;

use std::sync::Arc;

pub use blobs::MemoryBlobs;
pub use log::MemoryLog;
pub use queue::MemoryQueues;
pub use signals::MemorySignals;
pub use snapshots::MemorySnapshots;
pub use state::MemoryState;
use tokio::time::{Duration, Instant};

use crate::Ports;

/// A fresh namespace in memory; clones of the ports share it, and dropping them all forgets it.
pub fn ports() -> Ports {
    Ports {
        log: Arc::new(MemoryLog::default()),
        queues: Arc::new(MemoryQueues::default()),
        state: Arc::new(MemoryState::default()),
        blobs: Arc::new(MemoryBlobs::default()),
        signals: Arc::new(MemorySignals::default()),
        snapshots: Arc::new(MemorySnapshots::default()),
    }
}

/// The moment `wait` from now; a wait too long to name ends in thirty years.
fn after(wait: Duration) -> Instant {
    const LONG: Duration = Duration::from_hours(30 * 365 * 24);
    Instant::now() + wait.min(LONG)
}

#[cfg(test)]
mod tests;
