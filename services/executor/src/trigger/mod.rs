//! The triggerer: runs what deferred tasks wait for, thousands of triggers in one Python process for each bundle.
//!
//! It decides nothing either. A trigger comes as an item of a queue of its own, whose lease is renewed for as long as
//! it runs; so that what a dead triggerer had runs again elsewhere. It may then run twice for a while, and fire twice:
//! the scheduler takes the first word for a leg of a try and refuses the rest.
mod crowd;
mod group;
mod held;
mod process;
mod tell;
mod word;

use std::{sync::Arc, time::Duration};

use dagbok_events::{TryKey, decode_any};
use dagbok_protocol::names;
use dagbok_runlog::{Ports, Queue, QueueSettings};
use dagbok_runtime::{Backoff, Clock, Shutdown};
use futures::StreamExt as _;
use tokio::{sync::mpsc, task::JoinSet};

use self::crowd::{Crowd, Event};
use crate::{
    ExecutorError, ExecutorSettings, bundle::Bundles, log::Masks, reports::Reporter, store::Store,
};

/// Triggers that are taken at once.
const PULL_MOST: usize = 256;
/// How long one pull waits.
const PULL_WAIT: Duration = Duration::from_millis(250);
/// The same where the queue is in this process, and loses nothing with a pull that is dropped.
const PULL_WAIT_IN_PROCESS: Duration = Duration::from_secs(10);

/// What all parts of one triggerer share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it was told: the executor's settings, of which it has the id, the Python, the folder and the lease.
    pub(crate) settings: ExecutorSettings,
    /// The time, for reports and logs.
    pub(crate) clock: Clock,
    /// The primitives.
    pub(crate) ports: Ports,
    /// The blobs among them.
    pub(crate) store: Store,
    /// The way to the scheduler.
    pub(crate) reporter: Reporter,
    /// Unpacked DAG folders.
    pub(crate) bundles: Bundles,
    /// Secrets that triggers fetched.
    pub(crate) masks: Masks,
}

/// Runs a triggerer until `shutdown` starts. What it holds then is handed back. An error means that it could not begin.
pub async fn run(
    ports: Ports,
    settings: ExecutorSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), ExecutorError> {
    let store = Store::new(Arc::clone(&ports.blobs));
    let home = |source| ExecutorError::Home { path: settings.home.clone(), source };
    let bundles = Bundles::open(settings.home.join("bundles"), store.clone()).map_err(home)?;
    let reporter = tokio::select! {
        () = shutdown.started() => return Ok(()),
        reporter = Reporter::open(&ports, settings.executor.clone(), clock.clone()) => reporter,
    };
    let masks = Masks::default();
    let shared = Arc::new(Shared { settings, clock, ports, store, reporter, bundles, masks });
    let (events, heard) = mpsc::unbounded_channel();
    let mut beside = JoinSet::new();
    beside.spawn(shared.reporter.clone().hear(Arc::clone(&shared.ports.signals)));
    beside.spawn(hear_what_is_over(Arc::clone(&shared), events.clone()));
    let pulling = tokio::spawn(pull(Arc::clone(&shared), events.clone(), shutdown.clone()));
    Crowd::new(Arc::clone(&shared), events).run(heard, &shutdown).await;
    drop(pulling.await);
    beside.abort_all();
    Ok(())
}

/// Pulls triggers until the end.
async fn pull(shared: Arc<Shared>, events: mpsc::UnboundedSender<Event>, shutdown: Shutdown) {
    let Some(queue) = open(&shared, &shutdown).await else { return };
    let in_process = !shared.settings.fencing;
    let wait = if in_process { PULL_WAIT_IN_PROCESS } else { PULL_WAIT };
    let mut backoff = Backoff::default();
    while !shutdown.is_started() {
        let pulled = tokio::select! {
            pulled = queue.pull(PULL_MOST, wait) => pulled,
            () = shutdown.started(), if in_process => return,
        };
        match pulled {
            Ok(deliveries) => {
                backoff = Backoff::default();
                for delivery in deliveries {
                    if events.send(Event::Pulled(delivery)).is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%error, "no triggers can be pulled; trying again");
                }
                backoff.pause().await;
            }
        }
    }
}

async fn open(shared: &Shared, shutdown: &Shutdown) -> Option<Arc<dyn Queue>> {
    let settings = QueueSettings { lease: shared.settings.lease };
    let mut backoff = Backoff::default();
    while !shutdown.is_started() {
        match shared.ports.queues.open(names::TRIGGERS, settings).await {
            Ok(queue) => return Some(queue),
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%error, "the queue of triggers can't be opened; trying again");
                }
            }
        }
        backoff.pause_unless(shutdown).await;
    }
    None
}

/// Hears for ever which triggers nobody waits for any more; run it beside.
async fn hear_what_is_over(shared: Arc<Shared>, events: mpsc::UnboundedSender<Event>) {
    let mut backoff = Backoff::default();
    loop {
        match shared.ports.signals.subscribe(names::TRIGGERS_OVER).await {
            Ok(mut signals) => {
                while let Some(signal) = signals.next().await {
                    match decode_any::<Vec<TryKey>>(&signal.payload) {
                        Ok(keys) => drop(events.send(Event::Over(keys))),
                        Err(error) => {
                            tracing::warn!(%error, "it can't be read which triggers are over");
                        }
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "it can't be heard which triggers are over"),
        }
        backoff.pause().await;
    }
}
