//! Why a term of alerting ended.
use dagbok_projection::FollowError;
use dagbok_runlog::{AppendError, PortError};
use thiserror::Error;

/// Alerting could not go on.
#[derive(Debug, Error)]
pub enum AlertingError {
    /// A primitive failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The alert log could not be written.
    #[error("the alert log can't be written: {0}")]
    Append(#[source] AppendError),
    /// The run log can't be followed any more.
    #[error("the run log can't be followed: {0}")]
    Follow(#[source] FollowError),
    /// The receivers can't be set up.
    #[error("receivers can't be set up: {0}")]
    Http(#[source] reqwest::Error),
}
