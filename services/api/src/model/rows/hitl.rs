//! Rows about what tasks ask people.
use dagbok_events::{HitlAnswered, HitlAsk, MapIndex, RunKey, TaskId, Timestamp, TryNumber};
use serde::{Deserialize, Serialize};

/// What a try of a task asks people, and the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitlRow {
    /// Of which run.
    pub run: RunKey,
    /// Which task of it.
    pub task_id: TaskId,
    /// Which copy of it.
    pub map_index: MapIndex,
    /// Which try.
    pub try_number: TryNumber,
    /// What is asked.
    pub ask: HitlAsk,
    /// Since when.
    pub created_at: Timestamp,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Timestamp>,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<HitlAnswered>,
}

/// That a question has no answer yet; where its task does not wait for one any more, it is as good as gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitlOpenRow {
    /// Of which run.
    pub run: RunKey,
    /// Which task of it.
    pub task_id: TaskId,
    /// Which copy of it.
    pub map_index: MapIndex,
    /// Which try.
    pub try_number: TryNumber,
}
