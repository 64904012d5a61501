//! The second opinion on one run and its tasks.
use dagbok_domain::{
    run::{Done, Run, TaskState},
    trigger_rule::{Standing, Tally, judge},
};
use dagbok_events::{
    CommandId, DagSpec, ExecutorId, Fact, FailureKind, MapIndex, PoolName, RefusedWhy, RuledOut,
    RunId, TaskId, TaskSpec, Timestamp, TryKey,
};

use super::Finding;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Created.
    Queued,
    /// Started at this time.
    Running(Timestamp),
    /// Over.
    Over,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Nothing was tried yet.
    Waiting,
    /// A try was offered.
    Queued(u16),
    /// A try was begun.
    Running(u16, ExecutorId),
    /// To be tried again: when the try before ended, and from when on.
    Again(Timestamp, Timestamp),
    /// Over.
    Done(Done),
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskModel {
    /// What the DAG says of it.
    pub spec: TaskSpec,
    /// Where it stands.
    pub stand: Stand,
    tries: u16,
    failures: u16,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunModel {
    /// Its id.
    pub run_id: RunId,
    /// How far it has come.
    pub stage: Stage,
    /// Its tasks.
    pub tasks: Vec<TaskModel>,
    /// The command that made it, where one did.
    pub made_by: Option<CommandId>,
    timeout: Option<dagbok_events::Micros>,
}

impl RunModel {
    pub(super) fn new(run_id: RunId, dag: DagSpec, made_by: Option<CommandId>) -> Self {
        let task = |spec| TaskModel { spec, stand: Stand::Waiting, tries: 0, failures: 0 };
        let tasks = dag.tasks.into_iter().map(task).collect();
        Self { run_id, stage: Stage::Queued, tasks, made_by, timeout: dag.dagrun_timeout }
    }

    fn place(&self, task_id: &TaskId) -> Option<usize> {
        self.tasks.iter().position(|task| task.spec.task_id == *task_id)
    }

    pub(super) fn is_running(&self, task_id: &TaskId) -> bool {
        let place = self.place(task_id);
        place.is_some_and(|ix| matches!(self.tasks[ix].stand, Stand::Running(..)))
    }

    pub(super) fn why_stale(&self, key: &TryKey, sender: &ExecutorId) -> Option<RefusedWhy> {
        let place = self.place(&key.task_id).filter(|_| key.map_index == MapIndex::UNMAPPED);
        let Some(ix) = place else { return Some(RefusedWhy::NoSuchTask) };
        match &self.tasks[ix].stand {
            Stand::Queued(n) if *n == key.try_number.get() => None,
            Stand::Running(n, holder) if *n == key.try_number.get() => {
                (holder != sender).then_some(RefusedWhy::HeldByAnother)
            }
            _ => Some(RefusedWhy::NotInFlight),
        }
    }

    /// Who runs the try that a fact is about.
    pub(super) fn holder_of(&self, fact: &Fact) -> Option<&ExecutorId> {
        let task_id = match fact {
            Fact::TryStarted(f) => &f.task_id,
            Fact::TrySucceeded(f) => &f.task_id,
            Fact::TryFailed(f) => &f.task_id,
            Fact::TrySkipped(f) => &f.task_id,
            Fact::TryReturned(f) => &f.task_id,
            Fact::TryLost(f) => &f.task_id,
            Fact::XComPushed(f) => &f.task_id,
            _ => return None,
        };
        match &self.tasks[self.place(task_id)?].stand {
            Stand::Running(_, holder) => Some(holder),
            _ => None,
        }
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = &ExecutorId> {
        self.tasks.iter().filter_map(|task| match &task.stand {
            Stand::Running(_, holder) => Some(holder),
            _ => None,
        })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.tasks.iter().filter(|task| task.is_in_flight()).count()
    }

    pub(super) fn slots_used(&self, pool: &PoolName) -> u64 {
        let of_pool = self.tasks.iter().filter(|it| it.spec.pool == *pool && it.is_in_flight());
        of_pool.map(|task| u64::from(task.spec.pool_slots)).sum()
    }

    fn verdict(&self, ix: usize) -> Standing {
        let spec = &self.tasks[ix].spec;
        let mut tally =
            Tally { total: u32::try_from(spec.upstream.len()).expect("few"), ..Tally::default() };
        for up in &spec.upstream {
            if let Stand::Done(done) = self.tasks[*up as usize].stand {
                tally.count(done, 1);
            }
        }
        judge(spec.trigger_rule, tally)
    }

    fn is_leaf(&self, ix: usize) -> bool {
        let ix = u32::try_from(ix).expect("few");
        !self.tasks.iter().any(|task| task.spec.upstream.contains(&ix))
    }

    fn all_done(&self) -> bool {
        self.tasks.iter().all(|task| matches!(task.stand, Stand::Done(_)))
    }

    /// Whether the fold of this run says the same of it.
    pub(super) fn agrees_with(&self, run: &Run) -> Finding {
        for (model, (no, task)) in self.tasks.iter().zip(run.instances()) {
            if model.spec != *run.spec(no) {
                return Err(format!(
                    "it runs version {} of {}",
                    run.version().number,
                    model.spec.task_id
                ));
            }
            let stands = match (&model.stand, &task.state) {
                (Stand::Waiting, TaskState::Waiting) => true,
                (Stand::Queued(n), TaskState::Queued { token, .. }) => *n == token.try_number.get(),
                (Stand::Running(n, holder), TaskState::Running { token, executor, .. }) => {
                    *n == token.try_number.get() && holder == executor
                }
                (Stand::Again(ended, at), TaskState::UpForRetry { since, due }) => {
                    (ended, at) == (since, due)
                }
                (Stand::Done(done), TaskState::Done(folded)) => done == folded,
                _ => false,
            };
            let counts = (model.tries, model.failures) == (task.tries, task.failures);
            if !stands || !counts {
                return Err(format!("{model:?} is folded as {task:?}"));
            }
        }
        Ok(())
    }

    /// Takes a fact in.
    pub(super) fn fold(&mut self, at: Timestamp, fact: &Fact) -> Finding {
        match fact {
            Fact::RunStarted(_) => self.begin(at),
            Fact::RunSucceeded(_) => self.end(true),
            Fact::RunFailed(_) => self.end(false),
            Fact::RunTimedOut(_) => {
                let due = match (self.stage, self.timeout) {
                    (Stage::Running(since), Some(timeout)) => since.plus(timeout),
                    _ => return Err("there is no timeout to run out".to_owned()),
                };
                if at < due { Err("the timeout has not run out".to_owned()) } else { self.stop() }
            }
            Fact::RunCancelled(_) => self.stop(),
            Fact::TaskQueued(f) => self.queue(at, &f.task_id, f.try_number.get()),
            Fact::TaskRuledOut(f) => self.rule_out(&f.task_id, f.why),
            Fact::TryStarted(f) => {
                let ix = self.flying(&f.task_id, f.try_number.get())?;
                if !matches!(self.tasks[ix].stand, Stand::Queued(_)) {
                    return Err("a try begins twice".to_owned());
                }
                self.tasks[ix].stand = Stand::Running(f.try_number.get(), f.executor.clone());
                Ok(())
            }
            Fact::XComPushed(f) => self.flying(&f.task_id, f.try_number.get()).map(drop),
            _ => self.end_try(at, fact),
        }
    }

    /// What began later than `to` by a clock that was ahead began then, and waits as long from there.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        if let Stage::Running(since) = &mut self.stage {
            *since = to.min(*since);
        }
        for task in &mut self.tasks {
            if let Stand::Again(since, due) = &mut task.stand
                && *since > to
            {
                (*since, *due) = (to, to.plus(due.since(*since)));
            }
        }
    }

    fn begin(&mut self, at: Timestamp) -> Finding {
        if self.stage != Stage::Queued {
            return Err("a run starts twice".to_owned());
        }
        self.stage = Stage::Running(at);
        Ok(())
    }

    fn stop(&mut self) -> Finding {
        if self.stage == Stage::Over {
            return Err("the run is over already".to_owned());
        }
        self.stage = Stage::Over;
        Ok(())
    }

    fn end(&mut self, success: bool) -> Finding {
        self.stop()?;
        if !self.all_done() {
            return Err("it ends before its tasks".to_owned());
        }
        let fails = |task: &TaskModel| matches!(task.stand, Stand::Done(done) if done.fails_run());
        let failed =
            self.tasks.iter().enumerate().any(|(ix, task)| self.is_leaf(ix) && fails(task));
        if success == failed {
            return Err(format!("it ends with success={success}, and failed leaves: {failed}"));
        }
        Ok(())
    }

    fn queue(&mut self, at: Timestamp, task_id: &TaskId, n: u16) -> Finding {
        let Some(ix) = self.place(task_id) else { return Err(format!("no task {task_id}")) };
        let verdict = self.verdict(ix);
        let task = &mut self.tasks[ix];
        match (&task.stand, self.stage) {
            (_, Stage::Queued | Stage::Over) => return Err("the run is not running".to_owned()),
            (Stand::Waiting, _) if verdict != Standing::Ready => {
                return Err(format!("{task_id} is queued while its rule says {verdict:?}"));
            }
            (Stand::Again(_, due), _) if at < *due => {
                return Err(format!("{task_id} is tried again before {due}"));
            }
            (Stand::Waiting | Stand::Again(..), _) => {}
            (stand, _) => return Err(format!("{task_id} is queued while {stand:?}")),
        }
        if n != task.tries + 1 {
            return Err(format!("try {n} of {task_id} follows try {}", task.tries));
        }
        (task.tries, task.stand) = (n, Stand::Queued(n));
        Ok(())
    }

    fn rule_out(&mut self, task_id: &TaskId, why: RuledOut) -> Finding {
        let Some(ix) = self.place(task_id) else { return Err(format!("no task {task_id}")) };
        let over = self.stage == Stage::Over;
        match &self.tasks[ix].stand {
            Stand::Waiting if over || self.verdict(ix) == Standing::Never(why) => {}
            Stand::Again(..) if over => {}
            stand => return Err(format!("{task_id} is ruled out as {why:?} while {stand:?}")),
        }
        self.tasks[ix].stand = Stand::Done(Done::RuledOut(why));
        Ok(())
    }

    /// The task, if this try of it is in flight.
    fn flying(&self, task_id: &TaskId, n: u16) -> Result<usize, String> {
        let Some(ix) = self.place(task_id) else { return Err(format!("no task {task_id}")) };
        match &self.tasks[ix].stand {
            Stand::Queued(now) | Stand::Running(now, _) if *now == n => Ok(ix),
            stand => Err(format!("try {n} of {task_id} is not in flight: {stand:?}")),
        }
    }

    fn end_try(&mut self, at: Timestamp, fact: &Fact) -> Finding {
        let again = |due: Option<Timestamp>| {
            due.map_or(Stand::Done(Done::Failed), |due| Stand::Again(at, due))
        };
        let (task_id, n, stand) = match fact {
            Fact::TrySucceeded(f) => (&f.task_id, f.try_number, Stand::Done(Done::Success)),
            Fact::TrySkipped(f) => {
                (&f.task_id, f.try_number, Stand::Done(Done::RuledOut(RuledOut::Skipped)))
            }
            Fact::TryFailed(f) => (&f.task_id, f.try_number, again(f.retry_at)),
            Fact::TryLost(f) => (&f.task_id, f.try_number, again(f.retry_at)),
            Fact::TryReturned(f) => (&f.task_id, f.try_number, Stand::Again(at, at)),
            Fact::TryCancelled(f) => (&f.task_id, f.try_number, Stand::Done(Done::Failed)),
            other => return Err(format!("{other:?} is none of a run's facts")),
        };
        let ix = self.flying(task_id, n.get())?;
        let over = self.stage == Stage::Over;
        if over != matches!(fact, Fact::TryCancelled(_)) {
            return Err("a try ends as it can't with its run".to_owned());
        }
        let task = &mut self.tasks[ix];
        if let Fact::TryFailed(f) = fact
            && !matches!(f.failure.kind, FailureKind::CouldNotStart | FailureKind::Executor)
        {
            let left = task.failures < task.spec.retries && f.failure.retryable;
            if left != f.retry_at.is_some() {
                return Err(format!("after {} failures it says {:?}", task.failures, f.retry_at));
            }
            task.failures += 1;
        }
        task.stand = stand;
        Ok(())
    }

    pub(super) fn check_consequences(&self) -> Finding {
        if self.stage == Stage::Over {
            let open = self.tasks.iter().find(|task| !matches!(task.stand, Stand::Done(_)));
            return match open {
                Some(task) => Err(format!("the run is over and {} is not", task.spec.task_id)),
                None => Ok(()),
            };
        }
        for (ix, task) in self.tasks.iter().enumerate() {
            if task.stand == Stand::Waiting
                && let Standing::Never(why) = self.verdict(ix)
            {
                return Err(format!("{} can never run ({why:?})", task.spec.task_id));
            }
        }
        if matches!(self.stage, Stage::Running(_)) && self.all_done() {
            return Err("every task is done and the run goes on".to_owned());
        }
        Ok(())
    }
}

impl TaskModel {
    const fn is_in_flight(&self) -> bool {
        matches!(self.stand, Stand::Queued(_) | Stand::Running(..))
    }
}
