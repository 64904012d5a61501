//! Backfills: what is asked for, what one would do, and its runs as stretches.
use std::sync::Arc;

use dagbok_events::{DagId, ExpectedRuns, Interval, ReprocessBehavior, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ahead::{at, through};

/// Asks for runs of many dates of a DAG's past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateBackfill {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// The first logical date.
    pub from_date: Timestamp,
    /// The last one.
    pub to_date: Timestamp,
    /// Whether the newest comes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_backwards: bool,
    /// What becomes of dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// How many of its runs may be under way at once.
    pub max_active_runs: u32,
    /// A JSON object in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<String>,
    /// Of a DAG whose timetable is written in Python the runs of that time that are due, in the order of their
    /// logical dates, as its timetable answered; nothing of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Vec<ExpectedRuns>>,
    /// Only say what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a backfill would do with each of its dates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillPlan {
    /// How many dates it has.
    pub count: u32,
    /// All of them, in the backfill's order.
    pub dates: Vec<BackfillDates>,
}

/// Dates of a backfill that follow each other in its order, and of which the same would become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillDates {
    /// The dates, in the order of time; the last one comes first in a backfill that runs backwards.
    pub runs: ExpectedRuns,
    /// What would become of them.
    pub does: BackfillDoes,
}

/// What becomes of a date of a backfill.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BackfillDoes {
    /// A run is made.
    Create,
    /// The run that there is runs again.
    Rerun,
    /// Nothing: it has a run that is over and is not to run again.
    SkipExisting,
    /// Nothing: it has a run that is not over.
    SkipInFlight,
}

/// The runs of a backfill, in the order of time; cheap to clone, and any of them is found at once.
#[derive(Clone, Debug)]
pub struct BackfillRuns {
    stretches: Arc<[ExpectedRuns]>,
    /// How many come before each stretch.
    before: Arc<[u32]>,
    count: u32,
}

impl BackfillRuns {
    /// The runs that a fact names.
    pub fn new(stretches: &[ExpectedRuns]) -> Self {
        let (mut before, mut count) = (Vec::with_capacity(stretches.len()), 0_u32);
        for runs in stretches {
            before.push(count);
            count = count.saturating_add(runs.count);
        }
        Self { stretches: stretches.into(), before: before.into(), count }
    }

    /// How many they are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// As a fact names them.
    pub fn stretches(&self) -> &[ExpectedRuns] {
        &self.stretches
    }

    /// The data interval of the `place`th, from 0, in the order of time.
    pub fn get(&self, place: u32) -> Option<Interval> {
        let stretch = self.before.partition_point(|before| *before <= place).checked_sub(1)?;
        let (runs, place) = (&self.stretches[stretch], place - self.before[stretch]);
        (place < runs.count).then(|| at(runs, place))
    }

    /// Which of them has this logical date.
    pub fn place(&self, date: Timestamp) -> Option<u32> {
        let next = self.stretches.partition_point(|runs| runs.first.start <= date);
        let stretch = next.checked_sub(1)?;
        let runs = &self.stretches[stretch];
        let place = through(runs, date).checked_sub(1)?;
        (at(runs, place).start == date).then_some(self.before[stretch].saturating_add(place))
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::Micros;

    use super::*;
    use crate::ahead::stretches;

    #[test]
    fn each_run_is_found_by_its_place_and_its_date() {
        let at = |hour: i64| Timestamp(hour * 3_600_000_000);
        // Hours, with a gap of some, and then days.
        let hours = (0..30).filter(|hour| !(7..11).contains(hour)).map(|hour| (hour, hour + 1));
        let days = (2..9).map(|day| (day * 24, day * 24 + 24));
        let runs: Vec<Interval> =
            hours.chain(days).map(|(from, to)| Interval { start: at(from), end: at(to) }).collect();
        let told = BackfillRuns::new(&stretches(runs.iter().copied()));
        assert_eq!(told.count() as usize, runs.len());
        assert!(told.stretches().len() < 5, "{:?}", told.stretches());
        for (place, run) in (0..).zip(&runs) {
            assert_eq!(told.get(place), Some(*run));
            assert_eq!(told.place(run.start), Some(place));
            assert_eq!(told.place(run.start.plus(Micros(1))), None);
        }
        assert_eq!(
            (told.get(told.count()), told.place(at(8)), told.place(at(-1))),
            (None, None, None)
        );
        let none = BackfillRuns::new(&[]);
        assert_eq!((none.count(), none.get(0), none.place(at(0))), (0, None, None));
    }
}
