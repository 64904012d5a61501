//! From when on a number or a time counts as wrong, by what the configuration says of some DAGs.
use dagbok_events::Micros;

use crate::{Labels, Matcher, limits, matches_all};

/// What is said of the DAGs that match. Of several that match, the first that says something counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Which DAGs, by `dag`, `owner`, `tags`, `email`: all of them match.
    pub matchers: Vec<Matcher>,
    /// A run that takes more than so many percent of what nearly all took before is slow; 0 says never.
    pub slow_percent: Option<u32>,
    /// A DAG whose last success is older is stale.
    pub max_age: Option<Micros>,
    /// A scheduled run that is not done so long after its data interval's end has missed a deadline.
    pub within: Option<Micros>,
    /// A question that a task asks people counts as forgotten after so long.
    pub answer_within: Option<Micros>,
    /// What a try of a task may have in memory, in bytes.
    pub memory_bytes: Option<u64>,
}

/// What holds for one DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heed {
    pub(crate) slow_percent: u32,
    pub(crate) max_age: Option<Micros>,
    pub(crate) within: Option<Micros>,
    pub(crate) answer_within: Micros,
    pub(crate) memory_bytes: Option<u64>,
}

/// What holds for a DAG with these labels.
pub(crate) fn heed(said: &[Thresholds], labels: &Labels) -> Heed {
    let matching: Vec<&Thresholds> =
        said.iter().filter(|it| matches_all(&it.matchers, labels)).collect();
    Heed {
        slow_percent: matching
            .iter()
            .find_map(|it| it.slow_percent)
            .unwrap_or(limits::SLOW_PERCENT),
        max_age: matching.iter().find_map(|it| it.max_age),
        within: matching.iter().find_map(|it| it.within),
        answer_within: matching
            .iter()
            .find_map(|it| it.answer_within)
            .unwrap_or(limits::ANSWER_WITHIN),
        memory_bytes: matching.iter().find_map(|it| it.memory_bytes),
    }
}
