//! What a port can't do, and what the caller may conclude from it.
use thiserror::Error;

use crate::Seq;

/// The outcome of a port's work.
pub type PortResult<T> = Result<T, PortError>;

/// A port failed. Retrying is always allowed; see each variant for what may have happened.
#[derive(Debug, Error)]
pub enum PortError {
    /// No answer: the work may or may not have been done, so look before deciding again.
    #[error("the {what} is unavailable: {why}")]
    Unavailable {
        /// Which primitive: `log`, `queue`, `state`, `blobs`, `signals`.
        what: &'static str,
        /// The reason, for people.
        why: String,
    },
    /// What is stored can't be right: retrying won't help, a person must look.
    #[error("the {what} is damaged at {place}: {why}")]
    Damaged {
        /// Which primitive.
        what: &'static str,
        /// File and offset, stream and sequence, key.
        place: String,
        /// What was found.
        why: String,
    },
    /// The work breaks a published limit and was not done.
    #[error("the {what} refuses {why}")]
    Refused {
        /// Which primitive.
        what: &'static str,
        /// Which limit, with the figures.
        why: String,
    },
}

impl PortError {
    /// An [`PortError::Unavailable`] from any error.
    pub fn unavailable(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Unavailable { what, why: why.to_string() }
    }
}

/// Why an append did not happen, or may not have.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Somebody else wrote first: fold their entries in and decide again. A prefix of the drafts may
    /// have landed before theirs.
    #[error("the log has moved on: {expected} was expected to be last, {actual:?} is")]
    Conflict {
        /// What the writer believed was last.
        expected: Seq,
        /// What was last, where the log said.
        actual: Option<Seq>,
    },
    /// The log did not answer or refused; any prefix of the drafts may be there.
    #[error(transparent)]
    Port(#[from] PortError),
}
