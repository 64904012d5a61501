//! The log as far as it went at some time: whoever wires the services says how it is folded.
use async_trait::async_trait;
use dagbok_events::Timestamp;
use dagbok_protocol::{Refusal, Why, WhyAsk};

use crate::api::{errors::ApiError, state::ApiState};

/// Why no answer could be had of the past.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// There is, or was, no such thing.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log could not be read or folded.
    #[error("{0}")]
    Unavailable(String),
}

/// Answers by the log alone.
#[async_trait]
pub trait Past: Send + Sync + std::fmt::Debug {
    /// All that kept something from going on at `at`, by the records up to then; by all of them where no time is
    /// named.
    async fn why(&self, at: Option<Timestamp>, ask: &WhyAsk) -> Result<Why, PastError>;
}

pub(super) async fn ask(
    state: &ApiState,
    at: Option<Timestamp>,
    ask: &WhyAsk,
) -> Result<Why, ApiError> {
    let Some(past) = state.past.get() else {
        let why = "this API can't fold the log: ask about now, or another one".to_owned();
        return Err(ApiError::Unavailable(why));
    };
    past.why(at, ask).await.map_err(|error| match error {
        PastError::Refused(refusal) => {
            let at = at.map(|at| format!(", as of {at}")).unwrap_or_default();
            ApiError::from(Refusal { message: format!("{}{at}", refusal.message), ..refusal })
        }
        PastError::Unavailable(why) => ApiError::Unavailable(why),
    })
}
