//! The fold: what is under way, and what was counted of it.
use dagbok_events::{Record, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Note, State, Tallies};

/// Raise it with any change of the fold: what was kept of it is then made anew.
pub const VERSION: u32 = 4;

/// All figures that the log tells of, up to one of its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    by_task: bool,
    pub(crate) state: State,
    pub(crate) tallies: Tallies,
}

impl Ledger {
    /// One of the empty log; with series of every task, where those are asked for.
    pub fn new(by_task: bool) -> Self {
        Self { by_task, ..Self::default() }
    }

    /// Takes a record in. History is never refused.
    pub fn take(&mut self, seq: u64, record: &Record) {
        self.take_and_tell(seq, record, &mut |_| {});
    }

    /// Takes a record in, and tells what its facts mean.
    pub fn take_and_tell(&mut self, seq: u64, record: &Record, tell: &mut dyn FnMut(&Note<'_>)) {
        (self.seq, self.at) = (seq, self.at.max(record.at));
        self.tallies.count("dagbok_log_records_total", &[], 1);
        self.tallies.count("dagbok_log_facts_total", &[], record.facts.len() as u64);
        let (tallies, by_task, at) = (&mut self.tallies, self.by_task, record.at);
        self.state.take(record, &mut |note| {
            tallies.take(note, by_task, at);
            tell(note);
        });
    }

    /// Up to where the log is folded.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// When the last record was decided.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it has series of every task.
    pub const fn is_by_task(&self) -> bool {
        self.by_task
    }

    /// What is under way.
    pub const fn state(&self) -> &State {
        &self.state
    }
}
