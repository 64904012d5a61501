//! Golden logs: records as they lie on logs somewhere, and what reading them must give, for ever.
//!
//! [`shelf`] keeps the files and only ever adds, [`coverage`] says which shapes no golden log has yet,
//! [`replay`] folds a log by the scheduler's rules and into the read model. The README beside this crate
//! says how to add one.
pub mod coverage;
mod frames;
pub mod outcome;
pub mod raw;
pub mod replay;
pub mod shelf;

pub use frames::{BadFrames, read_frames, write_frames};
