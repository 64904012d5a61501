//! What of a run is forgotten before it goes itself: logs, and the values that its tasks handed on. A fact says it of all
//! runs at once that were over before some time, and no row of theirs changes with it: a run that is read is held against
//! those facts, and one that goes on notes what was forgotten by then.
use dagbok_events::{MapIndex, TaskId, Timestamp};

use super::{
    Store, StoreError, keys,
    rows::{Lapsed, LapsesRow, RefusedRow, RunRow, TaskRow, TryRow},
};

impl Store {
    /// By what facts logs and values of runs that are over are forgotten.
    pub fn lapses(&self) -> Result<LapsesRow, StoreError> {
        Ok(self.get(&keys::lapses())?.unwrap_or_default())
    }

    /// Until when a value was kept that a copy of a task handed on under a name, where it is forgotten.
    pub(crate) fn xcom_kept_until(
        &self,
        run: &RunRow,
        (task_id, map_index): (&TaskId, MapIndex),
        name: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        if run.xcoms_lapsed.is_none() {
            return Ok(None);
        }
        let task = self.task(&run.key(), task_id, map_index)?;
        let task = task.filter(|task| task.xcoms.iter().any(|handed| handed.name() == name));
        Ok(task.and_then(|task| run.xcoms_kept_until(&task)))
    }

    pub(super) fn with_what_lapsed(&self, row: RunRow) -> Result<RunRow, StoreError> {
        Ok(if row.state.is_over() { row.lapsed_by(&self.lapses()?) } else { row })
    }
}

impl RunRow {
    /// Of a run that is over all goes, whatever was forgotten before it went on.
    pub(crate) fn lapsed_by(mut self, lapses: &LapsesRow) -> Self {
        let Some(ended) = self.end_date.filter(|_| self.state.is_over()) else { return self };
        let logs = lapses.logs.kept_until(self.over_seq, ended).map(Lapsed::whole);
        let xcoms = lapses.xcoms.kept_until(self.over_seq, ended).map(Lapsed::whole);
        self.logs_lapsed = logs.or(self.logs_lapsed);
        self.xcoms_lapsed = xcoms.or(self.xcoms_lapsed);
        self
    }

    /// Until when a try's log was kept, where it is forgotten.
    pub(crate) fn log_kept_until(&self, attempt: &TryRow) -> Option<Timestamp> {
        Lapsed::of(self.logs_lapsed, attempt.queued_seq)
    }

    /// The same of the log that came with a report that was refused.
    pub(crate) fn refused_log_kept_until(&self, refused: &RefusedRow) -> Option<Timestamp> {
        Lapsed::of(self.logs_lapsed, refused.seq)
    }

    /// Until when what a copy of a task handed on was kept, where it is forgotten.
    pub(crate) fn xcoms_kept_until(&self, task: &TaskRow) -> Option<Timestamp> {
        let attempt = task.attempt.as_ref()?;
        Lapsed::of(self.xcoms_lapsed, attempt.queued_seq)
    }
}
