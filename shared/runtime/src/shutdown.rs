//! An orderly end: one token that every loop watches, and a tracker that waits for them.
use std::{future::Future, time::Duration};

use tokio::{signal::unix, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Asks tasks to end and waits until they have. Cheap to clone; a child ends with its parent.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that ends with this one, and can be ended alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: TaskTracker::new() }
    }

    /// Asks everything to end.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }

    /// Runs `work` as a task that [`Shutdown::finished`] waits for. It must watch the token itself.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(work)
    }

    /// Waits for all spawned tasks; false where `within` ran out first.
    pub async fn finished(&self, within: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(within, self.tracker.wait()).await.is_ok()
    }
}

/// Hears SIGTERM and SIGINT, from when it is made on: until then they end the process on the spot.
#[derive(Debug)]
pub struct StopSignals {
    term: unix::Signal,
    int: unix::Signal,
}

impl StopSignals {
    /// Begins to hear them.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            term: unix::signal(unix::SignalKind::terminate())?,
            int: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    /// The next of them.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Completes at the first SIGTERM or SIGINT.
pub async fn stop_signals() -> std::io::Result<&'static str> {
    Ok(StopSignals::listen()?.next().await)
}
