//! The life of the executor of pods: what is there is found first, then work is taken; at the end its pods go on.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dagbok_events::{QueueName, decode_any, encode_any};
use dagbok_inbox::Inbox;
use dagbok_protocol::{CommandBody, Order, PROTOCOL, Presence, names};
use dagbok_runlog::{Ports, QueueSettings};
use dagbok_runtime::{Backoff, Clock, Shutdown};
use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    PodsSettings,
    api::PodApi,
    book::Book,
    end, late,
    shared::Shared,
    standing::{self, Standing},
    take, watch,
};

/// How long one pull waits.
const PULL_WAIT: Duration = Duration::from_millis(250);
/// Two puts of the presence for a change are at least this far apart.
const CHANGE_EVERY: Duration = Duration::from_secs(1);
/// So long all slots are taken, or one is free, before that is told.
const FULL_EVERY: Duration = Duration::from_secs(5);
/// How often it is told anew.
const FULL_AGAIN: Duration = Duration::from_mins(1);
/// Items of pods of an earlier life that are taken up at the same time.
const TAKE_UPS: usize = 16;
/// What the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// What telling ends that were seen may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Why it can't begin.
#[derive(Debug, thiserror::Error)]
pub enum PodsError {
    /// A setting that can't be.
    #[error("the setting {setting} {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A part of it ended that was not to.
    #[error("a part of the executor of pods broke: {0}")]
    Broken(String),
    /// The scheduler speaks another version of the protocol.
    #[error("{0}")]
    Refused(String),
}

/// Runs it until `shutdown` starts. Its pods go on then, and a later life of the same name finds them.
pub async fn run(
    ports: Ports,
    settings: PodsSettings,
    client: kube::Client,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), PodsError> {
    check(&settings)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &settings.namespace);
    let mut backoff = Backoff::default();
    let inbox = loop {
        match Inbox::open(&ports, clock.clone()).await {
            Ok(inbox) => break inbox,
            Err(error) if backoff.is_worth_telling() => {
                tracing::warn!(%error, "the inbox can't be opened; trying again");
            }
            Err(_) => {}
        }
        if !backoff.pause_unless(&shutdown).await {
            return Ok(());
        }
    };
    let shared = Arc::new(Shared {
        api: PodApi::new(client, &settings.namespace),
        slots: Arc::new(Semaphore::new(settings.slots as usize)),
        creations: Semaphore::new(settings.creations),
        take_ups: Semaphore::new(TAKE_UPS),
        book: Book::default(),
        standing: Standing::default(),
        heard: parking_lot::Mutex::new(None),
        inbox,
        clock,
        shutdown: shutdown.child(),
        ports,
        settings,
    });
    serve(&shared, pods).await
}

fn check(settings: &PodsSettings) -> Result<(), PodsError> {
    let bad = |setting, why: &str| Err(PodsError::Setting { setting, why: why.to_owned() });
    if settings.slots == 0 {
        return bad("kubernetes.slots", "is 0: it must be at least 1");
    }
    if settings.queues.is_empty() {
        return bad("kubernetes.queues", "names none: it must name at least one");
    }
    if settings.creations == 0 {
        return bad("kubernetes.creations", "is 0: it must be at least 1");
    }
    Ok(())
}

async fn serve(shared: &Arc<Shared>, pods: Api<Pod>) -> Result<(), PodsError> {
    let mut beside = JoinSet::new();
    let beats = AtomicU64::new(0);
    standing::look(shared).await.map_err(PodsError::Refused)?;
    put_presence(shared, &beats).await;
    let joined = presence(shared, &beats);
    beside.spawn(obey(Arc::clone(shared)));
    beside.spawn(renew(Arc::clone(shared), beats));
    beside.spawn(standing::follow(Arc::clone(shared)));
    beside.spawn(late::hurry(Arc::clone(shared)));
    beside.spawn(late::listen(Arc::clone(shared)));
    let own = Arc::clone(shared);
    beside.spawn(async move {
        own.join(joined).await;
        tell_full(own).await;
    });
    let (tell, listed) = oneshot::channel();
    beside.spawn(watch::watch(Arc::clone(shared), pods, tell));
    tokio::select! {
        // Before any work: what is delivered may have its pod already.
        told = listed => if told.is_ok() {
            tracing::info!(pods = shared.book.len(), "the pods of before are known");
        },
        () = shared.shutdown.started() => {}
    }
    let (makes, mut pulls) = (TaskTracker::new(), JoinSet::new());
    for queue in shared.settings.queues.clone() {
        pulls.spawn(pull(Arc::clone(shared), queue, makes.clone()));
    }
    let broken = broken(&shared.shutdown, &mut beside).await;
    tracing::info!(pods = shared.book.len(), "no more pods are made; those that are there go on");
    while pulls.join_next().await.is_some() {}
    makes.close();
    if timeout(LAST_WORDS, makes.wait()).await.is_err() {
        tracing::warn!("what is being made is left to the next life");
    }
    beside.shutdown().await;
    let goodbye = async {
        let executor = shared.settings.executor.clone();
        shared.tell(CommandBody::ExecutorLeft { executor }).await;
        drop(shared.ports.state.delete(&names::presence_key(&shared.settings.executor)).await);
    };
    if timeout(GOODBYE, goodbye).await.is_err() {
        tracing::warn!("the executor could not say goodbye: it will be found to be gone");
    }
    match broken.or_else(|| shared.standing.refused().map(PodsError::Refused)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Waits until it is to end: asked to, or because one of its parts broke, without which it would only seem to live.
async fn broken(shutdown: &Shutdown, beside: &mut JoinSet<()>) -> Option<PodsError> {
    loop {
        tokio::select! {
            biased;
            () = shutdown.started() => return None,
            Some(ended) = beside.join_next() => {
                let Err(error) = ended else { continue };
                tracing::error!(%error, "a part of the executor broke: it ends, and a later life finds its pods");
                shutdown.start();
                return Some(PodsError::Broken(error.to_string()));
            }
        }
    }
}

/// What it says of itself.
fn presence(shared: &Shared, beats: &AtomicU64) -> Presence {
    let settings = &shared.settings;
    Presence {
        executor: settings.executor.clone(),
        hostname: settings.hostname.clone(),
        slots: settings.slots,
        queues: settings.queues.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        python: String::new(),
        resources: settings.resources.clone(),
        isolation: format!(
            "each try in a pod of its own, in the namespace {} of Kubernetes",
            settings.namespace
        ),
        name: Some(settings.name.clone()),
        protocol: Some(PROTOCOL),
        part_of: None,
        draining: shared.shutdown.is_started(),
        cordoned: shared.standing.is_cordoned(),
        stays: false,
        beat: beats.fetch_add(1, Ordering::Relaxed) + 1,
        lease_ms: u64::try_from(settings.lease.as_millis()).ok(),
        at: shared.clock.now(),
        holds: shared.book.held(),
    }
}

async fn put_presence(shared: &Shared, beats: &AtomicU64) {
    let presence = encode_any(&presence(shared, beats));
    let key = names::presence_key(&shared.settings.executor);
    let put = shared.ports.state.put(&key, presence.into(), Some(shared.settings.lease * 2));
    let was_put = matches!(timeout(shared.settings.lease / 4, put).await, Ok(Ok(_)));
    if !was_put {
        tracing::warn!("the presence can't be put; trying again");
    }
    let mut heard = shared.heard.lock();
    *heard = was_put.then(|| heard.unwrap_or_else(Instant::now));
}

/// Tells when every slot has its pod, and when one is free again. Most of those pods may wait for a node, of which no fact tells; while
/// there is no place for more, nobody counts the time of what waits in the queues. That is long, so it is told seldom, and again
/// from time to time: who was taken for gone is not full where it is found again.
async fn tell_full(shared: Arc<Shared>) {
    let slots = shared.settings.slots as usize;
    let mut told: Option<(bool, Instant)> = None;
    let mut seen = (false, Instant::now());
    loop {
        sleep(FULL_EVERY / 5).await;
        let full = shared.book.len() >= slots;
        if full != seen.0 {
            seen = (full, Instant::now());
        }
        // One that ends and is followed by the next at once is no news.
        let lasts = seen.1.elapsed() >= FULL_EVERY;
        let is_news = match told {
            None => full,
            Some((was, at)) => was != full || full && at.elapsed() >= FULL_AGAIN,
        };
        if lasts && is_news {
            let executor = shared.settings.executor.clone();
            shared.tell(CommandBody::ExecutorFull { executor, full }).await;
            told = Some((full, Instant::now()));
        }
    }
}

/// Renews presence and deliveries a few times in each lease, and the presence with what changes.
async fn renew(shared: Arc<Shared>, beats: AtomicU64) {
    let beat = shared.settings.lease / 4;
    let mut due = Instant::now();
    let mut quiet_until = due;
    loop {
        let (quiet, book) = (quiet_until, &shared.book);
        let changed = async move {
            sleep_until(quiet).await;
            book.changed().await;
        };
        tokio::select! {
            // However much changes, what is held is renewed in time.
            biased;
            () = sleep_until(due) => {
                due = Instant::now() + beat;
                let renewals = shared.book.handles().into_iter().map(|it| async move { it.progress().await.is_ok() });
                let renewed = async { timeout(beat, join_all(renewals)).await.is_ok_and(|all| all.into_iter().all(|one| one)) };
                let ((), renewed) = tokio::join!(put_presence(&shared, &beats), renewed);
                if !renewed {
                    tracing::warn!("not all deliveries could be renewed");
                }
            }
            () = changed => {
                put_presence(&shared, &beats).await;
                quiet_until = Instant::now() + CHANGE_EVERY;
            }
        }
    }
}

/// Obeys the scheduler's orders.
async fn obey(shared: Arc<Shared>) {
    let subject = names::orders_subject(&shared.settings.executor);
    let mut backoff = Backoff::default();
    loop {
        if let Ok(mut orders) = shared.ports.signals.subscribe(&subject).await {
            while let Some(signal) = orders.next().await {
                match decode_any(&signal.payload) {
                    Ok(Order::Kill { key, why }) => {
                        if let Some(name) = shared.book.name_of(&key) {
                            tracing::info!(%key, pod = name, why, "a try is ended by order");
                            end::unwanted(&shared, name);
                        }
                    }
                    Ok(Order::LookAtCordon) => shared.standing.look(),
                    Ok(Order::Ends { .. }) => {}
                    Err(error) => tracing::warn!(%error, "an order can't be read"),
                }
            }
        }
        backoff.pause().await;
    }
}

/// Pulls from one queue until the executor ends.
async fn pull(shared: Arc<Shared>, queue: QueueName, makes: TaskTracker) {
    let name = names::work_queue(&queue);
    let settings = QueueSettings { lease: shared.settings.lease };
    let mut backoff = Backoff::default();
    let work = loop {
        match shared.ports.queues.open(&name, settings).await {
            Ok(work) => break work,
            Err(error) if backoff.is_worth_telling() => {
                tracing::warn!(%queue, %error, "the queue can't be opened; trying again");
            }
            Err(_) => {}
        }
        if !backoff.pause_unless(&shared.shutdown).await {
            return;
        }
    };
    while !shared.shutdown.is_started() {
        if shared.standing.is_cordoned() {
            sleep(PULL_WAIT).await;
            continue;
        }
        let slot = tokio::select! {
            () = shared.shutdown.started() => return,
            slot = Arc::clone(&shared.slots).acquire_owned() => slot.expect("slots are not closed"),
        };
        let mut slots = vec![slot];
        while let Ok(more) = Arc::clone(&shared.slots).try_acquire_owned() {
            slots.push(more);
        }
        // Where several queues are pulled from each has a turn: a slot is held for one wait at most.
        match work.pull(slots.len(), PULL_WAIT).await {
            Ok(deliveries) => {
                backoff.reset();
                for delivery in deliveries {
                    let Some(slot) = slots.pop() else { break };
                    makes.spawn(take::take(Arc::clone(&shared), delivery, slot));
                }
            }
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%queue, %error, "no work can be pulled; trying again");
                }
                backoff.pause().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_breaks_ends_the_whole_and_one_that_is_done_does_not() {
        let (shutdown, mut beside) = (Shutdown::new(), JoinSet::new());
        beside.spawn(async {});
        drop(beside.spawn(std::future::pending()));
        let broken_one = beside.spawn(std::future::pending());
        broken_one.abort();
        let why = broken(&shutdown, &mut beside).await;
        assert!(matches!(why, Some(PodsError::Broken(_))), "{why:?}");
        assert!(shutdown.is_started());
        assert!(broken(&shutdown, &mut beside).await.is_none(), "asked to end");
    }
}
