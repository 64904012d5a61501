//! States of tasks, packed and counted.
use std::collections::BTreeMap;

use crate::model::rows::TaskInstanceState;

/// The digit of a state in a grid's cell.
pub(super) const fn digit(state: Option<TaskInstanceState>) -> char {
    use TaskInstanceState as State;
    match state {
        None => '0',
        Some(State::Scheduled) => '1',
        Some(State::Queued) => '2',
        Some(State::Running) => '3',
        Some(State::Success) => '4',
        Some(State::Failed) => '5',
        Some(State::UpForRetry) => '6',
        Some(State::Skipped) => '7',
        Some(State::UpstreamFailed) => '8',
        Some(State::Removed) => '9',
        Some(State::UpForReschedule) => 'a',
        Some(State::Cleared) => 'b',
        Some(State::Deferred) => 'c',
    }
}

/// The copies of a mapped task, counted by state.
#[derive(Debug)]
pub(super) struct Copies(BTreeMap<Option<TaskInstanceState>, u32>);

impl Copies {
    /// By the marks of those that have a state, of so many.
    pub(super) fn of(marks: &[u8], count: u32) -> Self {
        let mut counts: BTreeMap<Option<TaskInstanceState>, u32> = BTreeMap::new();
        for place in 0..count as usize {
            let mark = marks.get(place).copied().unwrap_or(0);
            *counts.entry(state_of(mark)).or_default() += 1;
        }
        Self(counts)
    }

    /// The state of those that matters most to people.
    pub(super) fn worst(&self) -> Option<TaskInstanceState> {
        use TaskInstanceState as State;
        const ORDER: [Option<State>; 13] = [
            Some(State::Failed),
            Some(State::UpForRetry),
            Some(State::Running),
            Some(State::Queued),
            Some(State::Scheduled),
            Some(State::UpForReschedule),
            Some(State::Deferred),
            Some(State::UpstreamFailed),
            None,
            Some(State::Cleared),
            Some(State::Success),
            Some(State::Skipped),
            Some(State::Removed),
        ];
        ORDER.into_iter().find(|state| self.0.contains_key(state)).flatten()
    }

    /// By their words.
    pub(super) fn words(&self) -> BTreeMap<String, u32> {
        let word = |state: &Option<TaskInstanceState>| {
            state.map_or("none", TaskInstanceState::word).to_owned()
        };
        self.0.iter().map(|(state, count)| (word(state), *count)).collect()
    }
}

/// The state that a mark stands for.
pub(super) fn state_of(mark: u8) -> Option<TaskInstanceState> {
    TaskInstanceState::ALL.into_iter().find(|state| state.mark() == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_copy_outweighs_the_rest() {
        use TaskInstanceState as State;
        let marks = [State::Success.mark(), State::Failed.mark(), State::Running.mark()];
        let copies = Copies::of(&marks, 4);
        assert_eq!(copies.worst(), Some(State::Failed));
        assert_eq!(copies.words().values().sum::<u32>(), 4, "one has no state yet");
    }
}
