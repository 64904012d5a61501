//! Which tasks are no part of a run, by their dates: as in Airflow those that begin after its logical date or end before
//! it, but in backfills.
use dagbok_events::{RuledOut, RunType, Timestamp};

use super::{Done, Run, TaskState, consequences::Wave};
use crate::graph::Ix;

impl Run {
    /// Leaves out the tasks that wait and are no part of the run.
    pub(super) fn leave_out_by_dates(&self, wave: &mut Wave<'_>) {
        let Some(date) = self.meta.logical_date.filter(|_| self.meta.run_type != RunType::Backfill)
        else {
            return;
        };
        for node in 0..self.version.node_count() {
            if self.arena.open(node) > 0
                && let Some(why) = self.out_of_dates(node, date)
            {
                wave.leave_out(node, &why);
            }
        }
    }

    /// Why a task is no part of a run of this date; nothing where it is.
    fn out_of_dates(&self, node: Ix, date: Timestamp) -> Option<String> {
        let (first, last) = self.version.dates_of(node);
        let (name, of) = match (first, last) {
            (Some(first), _) if date < first => ("start_date", first),
            (_, Some(last)) if date > last => ("end_date", last),
            _ => return None,
        };
        let lies = if date < of { "before" } else { "after" };
        Some(format!("the run's logical date {date} lies {lies} its {name} {of}"))
    }

    /// Whether a task is no part of the run by its dates.
    pub fn lacks(&self, node: Ix) -> bool {
        let left_out = TaskState::Done(Done::RuledOut(RuledOut::OutOfDates));
        self.arena.get(self.arena.numbers(node).start).state == left_out
    }
}
