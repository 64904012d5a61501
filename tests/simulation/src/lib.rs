//! The whole orchestrator in one thread under a clock that only moves when nothing else does: schedulers
//! that die in mid-append and one more than there should be, executors that crash, freeze, lie and
//! repeat themselves, people, a processor, queues with leases. The rules are the real ones; everything
//! around them is a model of what the services do. The same seed gives the same bytes.
//!
//! What must hold is checked by [`audit::Audit`] at every record, and by [`simulate`] at the end.
pub mod audit;
pub mod dags;
mod executor;
mod liar;
mod people;
mod prng;
mod processor;
mod queue;
mod scheduler;
mod seeds;
mod simulate;
mod world;

pub use executor::failure;
pub use prng::Prng;
pub use seeds::{Failed, run_seeds};
pub use simulate::{Ended, simulate};
pub use world::World;
