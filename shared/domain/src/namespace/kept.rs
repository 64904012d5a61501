//! What is kept of runs that are over for whoever deletes one: the fact of a deletion says it, and no run is read again
//! from the log for that. Of nearly all runs it is nothing: one try a task, one end, and an id that tells the date.
use std::collections::BTreeMap;

use dagbok_events::{RunDeleted, RunId, RunType, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    past::{Past, hash},
    run_id::dated,
};
use crate::run::{Ending, Run};

/// The same of all of a DAG's runs that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The highest number that a try of theirs had.
    tries: Numbers,
    /// The number of their last end.
    ends: Numbers,
    /// Those without a date whose ids tell one.
    undated: Past,
    /// The dates of those whose ids tell another one, or none; by a hash of the id.
    dates: BTreeMap<u128, Timestamp>,
}

/// A number of each run; of those that have 1, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers(BTreeMap<u16, Past>);

impl Kept {
    /// A run is over.
    pub(super) fn note(&mut self, run: &Run) {
        let run_id = &run.key().run_id;
        self.forget(run_id);
        self.tries.insert(run_id, run.most_tries());
        self.ends.insert(run_id, run.ends());
        match run.meta().logical_date {
            date if date == told_by(run_id) => {}
            Some(date) => drop(self.dates.insert(hash(run_id), date)),
            None => self.undated.insert(run_id, Ending::Success),
        }
    }

    /// It goes on, or is deleted.
    pub(super) fn forget(&mut self, run_id: &RunId) {
        self.tries.remove(run_id);
        self.ends.remove(run_id);
        self.undated.remove(run_id);
        self.dates.remove(&hash(run_id));
    }

    /// What the deletion of a run that is over says.
    pub(super) fn deletion_of(&self, run_id: &RunId) -> RunDeleted {
        let told = told_by(run_id).filter(|_| self.undated.ending(run_id).is_none());
        let logical_date = self.dates.get(&hash(run_id)).copied().or(told);
        RunDeleted { logical_date, tries: self.tries.of(run_id), ends: self.ends.of(run_id) }
    }
}

impl Numbers {
    fn of(&self, run_id: &RunId) -> u16 {
        let with_it = self.0.iter().find(|(_, runs)| runs.ending(run_id).is_some());
        with_it.map_or(1, |(number, _)| *number)
    }

    fn insert(&mut self, run_id: &RunId, number: u16) {
        if number != 1 {
            self.0.entry(number).or_default().insert(run_id, Ending::Success);
        }
    }

    fn remove(&mut self, run_id: &RunId) {
        self.0.values_mut().for_each(|runs| runs.remove(run_id));
        self.0.retain(|_, runs| !runs.is_empty());
    }
}

/// The logical date that a run of this id has, unless something else is said.
fn told_by(run_id: &RunId) -> Option<Timestamp> {
    let (run_type, date) = dated(run_id)?;
    (run_type != RunType::AssetTriggered).then_some(date)
}
