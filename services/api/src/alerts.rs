//! The read model of alerts: a fold of the alert log, in memory. It is made anew with each start; a log of alerts is
//! short beside one of runs.
use std::{fmt, sync::Arc, time::Duration};

use dagbok_alerts::Book;
use dagbok_runlog::{Entry, PortError, ReadLimit, RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use futures::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::watch;

/// The fold as handlers read it. Cheap to clone.
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    book: RwLock<Book>,
    /// Up to where the log is folded; `None` until all that it held at the start is.
    folded: watch::Sender<Option<Seq>>,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("folded", &*self.0.folded.borrow()).finish_non_exhaustive()
    }
}

impl Alerts {
    /// Folds `log` until the end is asked for.
    pub fn follow(log: Arc<dyn RunLog>, shutdown: &Shutdown) -> Self {
        let inner = Inner { book: RwLock::default(), folded: watch::Sender::new(None) };
        let alerts = Self(Arc::new(inner));
        let (kept, stop) = (alerts.clone(), shutdown.clone());
        shutdown.spawn(async move {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
            while !stop.is_started() {
                let ended = tokio::select! {
                    () = stop.started() => return,
                    ended = kept.session(&*log) => ended,
                };
                if let Err(error) = ended
                    && backoff.is_worth_telling()
                {
                    tracing::info!(%error, "the alert log can't be read yet; trying again");
                }
                backoff.pause().await;
            }
        });
        alerts
    }

    async fn session(&self, log: &dyn RunLog) -> Result<(), PortError> {
        loop {
            let after = Seq(self.0.book.read().last_seq());
            let entries = log.read(after, ReadLimit::default()).await?;
            if entries.is_empty() {
                break;
            }
            self.fold(&entries);
        }
        let after = Seq(self.0.book.read().last_seq());
        self.0.folded.send_replace(Some(after));
        let mut batches = log.follow(after);
        while let Some(batch) = batches.next().await {
            self.fold(&batch?);
            let at = Seq(self.0.book.read().last_seq());
            self.0.folded.send_replace(Some(at));
        }
        Ok(())
    }

    fn fold(&self, entries: &[Entry]) {
        let mut book = self.0.book.write();
        for entry in entries {
            if let Err(error) = book.take_entry(entry.seq.0, &entry.payload) {
                tracing::error!(%error, seq = %entry.seq, "an entry of the alert log can't be read");
            }
        }
    }

    /// Waits until the fold has come to `seq`, and has what the log held at the start; false where `within` ran out.
    pub async fn wait_for(&self, seq: Seq, within: Duration) -> bool {
        let mut folded = self.0.folded.subscribe();
        let reached = folded.wait_for(|at| at.is_some_and(|at| at >= seq));
        matches!(tokio::time::timeout(within, reached).await, Ok(Ok(_)))
    }

    /// A receiver that is told of every change.
    pub fn subscribe(&self) -> watch::Receiver<Option<Seq>> {
        self.0.folded.subscribe()
    }

    /// Asks the fold as it is.
    pub fn read<T>(&self, question: impl FnOnce(&Book) -> T) -> T {
        question(&self.0.book.read())
    }
}
