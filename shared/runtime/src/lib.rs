//! The edges of a process: the clock, fresh ids, and an orderly end. The only place that reads the
//! wall clock; everything else is handed the time.
mod backoff;
mod clock;
mod ids;
mod shutdown;

pub use backoff::Backoff;
pub use clock::Clock;
pub use ids::{fresh_command_id, fresh_id};
pub use shutdown::{Shutdown, stop_signals};
