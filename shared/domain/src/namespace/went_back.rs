//! What a clock that went back changes in the fold.
use std::sync::Arc;

use dagbok_events::Timestamp;

use super::{Namespace, RunNo};

impl Namespace {
    /// What the clock as it was had put off is due by the clock as it is.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        self.clock = to;
        self.index.ripe_until = Some(to);
        self.queued.clock_back(to);
        self.executors.values_mut().for_each(|it| it.freed_at = it.freed_at.min(to));
        let active: Vec<RunNo> = self.runs.keys().copied().collect();
        for number in active {
            let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) else { continue };
            let (key, before) = (run.key().clone(), run.meta().run_after);
            let changes = run.clock_back(to);
            run.ripen_until(to);
            let after = run.meta().run_after;
            for change in changes {
                self.keep_count(number, &key.dag_id, change);
            }
            // Last, since what is due by now is ripe by then.
            if let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) {
                self.index.put_run(number, run, &mut self.turns);
            }
            if let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut)
                && dag.queued.remove(&(before, number))
            {
                dag.queued.insert((after, number));
            }
            self.index_dag(&key.dag_id);
        }
    }
}
