//! Who answers the API's questions about the past: the scheduler's fold of the log, in the API's process.
use async_trait::async_trait;
use dagbok_api::{Past, PastError};
use dagbok_events::Timestamp;
use dagbok_protocol::{Why, WhyAsk};

/// The fold as the API asks it.
#[derive(Debug)]
pub(crate) struct FoldedLog(pub(crate) dagbok_scheduler::Past);

#[async_trait]
impl Past for FoldedLog {
    async fn why(&self, at: Option<Timestamp>, ask: &WhyAsk) -> Result<Why, PastError> {
        let answer = self.0.why(at, ask).await;
        answer
            .map_err(|error| PastError::Unavailable(error.to_string()))?
            .map_err(PastError::Refused)
    }

    async fn changes(
        &self,
        between: (Timestamp, Timestamp),
        ask: &WhyAsk,
    ) -> Result<(Vec<Why>, bool), PastError> {
        let found = self.0.changes(between, ask).await;
        let found = found.map_err(|error| PastError::Unavailable(error.to_string()))?;
        Ok((found.changes, found.whole))
    }
}
