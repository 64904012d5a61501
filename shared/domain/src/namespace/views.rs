//! Questions that the scheduler asks of its state to carry decisions out. Read only.
use dagbok_events::{Actor, DagId, ExecutorId, MapIndex, Payload, RunKey, TaskId, TryKey};
use dagbok_protocol::{RunContext, WorkItem};

use super::{Dag, Namespace, RunNo};
use crate::{
    graph::Ix,
    run::{Phase, Run, TaskState},
};

/// A try offered to the executors and not known to have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedTry {
    run: RunNo,
    task: Ix,
}

impl Namespace {
    /// A DAG by name.
    pub fn dag(&self, dag_id: &DagId) -> Option<&Dag> {
        self.dags.get(dag_id)
    }

    /// Every DAG ever registered.
    pub fn dags(&self) -> impl Iterator<Item = (&DagId, &Dag)> {
        self.dags.iter()
    }

    /// Runs that are not over, oldest first.
    pub fn active_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// A run that is not over.
    pub fn active_run(&self, key: &RunKey) -> Option<&Run> {
        self.run(key)
    }

    /// How a run ended, if it has.
    pub fn ending(&self, key: &RunKey) -> Option<crate::run::Ending> {
        self.past_ending(key)
    }

    /// Tries in flight over all runs.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Slots used and there, of a pool.
    pub fn pool_use(&self, pool: &str) -> Option<(u32, u32)> {
        self.pools.get(pool).map(|pool| (u32::try_from(pool.used).unwrap_or(u32::MAX), pool.slots))
    }

    /// Executors that joined, or that a try names, and have not left.
    pub fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.executors.keys()
    }

    /// Whether this try is in flight, as far as the log knows.
    pub fn is_in_flight(&self, key: &TryKey) -> bool {
        let run_key = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
        let in_flight = || {
            let run = self.run(&run_key)?;
            run.task(run.find(&key.task_id, key.map_index)?).state.in_flight()
        };
        in_flight() == Some(key.try_number)
    }

    /// Whether this try is known to be over. Never true of one that is yet to be offered, so that a fold
    /// that is behind the log does not take a new try for an old one.
    pub fn is_over(&self, key: &TryKey) -> bool {
        let run_key = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
        let Some(run) = self.run(&run_key) else { return self.past_ending(&run_key).is_some() };
        let task = run.find(&key.task_id, key.map_index).map(|ix| run.task(ix));
        task.is_some_and(|task| {
            let known =
                key.try_number.get() <= task.tries || matches!(task.state, TaskState::Done(_));
            known && task.state.in_flight() != Some(key.try_number)
        })
    }

    /// The tries that an executor runs, as far as the log knows.
    pub fn held_by(&self, executor: &ExecutorId) -> Vec<TryKey> {
        let Some(executor) = self.executors.get(executor) else { return Vec::new() };
        let keys = executor.holds.iter().filter_map(|(number, ix)| {
            let run = self.runs.get(number)?;
            Some(TryKey {
                dag_id: run.key().dag_id.clone(),
                run_id: run.key().run_id.clone(),
                task_id: run.version().task(*ix).task_id.clone(),
                map_index: MapIndex::UNMAPPED,
                try_number: run.task(*ix).state.in_flight()?,
            })
        });
        keys.collect()
    }

    /// Every try that must be on the work queue or in an executor's hands unseen.
    pub fn queued_tries(&self) -> Vec<QueuedTry> {
        let mut found = Vec::new();
        for (number, run) in &self.runs {
            let queued = run
                .in_flight()
                .filter(|ix| matches!(run.task(*ix).state, TaskState::Queued { .. }));
            found.extend(queued.map(|ix| QueuedTry { run: *number, task: ix }));
        }
        found
    }

    /// The work item of the task's try in flight, by name.
    pub fn work_item_of(&self, key: &RunKey, task_id: &TaskId, map: MapIndex) -> Option<WorkItem> {
        let number = *self.numbers.get(key)?;
        let task = self.runs[&number].find(task_id, map)?;
        self.work_item(QueuedTry { run: number, task })
    }

    /// The work item of a try that is offered; `None` once it is not any more.
    pub fn work_item(&self, queued: QueuedTry) -> Option<WorkItem> {
        let run = self.runs.get(&queued.run)?;
        let task = run.task(queued.task);
        let TaskState::Queued { try_number, at, seq, hold } = &task.state else { return None };
        let version = run.version();
        let spec = version.task(queued.task);
        let start_date = match run.phase() {
            Phase::Running { since } => Some(since),
            Phase::Queued | Phase::Over(_) => None,
        };
        let meta = run.meta();
        Some(WorkItem {
            key: TryKey {
                dag_id: run.key().dag_id.clone(),
                run_id: run.key().run_id.clone(),
                task_id: spec.task_id.clone(),
                map_index: MapIndex::UNMAPPED,
                try_number: *try_number,
            },
            queued_seq: *seq,
            queued_at: *at,
            bundle: meta.bundle.clone(),
            file: version.spec.source.file.clone(),
            pool: hold.pool.clone(),
            queue: hold.queue.clone(),
            max_tries: spec.retries,
            will_retry: task.failures < spec.retries,
            execution_timeout: spec.execution_timeout,
            run: RunContext {
                run_type: meta.run_type,
                logical_date: meta.logical_date,
                data_interval: meta.data_interval,
                run_after: meta.run_after,
                start_date,
                conf: meta.conf.clone(),
                triggered_by: meta.triggered_by.clone(),
                note: meta.note.clone(),
            },
            traceparent: meta.traceparent.clone(),
            ask: false,
        })
    }

    /// The values that a run's tasks handed on: task, map index, key, value.
    pub fn xcoms<'a>(
        &'a self,
        key: &RunKey,
    ) -> impl Iterator<Item = (&'a TaskId, MapIndex, &'a str, &'a Payload)> {
        self.run(key).into_iter().flat_map(|run| {
            run.xcoms().iter().map(|((ix, map, key), value)| {
                (&run.version().task(*ix).task_id, MapIndex(*map), key.as_str(), value)
            })
        })
    }
}

/// Who a run says it was triggered by: people and programs, not the parts of the system.
pub(super) fn person(by: &Actor) -> Option<String> {
    match by {
        Actor::User(name) | Actor::Token(name) => Some(name.clone()),
        Actor::Scheduler | Actor::Schedule | Actor::Processor | Actor::Executor(_) => None,
    }
}
