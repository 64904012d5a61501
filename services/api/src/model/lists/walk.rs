//! A walk through a list of runs: what it passed, and what it keeps.
use dagbok_events::Timestamp;

use super::ask::RunAsk;
use crate::model::rows::RunRow;

/// A walk under way.
pub(super) struct Walk {
    pub(super) page: Vec<RunRow>,
    /// Runs of the list that were passed, those on the page with them.
    pub(super) passed: usize,
    pub(super) looked: usize,
    /// What the last that was looked at has in the field of the order, where that is an instant.
    pub(super) last: Option<Timestamp>,
    /// How many of these came after the page was full.
    pub(super) beyond: usize,
    /// Runs that are equal by the field, to be ordered among themselves.
    pub(super) group: Vec<(Vec<u8>, RunRow)>,
}

impl Walk {
    pub(super) fn new() -> Self {
        let (page, group) = (Vec::new(), Vec::new());
        Self { page, passed: 0, looked: 0, last: None, beyond: 0, group }
    }

    pub(super) fn flush(&mut self, ask: &RunAsk) {
        if self.group.len() > 1 {
            self.group.sort_by(|(_, a), (_, b)| ask.compare(a, b));
        }
        for (_, run) in self.group.drain(..) {
            if self.passed >= ask.skip && self.page.len() < ask.take {
                self.page.push(run);
            }
            self.passed += 1;
        }
    }
}
