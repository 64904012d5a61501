//! The configuration: typed, with defaults that work, laid over one another from files, the
//! environment and flags.
//!
//! Later ones win: the defaults here, `dagbok.toml`, `DAGBOK__SECTION__KEY`, flags. A key that nobody
//! knows is an error that says where it stands and which key it is like. Absent on purpose: settings
//! that change what the log means, such as a pool's size; those are facts, set by command.
mod blobs;
mod bounds;
mod error;
mod executor;
mod folders;
mod keys;
mod kubernetes;
mod lineage;
mod load;
mod period;
mod secret;
mod sections;
mod size;

pub use blobs::{Blobs, Logging};
pub use error::{ConfigError, Place};
pub use executor::{AfterDrain, Executor, QueueLimits};
pub use folders::Folders;
pub use kubernetes::Kubernetes;
pub use lineage::{Lineage, LineageCompression, LineageTransport};
pub use load::{FILE_NAME, PREFIX, Setting, Sources, load, settings};
pub use period::Period;
pub use secret::Secret;
pub use sections::{
    Airflow, Alerting, Config, IgnoreSyntax, Log, LogFormat, Nats, Pool, Processor, Python,
    Runtime, Scheduler, StatsdTags, Telemetry, Ui,
};
pub use size::Size;

/// The JSON schema of `dagbok.toml`.
pub fn schema() -> serde_json::Value {
    keys::schema().to_value()
}
