//! Keyed state with compare-and-set and time to live: leases, presence, what tasks hand on.
use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::{PortError, PortResult};

/// A value and the revision to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// What was put.
    pub value: Bytes,
    /// Rises with every change of the key.
    pub revision: u64,
}

/// A change that a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put {
        /// Which.
        key: String,
        /// What.
        value: Versioned,
    },
    /// The key was deleted, or its time ran out.
    Gone {
        /// Which.
        key: String,
    },
}

/// Why a compare-and-set did not happen, or may not have.
#[derive(Debug, Error)]
pub enum StateError {
    /// The key exists already, or is at another revision.
    #[error("`{key}` was changed by somebody else")]
    Conflict {
        /// Which.
        key: String,
    },
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A namespace's keyed state. Keys are any text; `/` parts them by custom. A time to live may be
/// rounded up to a whole second.
#[async_trait]
pub trait KeyedState: Send + Sync + fmt::Debug {
    /// The value now; `None` for a key that is not there or whose time ran out.
    async fn get(&self, key: &str) -> PortResult<Option<Versioned>>;
    /// Sets the value whatever it was; returns the revision. With `ttl`, it vanishes after that.
    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> PortResult<u64>;
    /// Sets the value if the key is not there.
    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError>;
    /// Sets the value if the key is at `revision`; its time to live starts anew.
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError>;
    /// Removes the key; one that is not there is no error.
    async fn delete(&self, key: &str) -> PortResult<()>;
    /// Every key that begins with `prefix`, sorted, with its value.
    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Versioned)>>;
    /// Changes of keys that begin with `prefix`, from when this returns: so watch first, then list,
    /// and nothing is missed. Of a key that changes faster than it is told, only the last change is
    /// sure to be told. Vanishing is told within a second. An error ends it; so does falling too far
    /// behind.
    async fn watch(&self, prefix: &str) -> PortResult<BoxStream<'static, PortResult<Change>>>;
}
