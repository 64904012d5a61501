//! How far a projection is, for those who read from it.
use std::{sync::Arc, time::Duration};

use dagbok_runlog::Seq;
use tokio::sync::watch;

/// Where a projection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last entry folded in.
    pub applied: Seq,
    /// The log's last entry, as far as is known.
    pub last: Seq,
    /// Whether everything that the log held when it was opened is folded in.
    pub caught_up: bool,
    /// Whether the log can't be read just now: there may be more of it than is known.
    pub broken: bool,
    /// Why the projection stopped for good, where it did.
    pub failed: Option<String>,
}

impl Standing {
    /// How many entries are known and not folded in yet.
    pub fn lag(&self) -> u64 {
        self.last.0.saturating_sub(self.applied.0)
    }
}

/// Watches a projection's standing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<watch::Sender<Standing>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::default())))
    }
}

impl Progress {
    /// One that stands at `applied`.
    pub fn at(applied: Seq) -> Self {
        let progress = Self::default();
        progress.update(|standing| (standing.applied, standing.last) = (applied, applied));
        progress
    }

    /// Where the projection stands now.
    pub fn now(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// A receiver that is told of every change.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// Waits until `seq` is folded in; false where `within` ran out or the projection stopped first.
    pub async fn wait_for(&self, seq: Seq, within: Duration) -> bool {
        let mut standing = self.0.subscribe();
        let reached = standing.wait_for(|now| now.applied >= seq || now.failed.is_some());
        match tokio::time::timeout(within, reached).await {
            Ok(Ok(now)) => now.applied >= seq,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Changes the standing and tells everybody who watches.
    pub fn update(&self, change: impl FnOnce(&mut Standing)) {
        self.0.send_modify(change);
    }
}
