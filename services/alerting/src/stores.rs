//! What the installation writes to besides a disk of its own, and how full that is.
use std::fmt;

pub use dagbok_alerts::StoreObserved;
use futures::future::BoxFuture;

/// Whoever can tell how much the broker may hold, and how much of it is taken.
pub trait Stores: fmt::Debug + Send + Sync {
    /// Looks now. What has no limit, or can't be looked at, is not among them.
    fn look(&self) -> BoxFuture<'_, Vec<StoreObserved>>;
}
