//! How a fold of the log is kept up to date: catch up in large batches, then follow.
//!
//! A [`Projection`] says up to where it has come and takes decoded entries in order; [`follow`] does
//! the reading, the decoding, the starting over after a port failed, and tells readers by
//! [`Progress`] how far the fold is. What the rows are and where they lie is the projection's own
//! business; nothing here knows a store or an event's meaning.
mod ahead;
mod checkpoint;
mod follow;
mod foreign;
mod progress;

pub use ahead::{Read, ReadAhead};
pub use checkpoint::{Checkpoint, Decoded, Projection, ProjectionError, check_log};
pub use follow::{FollowError, Following, Pace, follow};
pub use foreign::{Skipped, decode_or_nothing};
pub use progress::{Progress, Standing};
