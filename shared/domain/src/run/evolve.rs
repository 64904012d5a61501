//! Folding facts into a run. Total: history is never refused, and what names an unknown task is
//! passed over.
use dagbok_events::{
    ExecutorId, Fact, MapIndex, RuledOut, TaskId, TaskQueued, Timestamp, TryNumber, TryStarted,
    XComPushed,
};

use super::{Done, Ending, Hold, Phase, Run, TaskState};
use crate::{graph::Ix, retry};

/// What a fact changed for whoever keeps count over all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Slots taken from now on.
    pub taken: Option<Hold>,
    /// Slots free again.
    pub freed: Option<Hold>,
    /// A try that went from one executor's hands to another's, or to nobody's.
    pub handed: Option<Handed>,
}

/// Who held a task's try, and who holds one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Whose try.
    pub task: Ix,
    /// Who held it.
    pub from: Option<ExecutorId>,
    /// Who holds it now.
    pub to: Option<ExecutorId>,
}

impl Run {
    /// Folds one fact of the record `seq`, decided `at`.
    #[deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]
    pub fn evolve(&mut self, seq: u64, at: Timestamp, fact: &Fact) -> Change {
        match fact {
            Fact::RunStarted(_) => self.begin(at),
            Fact::RunSucceeded(_) => self.end_as(Ending::Success),
            Fact::RunFailed(_) | Fact::RunTimedOut(_) | Fact::RunCancelled(_) => {
                self.end_as(Ending::Failed)
            }
            Fact::TaskQueued(f) => self.queue(seq, at, f),
            Fact::TaskRuledOut(f) => {
                self.finish(self.find(&f.task_id, f.map_index), Done::RuledOut(f.why))
            }
            Fact::TryStarted(f) => self.start(f),
            Fact::TrySucceeded(f) => {
                self.finish(self.current(&f.task_id, f.map_index, f.try_number), Done::Success)
            }
            Fact::TrySkipped(f) => {
                let done = Done::RuledOut(RuledOut::Skipped);
                self.finish(self.current(&f.task_id, f.map_index, f.try_number), done)
            }
            Fact::TryFailed(f) => {
                let ix = self.current(&f.task_id, f.map_index, f.try_number);
                self.fail(ix, at, retry::is_loss(&f.failure), f.retry_at)
            }
            Fact::TryLost(f) => {
                let ix = self.current(&f.task_id, f.map_index, f.try_number);
                self.fail(ix, at, true, f.retry_at)
            }
            Fact::TryReturned(f) => {
                let ix = self.current(&f.task_id, f.map_index, f.try_number);
                self.set_if(ix, TaskState::UpForRetry { since: at, due: at })
            }
            Fact::TryCancelled(f) => {
                self.finish(self.current(&f.task_id, f.map_index, f.try_number), Done::Failed)
            }
            Fact::XComPushed(f) => self.keep_xcom(f),
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
            | Fact::ExecutorLeft(_) => Change::default(),
        }
    }

    /// What a run that is over still held, where its history does not say how each of its tries ended.
    pub fn left_behind(&self) -> impl Iterator<Item = Change> {
        self.in_flight().map(|task| {
            let state = &self.task(task).state;
            let from = state.executor().cloned();
            let handed = from.is_some().then_some(Handed { task, from, to: None });
            Change { taken: None, freed: state.hold().cloned(), handed }
        })
    }

    fn begin(&mut self, at: Timestamp) -> Change {
        if self.phase == Phase::Queued {
            self.phase = Phase::Running { since: at };
        }
        Change::default()
    }

    fn end_as(&mut self, ending: Ending) -> Change {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(ending);
        }
        Change::default()
    }

    fn queue(&mut self, seq: u64, at: Timestamp, f: &TaskQueued) -> Change {
        let ix = self.find(&f.task_id, f.map_index);
        let Some(ix) = ix.filter(|ix| !matches!(self.task(*ix).state, TaskState::Done(_))) else {
            return Change::default();
        };
        let hold = Hold { pool: f.pool.clone(), slots: f.pool_slots, queue: f.queue.clone() };
        let task = &mut self.tasks[ix as usize];
        task.tries = task.tries.max(f.try_number.get());
        self.forget_xcoms(ix);
        self.set(ix, TaskState::Queued { try_number: f.try_number, at, seq, hold })
    }

    fn start(&mut self, f: &TryStarted) -> Change {
        let Some(ix) = self.current(&f.task_id, f.map_index, f.try_number) else {
            return Change::default();
        };
        let hold = self.task(ix).state.hold().cloned().expect("what is in flight takes up slots");
        let executor = f.executor.clone();
        self.set(ix, TaskState::Running { try_number: f.try_number, executor, hold })
    }

    /// Counts a try that ended badly: as a loss, or against the user's retries.
    fn fail(
        &mut self,
        ix: Option<Ix>,
        at: Timestamp,
        is_loss: bool,
        retry_at: Option<Timestamp>,
    ) -> Change {
        let Some(ix) = ix else { return Change::default() };
        let task = &mut self.tasks[ix as usize];
        let count = if is_loss { &mut task.losses } else { &mut task.failures };
        *count = count.saturating_add(1);
        self.set(ix, retry_or_failed(at, retry_at))
    }

    fn keep_xcom(&mut self, f: &XComPushed) -> Change {
        if let Some(ix) = self.find(&f.task_id, f.map_index) {
            let key = (ix, f.map_index.0, f.key.clone());
            match &f.value {
                Some(value) => self.xcoms.insert(key, value.clone()),
                None => self.xcoms.remove(&key),
            };
        }
        Change::default()
    }

    /// The task, if that try of it is in flight.
    fn current(&self, task_id: &TaskId, map: MapIndex, n: TryNumber) -> Option<Ix> {
        self.find(task_id, map).filter(|ix| self.task(*ix).state.in_flight() == Some(n))
    }

    fn finish(&mut self, ix: Option<Ix>, done: Done) -> Change {
        self.set_if(ix, TaskState::Done(done))
    }

    fn set_if(&mut self, ix: Option<Ix>, next: TaskState) -> Change {
        ix.map(|ix| self.set(ix, next)).unwrap_or_default()
    }

    /// Moves a task and keeps every index in step.
    pub(super) fn set(&mut self, ix: Ix, next: TaskState) -> Change {
        if matches!(self.task(ix).state, TaskState::Done(_)) {
            return Change::default();
        }
        self.unindex_ready(ix);
        let (taken, to) = (next.hold().cloned(), next.executor().cloned());
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
        let from = last.executor().cloned();
        let handed = (from != to).then_some(Handed { task: ix, from, to });
        Change { taken, freed: last.hold().cloned(), handed }
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

const fn retry_or_failed(since: Timestamp, retry_at: Option<Timestamp>) -> TaskState {
    match retry_at {
        Some(due) => TaskState::UpForRetry { since, due },
        None => TaskState::Done(Done::Failed),
    }
}

const fn due_of(state: &TaskState) -> Option<Timestamp> {
    match state {
        TaskState::UpForRetry { due, .. } => Some(*due),
        _ => None,
    }
}

const fn done_of(state: &TaskState) -> Option<Done> {
    match state {
        TaskState::Done(done) => Some(*done),
        _ => None,
    }
}
