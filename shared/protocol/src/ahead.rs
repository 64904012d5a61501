//! What schedules promise beyond the next run, as the facts say it: one fold for the scheduler, which tops it up,
//! and for whoever shows what comes.
use std::collections::VecDeque;

use dagbok_events::{ExpectedRuns, Interval, Micros, RunExpected, Timestamp};
use serde::{Deserialize, Serialize};

/// Promised runs after the next one, in order; stretches at even distances, so that a day of minutes is one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ahead(VecDeque<ExpectedRuns>);

impl Ahead {
    /// Takes a promise in: what it leaves behind or does not keep goes, what it adds comes after the rest.
    pub fn take_in(&mut self, promise: &RunExpected) {
        match promise.logical_date {
            Some(date) if promise.keeps => self.drop_through(date),
            _ => self.0.clear(),
        }
        if promise.logical_date.is_some() {
            self.0.extend(promise.further.iter().filter(|runs| runs.count > 0));
        }
    }

    /// The data intervals of the runs, in order.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        self.0.iter().flat_map(|runs| (0..runs.count).map(|n| at(runs, n)))
    }

    /// Whether a run of this data interval is promised.
    pub fn contains(&self, interval: Interval) -> bool {
        self.0.iter().any(|runs| {
            let through = through(runs, interval.start);
            through > 0 && at(runs, through - 1) == interval
        })
    }

    /// How many runs are promised after `date`, and the last of them.
    pub fn after(&self, date: Timestamp) -> (u64, Option<Interval>) {
        let left = self.0.iter().map(|runs| u64::from(runs.count - through(runs, date)));
        let last = self.0.back().map(|runs| at(runs, runs.count - 1));
        (left.sum(), last.filter(|last| last.start > date))
    }

    /// Whether nothing is promised.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn drop_through(&mut self, date: Timestamp) {
        while let Some(runs) = self.0.front_mut() {
            let gone = through(runs, date);
            if gone < runs.count {
                (runs.first, runs.count) = (at(runs, gone), runs.count - gone);
                return;
            }
            self.0.pop_front();
        }
    }
}

/// Runs in their order as stretches.
pub fn stretches(runs: impl IntoIterator<Item = Interval>) -> Vec<ExpectedRuns> {
    let mut found: Vec<ExpectedRuns> = Vec::new();
    for run in runs {
        if let Some(last) = found.last_mut() {
            let end = at(last, last.count - 1);
            let step = run.start.since(end.start);
            let even = step == run.end.since(end.end) && (last.count == 1 || step == last.step);
            if even && step.0 > 0 {
                (last.step, last.count) = (step, last.count + 1);
                continue;
            }
        }
        found.push(ExpectedRuns { first: run, step: Micros(0), count: 1 });
    }
    found
}

/// The run at a place of a stretch.
pub(crate) fn at(runs: &ExpectedRuns, place: u32) -> Interval {
    let ahead = Micros(runs.step.0.saturating_mul(i64::from(place)));
    Interval { start: runs.first.start.plus(ahead), end: runs.first.end.plus(ahead) }
}

/// How many runs of a stretch have a logical date up to `date`.
pub(crate) fn through(runs: &ExpectedRuns, date: Timestamp) -> u32 {
    let ahead = date.since(runs.first.start).0;
    if date < runs.first.start {
        0
    } else if runs.step.0 <= 0 {
        runs.count
    } else {
        u32::try_from(ahead / runs.step.0).unwrap_or(u32::MAX).saturating_add(1).min(runs.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(from: i64, count: u32) -> impl Iterator<Item = Interval> {
        (0..i64::from(count)).map(move |n| {
            let at = |n: i64| Timestamp(n * 60_000_000);
            Interval { start: at(from + n), end: at(from + n + 1) }
        })
    }

    fn promise(run: Interval, keeps: bool, further: Vec<ExpectedRuns>) -> RunExpected {
        RunExpected {
            logical_date: Some(run.start),
            data_interval: Some(run),
            due: Some(run.end),
            grace: Micros(0),
            owner: String::new(),
            further,
            keeps,
        }
    }

    #[test]
    fn a_day_of_minutes_is_one_stretch_that_is_eaten_from_its_front() {
        let day: Vec<Interval> = minutes(0, 1_440).collect();
        let mut ahead = Ahead::default();
        ahead.take_in(&promise(day[0], false, stretches(day[1..].iter().copied())));
        assert_eq!(ahead.0.len(), 1);
        assert_eq!(ahead.after(day[0].start), (1_439, Some(day[1_439])));
        assert!(ahead.contains(day[700]) && !ahead.contains(day[0]));
        ahead.take_in(&promise(day[1], true, stretches(minutes(1_440, 2))));
        assert_eq!(ahead.intervals().next(), Some(day[2]));
        assert_eq!(ahead.intervals().count(), 1_440);
        // Some were passed over.
        ahead.take_in(&promise(day[1_000], true, Vec::new()));
        assert_eq!(ahead.intervals().next(), Some(day[1_001]));
        ahead.take_in(&promise(day[5], false, Vec::new()));
        assert!(ahead.is_empty());
    }

    #[test]
    fn uneven_runs_are_told_one_by_one_and_odd_history_does_no_harm() {
        let at = |hour: i64| Timestamp(hour * 3_600_000_000);
        let runs = [(0, 8), (8, 24), (24, 32), (32, 48)];
        let runs = runs.map(|(from, to)| Interval { start: at(from), end: at(to) });
        assert_eq!(stretches(runs).len(), 4);
        let mut ahead = Ahead::default();
        let odd = |step, count| ExpectedRuns { first: runs[0], step: Micros(step), count };
        let further = vec![odd(0, 3), odd(-5, 2), odd(i64::MAX, u32::MAX), odd(1, 0)];
        ahead.take_in(&promise(runs[0], false, further));
        assert!(ahead.intervals().take(10).count() == 10 && ahead.contains(runs[0]));
        ahead.take_in(&promise(runs[3], true, Vec::new()));
        let _ = ahead.after(at(1_000));
    }
}
