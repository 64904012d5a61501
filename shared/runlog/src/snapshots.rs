//! Snapshots: one value by name, the newest wins. Kept over restarts, but losing one costs time only:
//! whatever is in it can be folded from the log again.
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::PortResult;

/// A namespace's snapshots, each written by one at a time. Names are 1 to 255 letters, digits, `_`
/// and `-`; others are refused.
#[async_trait]
pub trait Snapshots: Send + Sync + fmt::Debug {
    /// Stores `bytes` under `name` in place of what was there; readers see the old or the new, whole.
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()>;
    /// The newest value; `None` where there is none.
    async fn get(&self, name: &str) -> PortResult<Option<Bytes>>;
}
