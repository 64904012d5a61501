//! The rules. Pure functions over [`dagbok_events`]: no I/O, no clock, no randomness, no async.
//!
//! `decide` permits and says all that follows, `evolve` remembers, `plan` proposes; see
//! [`namespace::Namespace`], the consistency boundary and the scheduler's whole state.
pub mod backoff;
pub mod graph;
mod head;
mod names;
pub mod namespace;
pub mod partition;
pub mod retry;
pub mod run;
mod scope;
pub mod timetable;
pub mod trigger_rule;
