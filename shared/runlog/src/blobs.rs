//! Blobs: bytes by their SHA-256. Putting the same bytes twice stores them once.
use std::{collections::HashSet, fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::PortResult;

/// The address of what comes piece by piece: as [`digest_of`] has it of the whole.
#[derive(Clone, Debug, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The address of all that came.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// The address of `bytes`: SHA-256 in lower-case hexadecimal.
pub fn digest_of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// A blob, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its address.
    pub digest: String,
    /// Bytes; where the store keeps it in pieces, at most so many.
    pub bytes: u64,
    /// When it was last put, by the store's clock.
    pub modified: SystemTime,
}

/// What a store moved to where blobs lie for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many blobs.
    pub blobs: u64,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// Digests of blobs that stay where they are read first, however old they are.
pub type StayNear<'a> = &'a HashSet<String>;

/// A namespace's blobs. What `get` returns always has the digest that was asked for.
#[async_trait]
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Stores `bytes` and returns their digest once they are as durable as the log's records.
    async fn put(&self, bytes: Bytes) -> PortResult<String>;
    /// The bytes with this digest; `None` where there are none. Damaged bytes are an error.
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>>;
    /// Whether they are there.
    async fn has(&self, digest: &str) -> PortResult<bool>;
    /// The blobs whose digests come after `after`, in the order of digests, `most` of them at most (zero
    /// is taken as one); empty once there are no more.
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>>;
    /// Removes a blob unless it was put at `put_since` or later, and says whether it was there and is gone.
    /// Whoever deletes knows that no fact names it; who puts it just then may be about to write one.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool>;
    /// Moves blobs that have been there for long, as of `now`, to where they lie after that; a store of one place has
    /// nothing to move. What `stay` names stays where it is read first. Where it breaks off, what has not moved is where
    /// it was.
    async fn settle(&self, _now: SystemTime, _stay: StayNear<'_>) -> PortResult<Moved> {
        Ok(Moved::default())
    }
}
