//! Lists in the time of a page: which index serves what is asked for, and how exact the answer is.
//!
//! Every run stands in the index ([`RunIndexRow`](super::rows::RunIndexRow)) once for each field that
//! lists are ordered by, over all DAGs and within its own, under its state and its type. A list merges the
//! parts of the index that may have what is wanted, and stops once the page is full; counts come from
//! counters. What runs were given has an index of its own. What no index stands for (patterns, names, dates of another field than the order's) is
//! looked for in at most [`LOOKED`] runs, and the answer says so.
mod ask;
mod event;
mod field;
mod given;
mod merge;
mod run;
mod section;
mod standing;
mod task;
mod walk;

pub use ask::{Keep, Listed, Range, RunAsk, RunBy, RunOrder, Scope};
pub use event::{EventAsk, EventsOf, KeepEvent};
pub use field::{RunField, Value};
pub use given::Given;
pub(super) use given::put as put_given;
pub(super) use standing::{Standing, moved};
pub use task::State;

/// Runs that are read and sorted in hand where no index has the order that is asked for.
pub const IN_HAND: usize = 2_000;
/// Task instances over many runs that are read and sorted in hand.
pub const TASKS_IN_HAND: usize = 1_000;
/// Task instances of one run that are, where rows decide what is wanted or in which order.
pub const TASKS_OF_RUN_IN_HAND: usize = 20_000;
/// Runs that are looked at for what no index stands for.
pub const LOOKED: usize = 2_000;
/// Runs that are counted one by one, beyond the page, where no counter has their number.
pub const COUNTED: usize = 10_000;
/// The same where each must be read to know whether it counts.
pub const COUNTED_READ: usize = 500;
