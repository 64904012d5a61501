//! The scheduler: folds the log, decides, appends if last, and sends out what was decided.
//!
//! One leads at a time for a namespace, by a lease; but the lease only keeps a stand-by from duelling.
//! What keeps two from doing harm is the log, which takes an append only from who has seen its last
//! entry. All rules live in `dagbok-domain`; this service is its hands.
mod archivist;
mod bad;
mod cold;
mod desk;
mod effects;
mod error;
mod hold;
mod inbox;
mod leader;
mod load;
mod offers;
mod past;
mod presence;
mod settings;
mod snapshot;
mod stage;

use std::sync::Arc;

pub use archivist::{Archiving, archive_old};
use dagbok_leading::{Lease, LeaseOf};
use dagbok_protocol::names::SCHEDULER_LEASE;
use dagbok_runlog::Ports;
use dagbok_runtime::{Backoff, Clock, Shutdown};
pub use error::SchedulerError;
pub use load::{Loaded, check_log, load};
pub use past::Past;
pub use settings::{Holds, SchedulerSettings};
pub use snapshot::store_now as store_snapshot;

use crate::leader::{Leader, TermEnd};

/// Runs until the end is asked for: stands by, leads when the lease is free, stands by again when it
/// is lost. Fails only on what no retry can mend: a damaged log, records of a newer version.
pub async fn run(
    ports: Ports,
    settings: SchedulerSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), SchedulerError> {
    let of = LeaseOf { key: SCHEDULER_LEASE, service: "scheduler" };
    let lease = Lease::new(Arc::clone(&ports.state), of, settings.leader_lease);
    let mut lease = lease.ignoring(settings.ignore_lease);
    let mut backoff = Backoff::default();
    while !shutdown.is_started() {
        tokio::select! {
            () = shutdown.started() => break,
            () = lease.acquire() => {}
        }
        tracing::info!(holder = lease.holder(), "leading");
        let term = shutdown.child();
        let leader = Leader::new(ports.clone(), settings.clone(), clock.clone(), term.clone());
        let ended = tokio::select! {
            ended = leader.lead() => ended,
            () = lease.keep() => Ok(TermEnd::LeaseLost),
        };
        term.start();
        dagbok_telemetry::metrics().term_ended();
        dagbok_telemetry::metrics().set_waiting(None);
        match ended {
            Ok(TermEnd::Asked) => {
                lease.release().await;
                break;
            }
            Ok(TermEnd::LeaseLost) => tracing::warn!("the lease was lost: standing by"),
            Ok(TermEnd::Outdated) => {
                tracing::warn!("somebody else wrote to the log: folding it again");
                backoff.reset();
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the term ended; trying again");
                if !backoff.pause_unless(&shutdown).await {
                    break;
                }
            }
        }
    }
    Ok(())
}
