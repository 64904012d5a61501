//! The runs of a timetable that is written in Python, as it answered when it was asked: nothing of it runs here.
use std::sync::Arc;

use dagbok_events::{ForetoldManual, ForetoldRuns, Interval, Micros, ScheduleForetold, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Limits, Missed, Planned};

/// Runs before those of the newest answer that are remembered: what comes after a run that is late is asked of them.
const KEPT_BEHIND: usize = 100;
/// Runs that are taken of one answer; a child that was asked gives fewer.
const MOST: usize = 10_000;

/// What a timetable answered; nothing where it was not asked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foretold {
    /// In the order of their logical dates, no two of them the same.
    runs: Arc<[Run]>,
    /// Where those of the newest answer begin.
    begin: usize,
    /// Whether what is past is made, whatever the DAG says of catching up.
    heedless: bool,
    manual: Option<Arc<ForetoldManual>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    interval: Interval,
    run_after: Timestamp,
}

impl Run {
    const fn planned(self) -> Planned {
        let Self { interval, run_after } = self;
        Planned { logical_date: interval.start, data_interval: interval, run_after }
    }
}

impl Foretold {
    /// This with a newer answer: what lies before that stays, as far as it is remembered.
    #[must_use]
    pub fn renewed(&self, answer: &ScheduleForetold) -> Self {
        let mut new: Vec<Run> = answer.runs.iter().flat_map(runs_of).take(MOST).collect();
        new.sort_by_key(|run| run.interval.start);
        new.dedup_by_key(|run| run.interval.start);
        let until = answer
            .after
            .map_or(Timestamp(i64::MIN), |after| Timestamp(after.start.0.saturating_add(1)));
        let until = new.first().map_or(until, |first| first.interval.start);
        let behind = &self.runs[..self.runs.partition_point(|run| run.interval.start < until)];
        let behind = &behind[behind.len().saturating_sub(KEPT_BEHIND)..];
        let runs = behind.iter().copied().chain(new).collect();
        let manual = answer.manual.clone().map(Arc::new);
        Self { runs, begin: behind.len(), heedless: answer.heedless, manual }
    }

    /// The run after the one over `last`; of those that are due the newest where nothing is caught up.
    pub(super) fn next(
        &self,
        last: Option<Interval>,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<Planned> {
        let from = last.map_or(self.begin, |last| self.after(last));
        let left = &self.runs[from..];
        let newest = || left.iter().rev().find(|run| run.run_after <= now);
        let all = limits.catchup || self.heedless;
        let next = if all { None } else { newest() };
        next.or_else(|| left.first()).map(|run| run.planned())
    }

    /// The interval before the last one whose run is due.
    pub(super) fn before_due(&self, now: Timestamp) -> Option<Interval> {
        let due = self.runs.iter().rposition(|run| run.run_after <= now)?;
        Some(self.runs[due.checked_sub(1)?].interval)
    }

    pub(super) fn manual_interval(&self, at: Timestamp) -> Option<Interval> {
        match self.manual.as_deref()? {
            ForetoldManual::Around { start, end } => {
                Some(Interval { start: at.plus(*start), end: at.plus(*end) })
            }
            ForetoldManual::Steps(steps) => {
                let past = steps.partition_point(|step| step.from <= at);
                Some(steps.get(past.checked_sub(1)?)?.interval)
            }
        }
    }

    pub(super) fn missed_between(
        &self,
        after: Interval,
        until: Timestamp,
        max: u32,
    ) -> Option<Missed> {
        let from = self.after(after);
        let end = self.runs.partition_point(|run| run.interval.start < until).max(from);
        let missed = &self.runs[from..end];
        let (first, last) = (missed.first()?.interval.start, missed.last()?.interval.start);
        Some(Missed { first, last, count: u32::try_from(missed.len()).unwrap_or(max).min(max) })
    }

    fn after(&self, last: Interval) -> usize {
        self.runs.partition_point(|run| run.interval.start <= last.start)
    }
}

fn runs_of(runs: &ForetoldRuns) -> impl Iterator<Item = Run> + '_ {
    (0..runs.count).map(|n| {
        let ahead = Micros(runs.step.0.saturating_mul(i64::from(n)));
        let Interval { start, end } = runs.first;
        let interval = Interval { start: start.plus(ahead), end: end.plus(ahead) };
        Run { interval, run_after: runs.run_after.unwrap_or(end).plus(ahead) }
    })
}
