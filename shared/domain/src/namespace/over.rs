//! What becomes of a run that is over: all of it is forgotten but how it ended, and what others wait for of it.
use std::sync::Arc;

use dagbok_events::{Fact, Record, RunKey, Timestamp};

use super::{Namespace, RunNo, run_id::dated};
use crate::run::{Ending, ending_of};

impl Namespace {
    /// Somebody changed what is said of a run that is over.
    pub(super) fn change_past(&mut self, key: &RunKey, record: &Record) {
        for fact in &record.facts {
            match fact {
                Fact::RunMarked(f) if self.past_ending(key).is_some() => {
                    self.forget_revived(key);
                    let ending = ending_of(f.state);
                    let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else {
                        return;
                    };
                    dag.past.insert(&key.run_id, ending);
                    dag.newest.mark(&key.run_id, ending);
                }
                Fact::RunNoted(_) | Fact::TaskNoted(_) => drop(self.forget_revived(key)),
                _ => {}
            }
        }
    }

    /// Forgets all of a run that is over but how it ended, and the DAG's versions that only it used.
    pub(super) fn let_go(&mut self, number: RunNo, key: &RunKey, ending: Ending, at: Timestamp) {
        self.numbers.remove(key);
        let Some(run) = self.runs.remove(&number) else { return };
        self.index.remove_run(number, &run, &mut self.turns);
        let version = run.version().number;
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        if !dag.has_room() {
            dag.full_until = Some(at);
        }
        dag.active.remove(&number);
        let forgotten = dag.remember_end(&run);
        dag.remember_date(&run);
        dag.kept.note(&run);
        dag.past.insert(&key.run_id, ending);
        dag.release_version(version);
        // An id may tell a date that the run had not, and count as the run before in the era of those that have it.
        let told = dated(&key.run_id).filter(|_| run.meta().logical_date.is_none());
        for date in forgotten.into_iter().chain(told.map(|(_, date)| date)) {
            self.look_back_after(&key.dag_id, date);
        }
        self.look_back_further(&key.dag_id);
    }
}
