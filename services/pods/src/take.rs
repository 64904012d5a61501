//! From a delivery to a pod.
use std::{sync::Arc, time::Duration};

use dagbok_events::{ExecutorId, FailureKind, Fault, decode_any};
use dagbok_inbox::passed;
use dagbok_protocol::{ReportBody, WorkItem, lacking};
use dagbok_runlog::{Delivery, DeliveryHandle};
use dagbok_runtime::Backoff;
use serde_json::Value;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{
    api::{DONE, Made},
    book::Entry,
    end,
    names::{executor_of, pod_name},
    shared::{Shared, failed, failure},
    spec::{ADDRESS, NoPod, TRY, WORKER, pod_of, worker_of},
};

/// How soon an item that can't be read here may come to another executor, perhaps a newer one.
const UNREADABLE_DELAY: Duration = Duration::from_secs(30);
/// The first wait after an API server that has no time, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// So long is waited for a pod of the same name that is being deleted.
const OTHER: Duration = Duration::from_secs(1);

/// What the API server says of a pod that the namespace's rules forbid.
const POD_SECURITY: &str = "violates PodSecurity";

/// How an attempt to make a pod ended.
enum Came {
    /// It is there.
    There,
    /// It can't be, by whose fault and why.
    Never(FailureKind, Fault, String),
    /// Nobody wants it any more, or somebody else tells its end.
    Off,
}

/// Takes up what was delivered: makes the pod, or finds it there already.
pub(crate) async fn take(shared: Arc<Shared>, delivery: Delivery, slot: OwnedSemaphorePermit) {
    let item: WorkItem = match decode_any(&delivery.payload) {
        Ok(item) => item,
        Err(error) => {
            tracing::error!(key = delivery.key, %error, "a work item can't be read here and is handed back");
            drop(delivery.handle.nak(UNREADABLE_DELAY).await);
            return;
        }
    };
    if let Some(lacks) = lacking(&shared.settings.resources, &item.resources) {
        tracing::debug!(key = %item.key, lacks, "a try asks for more than any pod here has");
        drop(slot);
        return pass_on(&shared, &item, &*delivery.handle, delivery.delivered).await;
    }
    let name = pod_name(&shared.settings.dagbok, &item.key);
    let handle: Arc<dyn DeliveryHandle> = Arc::from(delivery.handle);
    let address = handle.address();
    let executor = executor_of(&name, address.as_deref().unwrap_or_default());
    let mut entry = Entry::new(item.key.clone(), executor);
    (entry.handle, entry.slot) = (Some(Arc::clone(&handle)), Some(slot));
    entry.item = address.clone().map(|address| (item.queue.clone(), address));
    if let Err(second) = shared.book.insert(&name, entry) {
        // Its lease ran out meanwhile: from now on this delivery is the one to renew.
        tracing::debug!(pod = name, "delivered again while its pod is there");
        shared.book.with(&name, |entry| (entry.handle, entry.item) = (second.handle, second.item));
        return;
    }
    let pod = match &address {
        Some(address) => pod_of(&shared.settings, &item, address),
        None => Err(NoPod::Settings(
            "this queue's work can't be passed on to a pod: pods need NATS".to_owned(),
        )),
    };
    let came = match pod {
        Ok(pod) => make(&shared, &name, &item, &pod).await,
        // As it stands in the file it will never be one.
        Err(why @ NoPod::Override(_)) => {
            Came::Never(FailureKind::ImportError, Fault::User, why.to_string())
        }
        Err(why @ NoPod::Settings(_)) => {
            Came::Never(FailureKind::CouldNotStart, Fault::System, why.to_string())
        }
    };
    match came {
        Came::There => {
            shared.book.with(&name, |entry| entry.there = true);
            if shared.book.with(&name, |entry| entry.unwanted).unwrap_or(false) {
                end::delete(&shared, &name).await;
            }
        }
        Came::Never(kind, fault, why) => {
            let retryable = fault != Fault::User;
            let failure =
                failure(dagbok_events::Failure { retryable, ..failed(kind, fault, &why) });
            end::conclude(&shared, &name, Some(failure), end::Pod::Gone).await;
        }
        Came::Off => {}
    }
}

/// Hands an item on, later and later, with a note where nobody can have begun it, neither here nor before.
async fn pass_on(shared: &Shared, item: &WorkItem, handle: &dyn DeliveryHandle, delivered: u32) {
    let (state, key) = (&*shared.ports.state, &item.key);
    if !item.ask && (delivered == 1 || passed::was_passed_on(state, key, delivered).await) {
        passed::note(state, key, delivered).await;
    }
    passed::hand_on(key, handle, delivered).await;
}

/// Until it is there, or never will be.
async fn make(shared: &Shared, name: &str, item: &WorkItem, pod: &Value) -> Came {
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    loop {
        let made = {
            let _turn = shared.creations.acquire().await.expect("turns are not closed");
            shared.api.make(pod).await
        };
        let wait = match made {
            Made::New => return Came::There,
            Made::There => match whose(shared, name, pod).await {
                Whose::Ours(executor) => {
                    // The executor in it may be of an earlier delivery.
                    shared.book.with(name, |entry| entry.executor = executor);
                    return Came::There;
                }
                Whose::Over(executor) => {
                    // Where its end is told this is refused.
                    shared.book.with(name, |entry| entry.executor = executor);
                    let why = format!(
                        "the try's pod {name} is over and kept, and its item is there still"
                    );
                    return Came::Never(FailureKind::Executor, Fault::System, why);
                }
                Whose::Anothers => {
                    let why = format!("another program's pod is called {name}");
                    return Came::Never(FailureKind::CouldNotStart, Fault::System, why);
                }
                Whose::NotYet => OTHER,
            },
            Made::Refused(why) => return refused(item, &why),
            // It would be forbidden again: the rules for pods are not the task's to change, and its own words break them.
            Made::NotNow(why) if item.pod_override.is_some() && why.contains(POD_SECURITY) => {
                return refused(item, &why);
            }
            Made::NotNow(why) | Made::Unavailable(why, None) => {
                later(shared, name, &why, &mut backoff)
            }
            Made::Unavailable(why, Some(after)) => {
                later(shared, name, &why, &mut backoff).max(after)
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.shutdown.started() => return hand_back(shared, name).await,
        }
        let over = shared.book.with(name, |entry| (entry.ends, entry.unwanted));
        match over {
            None | Some((true, _)) => return Came::Off,
            Some((false, true)) => {
                // A request that failed may have made it.
                end::delete(shared, name).await;
                end::conclude(shared, name, None, end::Pod::Gone).await;
                return Came::Off;
            }
            Some((false, false)) => {}
        }
    }
}

/// A pod that will never be, as it is.
fn refused(item: &WorkItem, why: &str) -> Came {
    let why = format!("the API server refuses the try's pod: {why}");
    if item.pod_override.is_some() {
        let why = format!("{why} (it has the task's pod_override)");
        return Came::Never(FailureKind::ImportError, Fault::User, why);
    }
    Came::Never(FailureKind::CouldNotStart, Fault::System, why)
}

/// When it is to be asked for again.
fn later(shared: &Shared, name: &str, why: &str, backoff: &mut Backoff) -> Duration {
    if backoff.is_worth_telling() {
        tracing::warn!(pod = name, why, "a pod can't be made now; trying again");
    }
    shared.book.with(name, |entry| entry.why = Some(format!("its pod can't be made: {why}")));
    backoff.wait()
}

/// Whose a pod is whose name is taken.
enum Whose {
    /// This try's, with this executor in it.
    Ours(ExecutorId),
    /// This try's, with this executor in it, and it is only kept.
    Over(ExecutorId),
    /// Another program's.
    Anothers,
    /// That can't be told yet, or it is about to go.
    NotYet,
}

/// Whose the pod of this name is. One of this try that somebody else made is taken over by its label, as Airflow does: its item
/// came here, so that whoever made it renews it no more.
async fn whose(shared: &Shared, name: &str, pod: &Value) -> Whose {
    let Ok(Some(there)) = shared.api.get(name).await else { return Whose::NotYet };
    let there = there.metadata;
    if there.deletion_timestamp.is_some() {
        return Whose::NotYet;
    }
    let (labels, said) = (there.labels.unwrap_or_default(), there.annotations.unwrap_or_default());
    if said.get(TRY).map(String::as_str) != pod["metadata"]["annotations"][TRY].as_str() {
        return Whose::Anothers;
    }
    let executor = executor_of(name, said.get(ADDRESS).map_or("", String::as_str));
    if labels.contains_key(DONE) {
        return Whose::Over(executor);
    }
    let own = worker_of(&shared.settings);
    if labels.get(WORKER) != Some(&own) {
        tracing::info!(pod = name, "a pod that another made is taken over");
        if let Err(error) = shared.api.label(name, WORKER, &own).await {
            tracing::warn!(pod = name, %error, "a pod can't be taken over yet");
            return Whose::NotYet;
        }
    }
    Whose::Ours(executor)
}

/// The executor ends, and this has no pod: somebody else may make it.
async fn hand_back(shared: &Shared, name: &str) -> Came {
    end::delete(shared, name).await;
    end::conclude(shared, name, Some(ReportBody::Returned), end::Pod::Gone).await;
    Came::Off
}
