//! Where a namespace's primitives come from: the only place that names concrete logs.
mod embedded;
mod nats;
mod objects;

use dagbok_runlog::Ports;

pub(crate) use embedded::{
    alert_log, alert_log_read_only, archive, log_read_only, open, open_failure, read_only,
};
pub(crate) use nats::{Broker, connect, failure, look};
pub(crate) use objects::{big_things, claimed_on, objects};

/// The folder in an installation's home that its executor works in.
pub(crate) const EXECUTOR: &str = "executor";

/// Primitives in memory, gone with the process.
pub(crate) fn throw_away() -> Ports {
    dagbok_runlog::memory::ports()
}
