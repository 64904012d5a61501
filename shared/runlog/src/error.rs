//! What a port can't do, and what the caller may conclude from it.
use thiserror::Error;

use crate::Seq;

/// The outcome of a port's work.
pub type PortResult<T> = Result<T, PortError>;

/// A port failed. Retrying is always allowed; see each variant for what may have happened.
#[derive(Debug, Error)]
pub enum PortError {
    /// No answer: the work may or may not have been done, so look before deciding again.
    #[error("the {what} {} unavailable: {why}", is_or_are(what))]
    Unavailable {
        /// Which primitive: `log`, `queue`, `state`, `blobs`, `signals`.
        what: &'static str,
        /// The reason, for people.
        why: String,
    },
    /// What is stored can't be right: retrying won't help, a person must look.
    #[error("the {what} {} damaged at {place}: {why}", is_or_are(what))]
    Damaged {
        /// Which primitive.
        what: &'static str,
        /// File and offset, stream and sequence, key.
        place: String,
        /// What was found.
        why: String,
    },
    /// An entry was asked for that was trimmed from the log: it is in the archive, if anywhere.
    #[error(
        "entry {asked} was trimmed from the log, which begins at {first}: read it from the archive"
    )]
    Trimmed {
        /// The entry.
        asked: Seq,
        /// The first that the log holds.
        first: Seq,
    },
    /// The work breaks a published limit and was not done.
    #[error("the {what} {} {why}", if is_many(what) { "refuse" } else { "refuses" })]
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

/// Whether a primitive's name is of many: `blobs`, `signals`, `snapshots`.
fn is_many(what: &str) -> bool {
    what.ends_with('s')
}

fn is_or_are(what: &str) -> &'static str {
    if is_many(what) { "are" } else { "is" }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_fits_its_subject() {
        let gone = |what| PortError::unavailable(what, "gone").to_string();
        assert_eq!(gone("signals"), "the signals are unavailable: gone");
        assert_eq!(gone("log"), "the log is unavailable: gone");
        let refused = |what| PortError::Refused { what, why: "it".to_owned() }.to_string();
        assert_eq!(refused("blobs"), "the blobs refuse it");
        assert_eq!(refused("queue"), "the queue refuses it");
        let place = "byte 7".to_owned();
        let damaged = PortError::Damaged { what: "snapshots", place, why: "torn".to_owned() };
        assert_eq!(damaged.to_string(), "the snapshots are damaged at byte 7: torn");
    }
}
