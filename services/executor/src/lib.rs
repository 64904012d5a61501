//! The executor: pulls work items, runs each try as a process of its own, and reports what became of it.
//!
//! It decides nothing: whether a try is still wanted, and what follows from its end, is the scheduler's
//! business. What it must do by itself is to end its own tries when it can't renew its lease, so that no
//! task ever runs twice at once.
mod attempt;
mod begun;
mod bundle;
mod cgroup;
mod claim;
mod elements;
mod error;
mod fence;
mod held;
mod keep;
mod lease;
mod log;
mod oom;
mod orders;
mod paths;
mod phase;
mod place;
mod pull;
mod raised;
mod reports;
mod room;
mod service;
mod settings;
mod shared;
mod standing;
mod stats;
mod store;
mod trigger;
mod usage;
mod work;

pub use cgroup::can_have_cgroups;
pub use claim::Claim;
pub use error::ExecutorError;
pub use log::{LogLine, LogSource, answer_for_executors};
pub use service::run;
pub use settings::{
    AfterDrain, AirflowRuntime, BrokerDown, Environment, ExecutorSettings, FindEnvironment,
    FolderEnvironments, LOCK, Runner, lock_in,
};
pub use stats::{ExecutorStats, Stretch};
pub use trigger::run as run_triggerer;
