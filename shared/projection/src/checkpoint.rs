//! What a projection must offer, and how it is known to belong to the log that it is fed from.
use dagbok_events::Record;
use dagbok_runlog::{Compared, LogMark, PortError, Position, RunLog, Seq};
use thiserror::Error;

use crate::FollowError;

/// Up to where a projection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry that was folded; [`Seq::ZERO`] for none.
    pub seq: Seq,
    /// Which entry of which log that is: tells the log that was folded from one that took its place.
    /// `None` where nothing was folded, or it was not kept.
    pub position: Option<Position>,
}

impl From<Position> for Checkpoint {
    fn from(position: Position) -> Self {
        Self { seq: position.seq, position: Some(position) }
    }
}

/// An entry of the log, decoded.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Where it stands.
    pub seq: Seq,
    /// The log that it stands in.
    pub log: LogMark,
    /// What it is about, for its position.
    pub subject: String,
    /// Its bytes, for its position.
    pub payload: bytes::Bytes,
    /// What it says.
    pub record: Record,
}

impl Decoded {
    /// Where it stands, as a checkpoint keeps it.
    pub fn position(&self) -> Position {
        Position::with(self.log, self.seq, &self.subject, &self.payload)
    }
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

/// Checks that `log` still holds what was folded into a projection at `checkpoint`: it must be that log,
/// reach as far, and have the same entry there.
pub async fn check_log(log: &dyn RunLog, checkpoint: &Checkpoint) -> Result<(), FollowError> {
    let Some(position) = checkpoint.position else {
        let last = log.last().await?;
        let is_shorter = last < checkpoint.seq;
        return if is_shorter {
            Err(FollowError::LogShorter { last, checkpoint: checkpoint.seq })
        } else {
            Ok(())
        };
    };
    match position.compare(log).await? {
        Compared::Same => Ok(()),
        Compared::Other { at } => Err(FollowError::LogReplaced { at }),
        Compared::Shorter { last, .. } => {
            Err(FollowError::LogShorter { last, checkpoint: position.seq })
        }
        Compared::Trimmed { first } => {
            Err(PortError::Trimmed { asked: position.seq, first }.into())
        }
    }
}

impl From<PortError> for FollowError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}
