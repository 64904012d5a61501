//! What a projection must offer, and how it is known to belong to the log that it is fed from.
use dagbok_events::Record;
use dagbok_runlog::{PortError, ReadLimit, RunLog, Seq, digest_of};
use thiserror::Error;

use crate::FollowError;

/// The fingerprint of one entry's bytes: tells the log that was folded from one that took its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub String);

impl Mark {
    /// The fingerprint of an entry with these bytes.
    pub fn of(payload: &[u8]) -> Self {
        Self(digest_of(payload))
    }
}

/// Up to where a projection has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry that was folded; [`Seq::ZERO`] for none.
    pub seq: Seq,
    /// Its fingerprint, where it was kept.
    pub mark: Option<Mark>,
}

/// An entry of the log, decoded.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Where it stands.
    pub seq: Seq,
    /// Its bytes, for a fingerprint.
    pub payload: bytes::Bytes,
    /// What it says.
    pub record: Record,
}

/// A fold of the log that keeps its own place.
pub trait Projection: Send + 'static {
    /// Up to where the rows are.
    fn checkpoint(&self) -> Checkpoint;

    /// Folds `entries`, which follow the checkpoint without a gap: rows and checkpoint in one write.
    /// May block. On an error nothing is assumed of the rows; the follow ends.
    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError>;

    /// Called when no entry came for a while, and at the end: the time to make things durable.
    fn rest(&mut self) -> Result<(), ProjectionError> {
        Ok(())
    }
}

/// A projection could not keep its rows.
#[derive(Debug, Error)]
#[error("the projection's rows could not be kept: {0}")]
pub struct ProjectionError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl ProjectionError {
    /// From any error.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Checks that `log` still holds what was folded into a projection at `checkpoint`: it must reach as
/// far, and have the same entry there.
pub async fn check_log(log: &dyn RunLog, checkpoint: &Checkpoint) -> Result<(), FollowError> {
    let last = log.last().await?;
    let seq = checkpoint.seq;
    if last < seq {
        return Err(FollowError::LogShorter { last, checkpoint: seq });
    }
    let Some(mark) = checkpoint.mark.as_ref().filter(|_| seq > Seq::ZERO) else { return Ok(()) };
    let one = ReadLimit { entries: 1, ..ReadLimit::default() };
    let found = log.read(Seq(seq.0 - 1), one).await?;
    match found.first() {
        Some(entry) if entry.seq == seq && Mark::of(&entry.payload) == *mark => Ok(()),
        _ => Err(FollowError::LogReplaced { at: seq }),
    }
}

impl From<PortError> for FollowError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}
