//! The edges of a process: the clock, fresh ids, waits that grow, an orderly end, and what its children inherit.
//! The only place that reads the wall clock; everything else is handed the time.
mod backoff;
mod children;
mod clock;
mod hangup;
mod ids;
mod shutdown;

pub use backoff::Backoff;
pub use children::foreign_python_variables;
pub use clock::Clock;
pub use hangup::Hangups;
pub use ids::{fresh_command_id, fresh_id};
pub use shutdown::{Shutdown, StopSignals, stop_signals};
