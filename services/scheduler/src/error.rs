//! What ends a term, or the service.
use dagbok_events::DecodeError;
use dagbok_runlog::{AppendError, PortError, Seq};
use thiserror::Error;

/// Why the scheduler can't go on.
#[derive(Debug, Error)]
pub enum SchedulerError {
    /// A primitive failed; unless it is damaged, trying again may help.
    #[error(transparent)]
    Port(#[from] PortError),
    /// An append failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log has lost records that the snapshot knows of.
    #[error(
        "the log ends with entry {last}, and this installation has seen {known}: {missing} records are missing"
    )]
    LogShorter {
        /// The log's last entry.
        last: Seq,
        /// The entry that the snapshot stands on.
        known: Seq,
        /// How many are known to be missing.
        missing: u64,
    },
    /// An entry of the log can't be read.
    #[error(
        "entry {seq} of the log is no record that this build can read; where somebody else put it there, \
         `dagbok doctor --repair` has it passed over"
    )]
    Record {
        /// Which.
        seq: Seq,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

impl SchedulerError {
    /// Whether no retry can mend it.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Port(PortError::Damaged { .. } | PortError::Trimmed { .. })
            | Self::Append(AppendError::Port(PortError::Damaged { .. }))
            | Self::LogShorter { .. }
            | Self::Record { .. } => true,
            Self::Port(PortError::Unavailable { .. } | PortError::Refused { .. })
            | Self::Append(_) => false,
        }
    }
}
