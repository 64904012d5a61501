//! What the installation writes to besides a disk of its own, and how full that is.
use std::fmt;

pub use dagbok_alerts::StoreObserved;
use futures::future::BoxFuture;

/// Whoever can tell how much the broker may hold, and how much of it is taken.
pub trait Stores: fmt::Debug + Send + Sync {
    /// Looks now. What has no limit, or can't be looked at, is not among them.
    fn look(&self) -> BoxFuture<'_, Vec<StoreObserved>>;
}

/// Whoever can tell whether the object store where big things lie does what it is asked.
pub trait BigThings: fmt::Debug + Send + Sync {
    /// Where they lie, for people.
    fn place(&self) -> String;
    /// Looks now; what is wrong, for people, where something is.
    fn look(&self) -> BoxFuture<'_, Result<(), String>>;
}
