//! Whether this executor may take work: somebody may have cordoned it, or the scheduler may speak another version.
//!
//! Both are read before the first item is pulled and at each renewal from then on. An order to look only makes it sooner.
use std::{sync::Arc, time::Duration};

use dagbok_inbox::standing::{Said, said_of};
use dagbok_protocol::Cordon;
use dagbok_runlog::PortError;
use dagbok_runtime::Backoff;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::shared::Shared;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Standing {
    cordon: watch::Sender<Option<Cordon>>,
    /// The cordon that was there at the start: it was not said of this life that it leaves.
    found: Mutex<Option<u64>>,
    look: Notify,
    refused: Mutex<Option<String>>,
}

impl Standing {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        let cordon = watch::channel(None).0;
        Self { cordon, found: Mutex::new(None), look: Notify::new(), refused: Mutex::new(None) }
    }

    /// Whether it takes nothing new.
    pub(crate) fn is_cordoned(&self) -> bool {
        self.cordon.borrow().is_some()
    }

    /// Completes once it is cordoned; at once where it is.
    pub(crate) async fn cordoned(&self) {
        // The sender is this very one.
        drop(self.cordon.subscribe().wait_for(Option::is_some).await);
    }

    /// Completes once it is drained by a later record than this one.
    pub(crate) async fn drained_anew(&self, seq: u64) {
        let is_newer = |it: &Option<Cordon>| it.as_ref().is_some_and(|it| it.drain && it.seq > seq);
        drop(self.cordon.subscribe().wait_for(is_newer).await);
    }

    /// Completes with the next change of that.
    pub(crate) async fn changed(&self) {
        let mut seen = self.cordon.subscribe();
        seen.mark_unchanged();
        // The sender is this very one.
        drop(seen.changed().await);
    }

    /// What says that this life leaves.
    pub(crate) fn drained_by(&self) -> Option<Cordon> {
        let found = *self.found.lock();
        self.cordon.borrow().clone().filter(|it| it.drain && found != Some(it.seq))
    }

    /// Has it looked at soon.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// No scheduler has this executor.
    pub(crate) fn refuse(&self, why: String) {
        *self.refused.lock() = Some(why);
    }

    /// Why not, where that is so.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }
}

/// Waits until it is known how it stands. Before any work is pulled.
pub(crate) async fn learn(shared: &Shared) {
    let mut backoff = Backoff::default();
    while !shared.shutdown.is_started() {
        match look(shared).await {
            Ok(()) => {
                let found = shared.standing.cordon.borrow().as_ref().map(|it| it.seq);
                *shared.standing.found.lock() = found;
                return;
            }
            Err(error) if backoff.is_worth_telling() => {
                tracing::warn!(%error, "it can't be read whether work may be taken; trying again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = backoff.pause() => {}
            () = shared.shutdown.started() => {}
        }
    }
}

/// Looks for ever; run it beside.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let every = shared.settings.lease / 4;
    loop {
        tokio::select! {
            () = sleep(every) => {}
            () = shared.standing.look.notified() => {}
        }
        // What can't be read stands as it was.
        if let Err(error) = look(&shared).await {
            tracing::debug!(%error, "it can't be read whether work may be taken");
        }
    }
}

async fn look(shared: &Shared) -> Result<(), PortError> {
    let said = said_of(&*shared.ports.state, &shared.settings.name);
    let unavailable = || PortError::unavailable("state", "no answer in time");
    let Said { cordon, refused, is_whole } =
        timeout(LOOK, said).await.map_err(|_| unavailable())??;
    if let Some(why) = refused {
        tracing::error!(why, "this executor takes no work, and leaves");
        shared.standing.refuse(why);
        shared.shutdown.start();
    }
    if cordon.is_some() || is_whole {
        take(shared, cordon.as_ref());
    }
    Ok(())
}

fn take(shared: &Shared, cordon: Option<&Cordon>) {
    if let Some(Cordon { seq, .. }) = cordon {
        let mut found = shared.standing.found.lock();
        // The one that was there at the start, in words that can be read now.
        if *found == Some(0) {
            *found = Some(*seq);
        }
    }
    let changed = shared.standing.cordon.send_if_modified(|now| {
        let other = now.as_ref() != cordon;
        if other {
            *now = cordon.cloned();
        }
        other
    });
    if !changed {
        return;
    }
    shared.holds.tell_changed();
    match cordon {
        None => tracing::info!("this executor is not cordoned any more: it takes work"),
        Some(Cordon { by, reason, seq, .. }) => {
            let reason = reason.as_deref().unwrap_or_default();
            tracing::info!(
                ?by,
                reason,
                record = seq,
                "this executor is cordoned: it takes nothing new"
            );
        }
    }
}

/// Leaves once somebody has it drained. Where it is part of a process that has others, it stays and takes nothing.
pub(crate) async fn leave_when_drained(shared: Arc<Shared>) {
    let mut seen = shared.standing.cordon.subscribe();
    loop {
        if shared.settings.leaves && shared.standing.drained_by().is_some() {
            tracing::info!("this executor is drained: it ends what it runs, and leaves");
            shared.shutdown.start();
            return;
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}
