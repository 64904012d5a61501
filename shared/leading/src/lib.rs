//! What every service stands on of which one leads: the lease, and whether its clock may be believed.
//!
//! A lease decides who tries, never who may write: that is decided by the log, which takes an append only from who
//! has seen its last entry. No rule of scheduling or alerting is in here.
mod lease;
mod steady;

pub use lease::{Lease, LeaseOf};
pub use steady::Steady;
