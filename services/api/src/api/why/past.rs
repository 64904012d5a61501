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

    /// How that changed between two instants, each time with all that kept it from then on; and whether those are all
    /// the changes there were.
    async fn changes(
        &self,
        between: (Timestamp, Timestamp),
        ask: &WhyAsk,
    ) -> Result<(Vec<Why>, bool), PastError>;
}

pub(super) async fn ask(
    state: &ApiState,
    at: Option<Timestamp>,
    ask: &WhyAsk,
) -> Result<Why, ApiError> {
    past(state)?.why(at, ask).await.map_err(|error| shown(error, at))
}

pub(super) async fn changes(
    state: &ApiState,
    between: (Timestamp, Timestamp),
    ask: &WhyAsk,
) -> Result<(Vec<Why>, bool), ApiError> {
    past(state)?.changes(between, ask).await.map_err(|error| shown(error, None))
}

fn past(state: &ApiState) -> Result<&dyn Past, ApiError> {
    let past = state.past.get().map(|past| &**past);
    past.ok_or_else(|| {
        let why = "this API can't fold the log: ask about now, or another one".to_owned();
        ApiError::Unavailable(why)
    })
}

fn shown(error: PastError, at: Option<Timestamp>) -> ApiError {
    match error {
        PastError::Refused(refusal) => {
            let at = at.map(|at| format!(", as of {at}")).unwrap_or_default();
            ApiError::from(Refusal { message: format!("{}{at}", refusal.message), ..refusal })
        }
        PastError::Unavailable(why) => ApiError::Unavailable(why),
    }
}
