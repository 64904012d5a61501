//! Folding facts into a run. Total: history is never refused, and what names an unknown task is
//! passed over.
use dagbok_events::{Fact, Fault, MapIndex, TaskId, Timestamp, TryNumber};

use super::{Done, Ending, Hold, Phase, Run, TaskState};
use crate::graph::Ix;

/// What a fact changed for whoever keeps count over all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Slots taken from now on.
    pub taken: Option<Hold>,
    /// Slots free again.
    pub freed: Option<Hold>,
}

impl Run {
    /// Folds one fact of the record `seq`, decided `at`.
    #[deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]
    pub fn evolve(&mut self, seq: u64, at: Timestamp, fact: &Fact) -> Change {
        match fact {
            Fact::RunStarted(_) => self.phase = Phase::Running { since: at },
            Fact::RunSucceeded(_) => self.phase = Phase::Over(Ending::Success),
            Fact::RunFailed(_) | Fact::RunTimedOut(_) | Fact::RunCancelled(_) => {
                self.phase = Phase::Over(Ending::Failed);
            }
            Fact::TaskQueued(f) => {
                let hold =
                    Hold { pool: f.pool.clone(), slots: f.pool_slots, queue: f.queue.clone() };
                let state = TaskState::Queued { try_number: f.try_number, at, seq, hold };
                if let Some(ix) = self.find(&f.task_id, f.map_index) {
                    self.tasks[ix as usize].tries = f.try_number.get();
                    self.forget_xcoms(ix);
                    return self.set(ix, state);
                }
            }
            Fact::TaskRuledOut(f) => {
                return self.finish(&f.task_id, f.map_index, None, Done::RuledOut(f.why));
            }
            Fact::TryStarted(f) => {
                if let Some(ix) = self.current(&f.task_id, f.map_index, f.try_number)
                    && let Some(hold) = self.task(ix).state.hold().cloned()
                {
                    let executor = f.executor.clone();
                    return self
                        .set(ix, TaskState::Running { try_number: f.try_number, executor, hold });
                }
            }
            Fact::TrySucceeded(f) => {
                return self.finish(&f.task_id, f.map_index, Some(f.try_number), Done::Success);
            }
            Fact::TrySkipped(f) => {
                let done = Done::RuledOut(dagbok_events::RuledOut::Skipped);
                return self.finish(&f.task_id, f.map_index, Some(f.try_number), done);
            }
            Fact::TryFailed(f) => {
                if let Some(ix) = self.current(&f.task_id, f.map_index, f.try_number) {
                    let task = &mut self.tasks[ix as usize];
                    match f.failure.fault {
                        Fault::System => task.losses = task.losses.saturating_add(1),
                        Fault::User | Fault::Data => task.failures = task.failures.saturating_add(1),
                    }
                    return self.set(ix, retry_or_failed(f.retry_at));
                }
            }
            Fact::TryLost(f) => {
                if let Some(ix) = self.current(&f.task_id, f.map_index, f.try_number) {
                    let task = &mut self.tasks[ix as usize];
                    task.losses = task.losses.saturating_add(1);
                    return self.set(ix, retry_or_failed(f.retry_at));
                }
            }
            Fact::TryReturned(f) => {
                if let Some(ix) = self.current(&f.task_id, f.map_index, f.try_number) {
                    return self.set(ix, TaskState::UpForRetry { due: at });
                }
            }
            Fact::TryCancelled(f) => {
                return self.finish(&f.task_id, f.map_index, Some(f.try_number), Done::Failed);
            }
            Fact::XComPushed(f) => {
                if let Some(ix) = self.find(&f.task_id, f.map_index) {
                    let key = (ix, f.map_index.0, f.key.clone());
                    match &f.value {
                        Some(value) => self.xcoms.insert(key, value.clone()),
                        None => self.xcoms.remove(&key),
                    };
                }
            }
            Fact::DagRegistered(_)
            | Fact::BundlePublished(_)
            | Fact::DagImportFailed(_)
            | Fact::DagImportRecovered(_)
            | Fact::DagDisappeared(_)
            | Fact::DagPaused(_)
            | Fact::DagUnpaused(_)
            | Fact::RunExpected(_)
            | Fact::RunMissed(_)
            | Fact::RunCreated(_)
            | Fact::ReportRefused(_)
            | Fact::PoolSet(_)
            | Fact::LimitsSet(_)
            | Fact::ExecutorJoined(_)
            | Fact::ExecutorLeft(_) => {}
        }
        Change::default()
    }

    /// The task, if that try of it is in flight.
    fn current(&self, task_id: &TaskId, map: MapIndex, n: TryNumber) -> Option<Ix> {
        self.find(task_id, map).filter(|ix| self.task(*ix).state.in_flight() == Some(n))
    }

    fn finish(
        &mut self,
        task_id: &TaskId,
        map: MapIndex,
        n: Option<TryNumber>,
        done: Done,
    ) -> Change {
        let ix = match n {
            Some(n) => self.current(task_id, map, n),
            None => self.find(task_id, map),
        };
        ix.map(|ix| self.set(ix, TaskState::Done(done))).unwrap_or_default()
    }

    /// Moves a task and keeps every index in step.
    pub(super) fn set(&mut self, ix: Ix, next: TaskState) -> Change {
        if matches!(self.task(ix).state, TaskState::Done(_)) {
            return Change::default();
        }
        self.unindex_ready(ix);
        let taken = next.hold().cloned();
        let (in_flight, due, done) = (next.in_flight(), due_of(&next), done_of(&next));
        let last = std::mem::replace(&mut self.tasks[ix as usize].state, next);
        if let Some(due) = due_of(&last) {
            self.retries.remove(&(due, ix));
        }
        if let Some(due) = due {
            self.retries.insert((due, ix));
        }
        if in_flight.is_some() {
            self.in_flight.insert(ix);
        } else {
            self.in_flight.remove(&ix);
        }
        if let Some(done) = done {
            self.settle(ix, done);
        }
        Change { taken, freed: last.hold().cloned() }
    }

    fn settle(&mut self, ix: Ix, done: Done) {
        self.open -= 1;
        let version = std::sync::Arc::clone(&self.version);
        let downstream = version.downstream(ix);
        self.leaf_failed |= downstream.is_empty() && done.fails_run();
        for &down in downstream {
            self.tasks[down as usize].upstream.count(done);
            self.index_ready(down);
        }
    }

    fn forget_xcoms(&mut self, ix: Ix) {
        let range = (ix, i32::MIN, String::new())..(ix + 1, i32::MIN, String::new());
        let keys: Vec<_> = self.xcoms.range(range).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.xcoms.remove(&key);
        }
    }
}

const fn retry_or_failed(retry_at: Option<Timestamp>) -> TaskState {
    match retry_at {
        Some(due) => TaskState::UpForRetry { due },
        None => TaskState::Done(Done::Failed),
    }
}

const fn due_of(state: &TaskState) -> Option<Timestamp> {
    match state {
        TaskState::UpForRetry { due } => Some(*due),
        _ => None,
    }
}

const fn done_of(state: &TaskState) -> Option<Done> {
    match state {
        TaskState::Done(done) => Some(*done),
        _ => None,
    }
}
