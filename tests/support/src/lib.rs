//! What tests of several crates need of the world: real nats-servers to start, stop, kill, freeze and
//! start again. Nothing here is part of Dagbok.
//!
//! Everything panics with what to do about it where the machine lacks something: a test that needs a
//! server must fail without one, not pass.
mod cluster;
mod nats;

pub use cluster::NatsCluster;
pub use nats::{NatsOptions, NatsServer, SyncInterval, check_config, versions};
