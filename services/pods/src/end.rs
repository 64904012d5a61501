//! From a pod's end to the try's: told once, acknowledged, and the pod kept or deleted.
use std::{sync::Arc, time::Duration};

use dagbok_events::{ExecutorId, FailureKind, Fault};
use dagbok_inbox::whole;
use dagbok_protocol::{ReportBody, names};
use dagbok_runlog::{DeliveryHandle, PortError};
use dagbok_runtime::Backoff;
use tokio::time::{Instant, sleep};

use crate::{
    api::ApiError,
    shared::{SILENCE, Shared, failed, failure},
    spec::{WORKER, worker_of},
};

/// So often a request to the API server is made again, with growing waits, before the pod is left to the next look: some five minutes.
const ATTEMPTS: u32 = 16;
/// The first of those waits, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// For so long is asked whether an end is told that nobody can tell.
const ASKED_FOR: Duration = Duration::from_mins(5);

/// An item that is there once its container is over is looked for again so often, this far apart, before it counts as left.
const LOOKS: u32 = 4;
const LOOK: Duration = Duration::from_millis(250);

/// What is to become of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pod {
    /// It ended well.
    Good,
    /// It did not: whether it is kept is set.
    Bad,
    /// It must not run any more.
    Doomed,
    /// It is on a node that nobody reaches, and goes with that.
    Lost,
    /// There is none.
    Gone,
}

/// Tells the end, where nobody else has: `body` is what the executor in the pod could not say.
pub(crate) async fn conclude(shared: &Shared, name: &str, body: Option<ReportBody>, pod: Pod) {
    if !shared.book.ends(name) {
        return;
    }
    let found = shared
        .book
        .with(name, |it| (it.key.clone(), it.executor.clone(), it.handle.clone(), it.item.clone()));
    let Some((key, executor, handle, item)) = found else { return };
    if let Some(body) = body {
        tracing::info!(pod = name, %key, "a pod's end is told by whoever watches it");
        // Before it began nobody has a name there.
        shared.report(&executor, &key, body).await;
    }
    let handle: Option<Arc<dyn DeliveryHandle>> = match (handle, item) {
        // A pod of an earlier life, whose item was not taken up yet.
        (None, Some(item)) => {
            let taken = shared.take_up(&key, &item).await.ok().flatten();
            taken.map(|it| Arc::from(it.handle))
        }
        (handle, _) => handle,
    };
    if let Some(handle) = handle {
        acknowledge(&*handle).await;
    }
    clear_away(shared, name, pod).await;
    // With it goes the slot.
    drop(shared.book.remove(name));
}

async fn clear_away(shared: &Shared, name: &str, pod: Pod) {
    let settings = &shared.settings;
    let deletes = match pod {
        Pod::Gone => return,
        Pod::Good => settings.delete_worker_pods,
        Pod::Bad => settings.delete_worker_pods && settings.delete_worker_pods_on_failure,
        Pod::Doomed => true,
        // It is to go already: marked, no later list has it again.
        Pod::Lost => false,
    };
    if deletes {
        delete(shared, name).await;
        return;
    }
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    for _ in 0..ATTEMPTS {
        let marked = {
            let _turn = shared.creations.acquire().await.expect("turns are not closed");
            shared.api.mark_done(name).await
        };
        let Err(error) = marked else { return };
        if backoff.is_worth_telling() {
            tracing::warn!(pod = name, %error, "a pod that is kept can't be marked as done with");
        }
        rest(&mut backoff, &error).await;
    }
}

/// Waits for as long as the server says, or longer from time to time.
async fn rest(backoff: &mut Backoff, error: &ApiError) {
    sleep(error.after.unwrap_or_default().max(backoff.wait())).await;
}

/// Deletes a pod, as often as it takes.
pub(crate) async fn delete(shared: &Shared, name: &str) {
    let uid = shared.book.with(name, |entry| entry.uid.clone()).flatten();
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    for _ in 0..ATTEMPTS {
        let deleted = {
            let _turn = shared.creations.acquire().await.expect("turns are not closed");
            delete_own(shared, name, uid.clone()).await
        };
        let Err(error) = deleted else { return };
        if backoff.is_worth_telling() {
            tracing::warn!(pod = name, %error, "a pod can't be deleted; trying again");
        }
        rest(&mut backoff, &error).await;
    }
    tracing::error!(pod = name, "a pod is left: the next look finds it again");
}

/// Deletes the pod of this name that is this executor's: one that was never seen here may be another's by now.
async fn delete_own(shared: &Shared, name: &str, uid: Option<String>) -> Result<(), ApiError> {
    if let Some(uid) = uid {
        return shared.api.delete(name, &uid).await;
    }
    let Some(there) = shared.api.get(name).await? else { return Ok(()) };
    let labels = there.metadata.labels.unwrap_or_default();
    let is_own = labels.get(WORKER) == Some(&worker_of(&shared.settings));
    match there.metadata.uid.filter(|_| is_own) {
        Some(uid) => shared.api.delete(name, &uid).await,
        None => Ok(()),
    }
}

/// Waits until the executor in a pod surely says nothing more; whether it was there. An object that is gone says nothing of its
/// process where somebody deleted it by force, or its node is cut off: whoever still renews its presence lives, and tells its end
/// itself.
pub(crate) async fn silence(shared: &Shared, name: &str) -> bool {
    let Some(executor) = shared.book.with(name, |entry| entry.executor.clone()) else {
        return false;
    };
    let key = names::presence_key(&executor);
    let look =
        (shared.settings.lease / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let (mut spoke, mut believed) = (false, Instant::now());
    loop {
        // It goes by itself with the goodbye, or two leases after the last renewal.
        match whole::get(&*shared.ports.state, &key).await {
            Ok(None) if Instant::now() >= believed => return spoke,
            Ok(Some(_)) if !spoke => {
                tracing::info!(pod = name, %executor, "the pod is gone and the executor in it still speaks: its end is waited for");
                spoke = true;
            }
            Ok(_) => {}
            // Where nobody can tell it may be there; and where the state was lost it speaks again within a lease.
            Err(_) => believed = Instant::now() + shared.settings.lease,
        }
        sleep(look).await;
    }
}

/// Lets a pod go that is to end and does not: on a node that nobody reaches its object stays until somebody takes the node away. The
/// executor in it is surely gone three leases after it was last seen.
pub(crate) async fn outlast(shared: &Shared, name: &str, executor: &ExecutorId, why: &str) {
    let key = names::presence_key(executor);
    let lease = shared.settings.lease;
    let mut silent = Instant::now();
    while silent.elapsed() <= lease * SILENCE {
        sleep(lease / 4).await;
        if shared.book.with(name, |entry| entry.ends) != Some(false) {
            return;
        }
        // Where nobody can tell it may be there.
        if !matches!(whole::get(&*shared.ports.state, &key).await, Ok(None)) {
            silent = Instant::now();
        }
    }
    tracing::warn!(pod = name, %executor, "a pod that is to end does not, and nobody speaks in it");
    let unsaid = is_unsaid(shared, name).await;
    let body = unsaid.then(|| failure(failed(FailureKind::Executor, Fault::System, why)));
    conclude(shared, name, body, Pod::Lost).await;
}

/// Whether a container that is over left its item behind: what it had to tell is not told.
pub(crate) async fn is_unsaid(shared: &Shared, name: &str) -> bool {
    let found = shared.book.with(name, |entry| Some((entry.key.clone(), entry.item.clone()?)));
    let Some((key, item)) = found.flatten() else { return false };
    let mut backoff = Backoff::default();
    let (mut looks, begun) = (0, Instant::now());
    loop {
        match shared.take_up(&key, &item).await {
            Ok(None) => return false,
            // Its acknowledgement may be on its way.
            Ok(Some(_)) if looks < LOOKS => looks += 1,
            Ok(Some(_)) => return true,
            Err(error @ PortError::Unavailable { .. }) if begun.elapsed() < ASKED_FOR => {
                if backoff.is_worth_telling() {
                    tracing::warn!(pod = name, %error, "whether a pod's end is told can't be seen yet");
                }
                backoff.pause().await;
                continue;
            }
            // Told a second time an end is refused, and told by nobody it is waited for.
            Err(error) => {
                tracing::warn!(pod = name, %error, "whether a pod's end is told can't be seen");
                return true;
            }
        }
        sleep(LOOK).await;
    }
}

async fn acknowledge(handle: &dyn DeliveryHandle) {
    let mut backoff = Backoff::default();
    loop {
        match handle.ack().await {
            Ok(()) => return,
            Err(error @ PortError::Unavailable { .. }) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%error, "a work item is not acknowledged yet");
                }
            }
            // It comes again, and is refused then: its report is safe.
            Err(error) => {
                tracing::warn!(%error, "a work item can't be acknowledged");
                return;
            }
        }
        backoff.pause().await;
    }
}

/// Lets a try go that nobody wants any more, with its pod.
pub(crate) fn unwanted(shared: &Arc<Shared>, name: String) {
    let there = shared.book.with(&name, |entry| {
        entry.unwanted = true;
        entry.there
    });
    if there == Some(true) {
        let shared = Arc::clone(shared);
        tokio::spawn(async move { conclude(&shared, &name, None, Pod::Doomed).await });
    }
}
