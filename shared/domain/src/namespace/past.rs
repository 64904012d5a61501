//! What is remembered of runs that are over: that they were, and how they ended. A run whose id is its type
//! and its date, as the schedule's are, costs next to nothing; one of another name a few bytes.
use std::collections::BTreeMap;

use dagbok_events::{DagVersion, RunId, RunType, Timestamp};
use serde::{Deserialize, Serialize};

use super::{dates::Dates, run_id::dated};
use crate::run::Ending;

/// A DAG's runs that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    dated: BTreeMap<RunType, Dated>,
    /// The rest, by a hash of the name.
    named: BTreeMap<u128, Ending>,
}

/// Runs of one type that are named by their date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Dated {
    all: Dates,
    failed: Dates,
}

impl Past {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.dated.values().all(|runs| runs.all.is_empty())
    }

    pub(super) fn ending(&self, run_id: &RunId) -> Option<Ending> {
        let Some((run_type, date)) = dated(run_id) else {
            return self.named.get(&hash(run_id)).copied();
        };
        let runs = self.dated.get(&run_type)?;
        let failed = runs.failed.contains(date);
        runs.all.contains(date).then_some(if failed { Ending::Failed } else { Ending::Success })
    }

    /// The last date before this of the runs that are named by their dates, of the types that `counts` says.
    pub(super) fn dated_before(
        &self,
        date: Timestamp,
        counts: impl Fn(RunType) -> bool,
    ) -> Option<Timestamp> {
        let dated = self.dated.iter().filter(|(run_type, _)| counts(**run_type));
        dated.filter_map(|(_, runs)| runs.all.before(date)).max()
    }

    pub(super) fn insert(&mut self, run_id: &RunId, ending: Ending) {
        let Some((run_type, date)) = dated(run_id) else {
            self.named.insert(hash(run_id), ending);
            return;
        };
        let runs = self.dated.entry(run_type).or_default();
        runs.all.insert(date);
        match ending {
            Ending::Success => runs.failed.remove(date),
            Ending::Failed => runs.failed.insert(date),
        }
    }

    pub(super) fn remove(&mut self, run_id: &RunId) {
        match dated(run_id) {
            None => {
                self.named.remove(&hash(run_id));
            }
            Some((run_type, date)) => {
                if let Some(runs) = self.dated.get_mut(&run_type) {
                    runs.all.remove(date);
                    runs.failed.remove(date);
                }
            }
        }
    }
}

/// Ids of runs that were deleted, by the numbers that those go on from who are made again under one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deleted {
    /// The highest number that a try of theirs had.
    tries: Highest,
    /// The number of their last end, as far as the log says it.
    ends: Highest,
}

/// Ids of runs, by a number of each; none of those that have 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Highest {
    by_number: BTreeMap<u16, Past>,
    /// What holds for every id: the DAG was forgotten, and is there again.
    floor: u16,
}

/// What is remembered of a DAG that was forgotten: should it come back, its versions and the tries of its runs
/// go on from there, so that no report of before is taken for one of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// Its last version.
    pub(super) version: DagVersion,
    /// The highest number that a try of any of its runs had.
    pub(super) tries: u16,
    /// The highest number that an end of any of its runs had.
    pub(super) ends: u16,
}

impl Deleted {
    /// Of a DAG that may have been forgotten, and of whose runs none had a higher number.
    pub(super) fn after(before: Option<Forgotten>) -> Self {
        let (tries, ends) = before.map_or((0, 0), |before| (before.tries, before.ends));
        Self { tries: Highest::with_floor(tries), ends: Highest::with_floor(ends) }
    }

    /// What is left of a DAG that is forgotten, by its last version.
    pub(super) fn left_of(&self, version: DagVersion) -> Forgotten {
        Forgotten { version, tries: self.tries.most(), ends: self.ends.most() }
    }

    /// The highest number that a try, and an end, of a run of this id had which was deleted; 0 where there was none.
    pub(super) fn numbers(&self, run_id: &RunId) -> (u16, u16) {
        (self.tries.of(run_id), self.ends.of(run_id))
    }

    pub(super) fn insert(&mut self, run_id: &RunId, tries: u16, ends: u16) {
        self.tries.insert(run_id, tries);
        self.ends.insert(run_id, ends);
    }
}

impl Highest {
    fn with_floor(floor: u16) -> Self {
        Self { floor, ..Self::default() }
    }

    fn of(&self, run_id: &RunId) -> u16 {
        let with_it = self.by_number.iter().find(|(_, runs)| runs.ending(run_id).is_some());
        with_it.map_or(0, |(number, _)| *number).max(self.floor)
    }

    /// The highest number that any had.
    fn most(&self) -> u16 {
        self.by_number.last_key_value().map_or(0, |(number, _)| *number).max(self.floor)
    }

    fn insert(&mut self, run_id: &RunId, number: u16) {
        let number = number.max(self.of(run_id));
        self.by_number.values_mut().for_each(|runs| runs.remove(run_id));
        if number > self.floor {
            self.by_number.entry(number).or_default().insert(run_id, Ending::Success);
        }
    }
}

/// FNV-1a over 128 bits: the same on every machine and in every build.
pub(super) fn hash(run_id: &RunId) -> u128 {
    let step = |sum: u128, byte: u8| {
        (sum ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    };
    run_id.as_str().bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_name_alone() {
        let mut past = Past::default();
        let id = |raw: &str| RunId::new(raw).expect("a run id");
        let ids = [
            "scheduled__2026-01-01T00:00:00+00:00",
            "manual__2026-01-01T00:00:00+00:00",
            "scheduled__2026-01-01T00:00:00.000001+00:00",
            "scheduled__2026-01-01T00:00:00.000000+00:00",
            "scheduled__2026-01-01T00:00:00Z",
            "scheduled__9999-99-01T00:00:00+00:00",
            "nightly",
            "__",
        ];
        for (n, raw) in ids.iter().enumerate() {
            for (m, other) in ids.iter().enumerate() {
                assert_eq!(past.ending(&id(other)).is_some(), m < n, "{raw} {other}");
            }
            past.insert(&id(raw), if n % 2 == 0 { Ending::Failed } else { Ending::Success });
        }
        assert_eq!(past.ending(&id(ids[0])), Some(Ending::Failed));
        past.insert(&id(ids[0]), Ending::Success);
        assert_eq!(past.ending(&id(ids[0])), Some(Ending::Success));
        for raw in ids {
            past.remove(&id(raw));
            assert_eq!(past.ending(&id(raw)), None, "{raw}");
        }
    }
}
