//! The primitives that all of Dagbok stands on, as ports: an append-only log with one writer at a
//! time, work queues, keyed state, blobs by content hash, and signals that may be lost.
//!
//! Nothing here knows what a DAG is: payloads are bytes. [`memory`] implements all of it for tests,
//! simulations and throw-away runs; `runlog-embedded` and `runlog-jetstream` keep it. One suite,
//! `conformance` (a feature, for tests), holds all three to the same words.
mod blobs;
mod chain;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
pub mod limits;
mod log;
pub mod memory;
mod position;
mod queue;
mod signals;
mod snapshots;
mod state;

use std::sync::Arc;

pub use blobs::{BlobInfo, Blobs, Digester, Moved, StayNear, digest_of};
pub use chain::{Chain, NotADigest, chain_at, chain_from};
pub use error::{AppendError, PortError, PortResult};
pub use log::{Base, Draft, Entry, ReadBudget, ReadLimit, RunLog, Seq};
pub use position::{Compared, LogMark, Position};
pub use queue::{Delivery, DeliveryHandle, Once, Published, Queue, QueueSettings, Queues};
pub use signals::{RequestError, Responder, Signal, Signals, subject_matches};
pub use snapshots::Snapshots;
pub use state::{Change, KeyedState, StateError, Versioned};

/// All primitives of one namespace, as a service is handed them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The facts.
    pub log: Arc<dyn RunLog>,
    /// `inbox` and `work.<queue>`.
    pub queues: Arc<dyn Queues>,
    /// Leases, presence, XComs.
    pub state: Arc<dyn KeyedState>,
    /// Specs, bundles, logs, large values.
    pub blobs: Arc<dyn Blobs>,
    /// Answers, live lines, orders to executors.
    pub signals: Arc<dyn Signals>,
    /// Folds in bytes, so that a restart need not begin at the first record.
    pub snapshots: Arc<dyn Snapshots>,
}
