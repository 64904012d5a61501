//! How far a try has come, told to all who serve it.
use tokio::sync::watch;

/// The phases of a try's process, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Forked; it waits for its start-up details.
    Waiting,
    /// It may run the user's code.
    Running,
    /// It has said how the try ended.
    Said,
    /// It is gone.
    Exited,
}

/// Tells the phase. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PhaseTeller(watch::Sender<Phase>);

impl PhaseTeller {
    /// Starts in `phase`.
    pub(crate) fn new(phase: Phase) -> Self {
        Self(watch::channel(phase).0)
    }

    /// Moves on to `phase`; never back.
    pub(crate) fn reach(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let on = phase > *now;
            if on {
                *now = phase;
            }
            on
        });
    }

    /// A reader that has seen nothing yet.
    pub(crate) fn reader(&self) -> PhaseReader {
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        PhaseReader(receiver)
    }
}

/// Hears the phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseReader(watch::Receiver<Phase>);

impl PhaseReader {
    /// The phase when it next changes, or at once where this reader hasn't seen it; pends for ever when
    /// nobody can tell any more.
    pub(crate) async fn next(&mut self) -> Phase {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }

    /// Waits until `phase` or a later one is reached.
    pub(crate) async fn reached(&mut self, phase: Phase) -> Phase {
        let reached = self.0.wait_for(|now| *now >= phase).await.map(|now| *now);
        match reached {
            Ok(now) => now,
            Err(_) => std::future::pending().await,
        }
    }
}
