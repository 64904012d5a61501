//! Whether there is a connection now, told by the client's events. Everything that waits for an
//! answer watches it, so that a broken connection is known at once and not after a timeout.
use async_nats::{Event, ServerError};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::Instant,
};

/// Denials that who waits for one may be behind.
const DENIALS_KEPT: usize = 64;

/// What is known of the connection.
#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    pub(crate) connected: bool,
    /// Since when it has been as it is.
    pub(crate) since: Instant,
    /// How often it broke: an answer asked for in one epoch does not come in another.
    pub(crate) epoch: u64,
    /// What the client last said was wrong.
    pub(crate) last_error: Option<String>,
}

/// The state, and who tells of it.
#[derive(Debug)]
pub(crate) struct Status {
    state: watch::Sender<LinkState>,
    /// The server's words on what this user may not do.
    denials: broadcast::Sender<String>,
}

impl Status {
    pub(crate) fn new() -> Self {
        let state =
            LinkState { connected: false, since: Instant::now(), epoch: 0, last_error: None };
        Self { state: watch::Sender::new(state), denials: broadcast::Sender::new(DENIALS_KEPT) }
    }

    /// Takes in what the client says.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("the connection to NATS is there");
                self.turn(true);
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("the connection to NATS broke; connecting again");
                self.turn(false);
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "too slow a reader: the client drops messages");
            }
            Event::ServerError(error) => self.complain(error),
            Event::ClientError(error) => {
                tracing::debug!(%error, "the NATS client failed");
                self.remember(error.to_string());
            }
            Event::LameDuckMode => tracing::info!("the NATS server is shutting down"),
            Event::Draining => {}
        }
    }

    fn turn(&self, connected: bool) {
        self.state.send_modify(|state| {
            if state.connected != connected || !connected {
                state.since = Instant::now();
            }
            state.connected = connected;
            if connected {
                state.last_error = None;
            } else {
                state.epoch += 1;
            }
        });
    }

    fn complain(&self, error: &ServerError) {
        tracing::warn!(%error, "the NATS server complains");
        let said = error.to_string();
        if said.to_ascii_lowercase().contains("permissions violation") {
            // Nobody may be waiting for it.
            let _ = self.denials.send(said.clone());
        }
        self.remember(said);
    }

    fn remember(&self, error: String) {
        self.state.send_modify(|state| state.last_error = Some(error));
    }

    pub(crate) fn now(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Returns once the connection of `epoch` is gone.
    pub(crate) async fn lost(&self, epoch: u64) {
        let mut state = self.state.subscribe();
        // The sender lives as long as this borrow: waiting can't fail.
        let _ = state.wait_for(|state| state.epoch != epoch).await;
    }

    /// Returns once something may have changed.
    pub(crate) async fn changed(&self) {
        let _ = self.state.subscribe().changed().await;
    }

    /// What the server denies from now on: to be taken before something is asked.
    pub(crate) fn denials(&self) -> Denials {
        Denials(self.denials.subscribe())
    }
}

/// What the server denies.
pub(crate) struct Denials(broadcast::Receiver<String>);

impl Denials {
    /// Returns the server's words once it denies something about `subject`.
    pub(crate) async fn of(mut self, subject: &str) -> String {
        let quoted = format!("\"{subject}\"");
        loop {
            match self.0.recv().await {
                Ok(said) if said.contains(&quoted) => return said,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
