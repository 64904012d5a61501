//! The whole orchestrator in one thread under a clock that only moves when nothing else does: schedulers
//! that die in mid-append and one more than there should be, executors that crash, freeze, lie and
//! repeat themselves, people, a processor, queues with leases, somebody who writes rubbish onto the log. The
//! rules are the real ones, and so is what is kept: the log and its trimming, the archive's files, snapshots and
//! loading. Everything else around them is a model of what the services do. The same seed gives the same bytes.
//!
//! What must hold is checked by [`audit::Audit`] at every record, and by [`simulate`] at the end.
pub mod audit;
pub mod dags;
mod executor;
mod keeper;
mod liar;
mod people;
mod prng;
mod processor;
mod queue;
mod scheduler;
mod seeds;
mod simulate;
mod storage;
mod world;

pub use executor::failure;
pub use prng::Prng;
pub use seeds::{Failed, run_seeds};
pub use simulate::{Ended, simulate};
pub use world::World;
