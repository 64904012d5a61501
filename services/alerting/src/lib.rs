//! Alerting: folds the run log, decides what is wrong, records it in a log of its own, and tells people.
//!
//! It runs no user code, and needs neither a scheduler nor an executor, a processor or an API to be alive. An
//! attempt is durable before anything is sent, and what the provider answered is recorded after; a crash between
//! them sends again, under the same name. All rules live in `dagbok-alerts`, which can't send.
mod config;
mod error;
mod keys;
mod receivers;
mod service;
mod stores;
mod study;
mod term;

pub use config::{ConfigError, Loaded, load, load_policy, load_without_secrets, schema};
pub use error::AlertingError;
pub use service::{Parts, Settings, run};
pub use stores::{BigThings, StoreObserved, Stores};
pub use term::calendars::with_calendars;
