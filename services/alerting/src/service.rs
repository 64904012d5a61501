//! The service: stands by until nobody else leads, then leads.
use std::{path::PathBuf, sync::Arc, time::Duration};

use dagbok_leading::{Lease, LeaseOf};
use dagbok_runlog::{KeyedState, RunLog, Signals, Snapshots};
use dagbok_runtime::{Backoff, Clock, Shutdown};

use crate::{
    AlertingError, BigThings, Stores,
    term::{Term, TermEnd},
};

/// The key of alerting's lease in the keyed state.
const LEASE: &str = "lease/alerting";
/// How long it holds.
const LEASE_TIME: Duration = Duration::from_secs(5);
/// How long a server may take to let go of a key whose time is over, and the next leader to fold what it keeps no snapshot of.
const START: Duration = Duration::from_secs(4);
/// A dead leader is replaced, and what it had under way is sent again, within ten seconds.
const _: () = assert!(Lease::longest_gap(LEASE_TIME).as_millis() + START.as_millis() <= 10_000);

/// What alerting stands on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What happened to runs, to read.
    pub run_log: Arc<dyn RunLog>,
    /// What alerting did, to write.
    pub alert_log: Arc<dyn RunLog>,
    /// The lease.
    pub state: Arc<dyn KeyedState>,
    /// Questions.
    pub signals: Arc<dyn Signals>,
    /// The fold of the run log, so that a start is quick.
    pub snapshots: Arc<dyn Snapshots>,
    /// What the broker may hold; `None` where there is no broker.
    pub stores: Option<Arc<dyn Stores>>,
    /// Where big things lie; `None` where that is with everything else.
    pub blobs: Option<Arc<dyn BigThings>>,
}

/// How alerting is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace.
    pub namespace: String,
    /// `alerting.toml`; without one nobody is told, and alerts are opened all the same.
    pub config: Option<PathBuf>,
    /// Where what links are signed with is kept, where the configuration names no key; without it, links hold until
    /// the next start.
    pub links_key: Option<PathBuf>,
    /// The folder whose disk is watched; without one none is.
    pub disk: Option<PathBuf>,
    /// How long a dead leader keeps the stand-by waiting.
    pub lease: Duration,
    /// How often the configuration is looked at for changes.
    pub look: Duration,
    /// Run-log records between two snapshots of the fold.
    pub snapshot_every: u64,
}

impl Settings {
    /// As it is unless set otherwise.
    pub fn new(namespace: impl Into<String>, config: Option<PathBuf>) -> Self {
        Self {
            namespace: namespace.into(),
            config,
            links_key: None,
            disk: None,
            lease: LEASE_TIME,
            look: Duration::from_secs(1),
            snapshot_every: 50_000,
        }
    }
}

/// Runs until the end is asked for. Whatever fails is tried again: nobody else would tell.
pub async fn run(
    parts: Parts,
    settings: Settings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), AlertingError> {
    let of = LeaseOf { key: LEASE, service: "alerting service" };
    let mut lease = Lease::new(Arc::clone(&parts.state), of, settings.lease);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !shutdown.is_started() {
        tokio::select! {
            () = shutdown.started() => break,
            () = lease.acquire() => {}
        }
        tracing::info!(holder = lease.holder(), "alerting leads");
        let end = shutdown.child();
        let term = Term::new(parts.clone(), settings.clone(), clock.clone(), end.clone());
        let ended = tokio::select! {
            ended = term.lead() => ended,
            () = lease.keep() => Ok(TermEnd::LeaseLost),
        };
        end.start();
        match ended {
            Ok(TermEnd::Asked) => {
                lease.release().await;
                break;
            }
            Ok(TermEnd::LeaseLost) => tracing::warn!("alerting's lease was lost: standing by"),
            Ok(TermEnd::Outdated) => {
                tracing::warn!("somebody else wrote to the alert log: folding it again");
                backoff.reset();
            }
            Err(error) => {
                tracing::error!(%error, "alerting can't go on; trying again");
                if !backoff.pause_unless(&shutdown).await {
                    break;
                }
            }
        }
    }
    Ok(())
}
