//! Questions that the scheduler asks of its state to carry decisions out. Read only.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{
    Actor, DagId, ExecutorId, Interval, LimitsSet, MapIndex, Micros, PoolName, RunKey, TaskId,
    Timestamp, TryKey, folder_of, path_in_folder,
};
use dagbok_protocol::{RunContext, WorkItem, names::DAG_CALLBACK};

use super::{Dag, Namespace, RunNo, pool::Pool};
use crate::{
    graph::Version,
    run::{InstanceNo, LineQueue, Phase, Run, TaskState},
    timetable,
};

/// How many tasks wait for nothing but room in one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingForRoom {
    /// All of them: the pool, their DAG, their own limits or all slots together may be full.
    pub ready: u32,
    /// Those for which the pool has no slots.
    pub starving: u32,
}

/// A try offered to the executors and not known to have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedTry {
    pub(super) run: RunNo,
    pub(super) instance: InstanceNo,
}

impl Namespace {
    /// A DAG by name.
    pub fn dag(&self, dag_id: &DagId) -> Option<&Dag> {
        self.dags.get(dag_id).map(Arc::as_ref)
    }

    /// Every DAG ever registered.
    pub fn dags(&self) -> impl Iterator<Item = (&DagId, &Dag)> {
        self.dags.iter().map(|(dag_id, dag)| (dag_id, dag.as_ref()))
    }

    /// Runs that are not over, oldest first.
    pub fn active_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(Arc::as_ref)
    }

    /// A run that is not over.
    pub fn active_run(&self, key: &RunKey) -> Option<&Run> {
        self.run(key)
    }

    /// How a run ended, if it has.
    pub fn ending(&self, key: &RunKey) -> Option<crate::run::Ending> {
        self.past_ending(key)
    }

    /// The limits that hold now.
    pub const fn limits(&self) -> LimitsSet {
        self.limits
    }

    /// Tries in flight over all runs.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Slots used and there, of a pool.
    pub fn pool_use(&self, pool: &str) -> Option<(u32, u32)> {
        self.pools
            .get(pool)
            .map(|pool| (u32::try_from(pool.used).unwrap_or(u32::MAX), pool.slots()))
    }

    /// Tasks that wait for nothing but room, by pool.
    pub fn waiting_for_room(&self) -> BTreeMap<&PoolName, WaitingForRoom> {
        let mut waiting: BTreeMap<_, WaitingForRoom> = BTreeMap::new();
        for (pool, slots, lines) in self.index.lanes.ready() {
            let ready: u32 = lines
                .filter_map(|(number, line)| self.runs.get(&number)?.waiting_in(line))
                .map(LineQueue::ready_count)
                .sum();
            let free = self.pools.get(pool).and_then(Pool::free);
            let of_pool = waiting.entry(pool).or_default();
            of_pool.ready += ready;
            if free.is_none_or(|free| free < u64::from(slots)) {
                of_pool.starving += ready;
            }
        }
        waiting
    }

    /// Executors that joined, or that a try names, and have not left.
    pub fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.executors.keys()
    }

    /// Whether this try is in flight, as far as the log knows.
    pub fn is_in_flight(&self, key: &TryKey) -> bool {
        if key.task_id.as_str() == DAG_CALLBACK {
            return self.is_callback_in_flight(key);
        }
        let in_flight = || {
            let run = self.run(&run_of(key))?;
            run.instance(run.find(&key.task_id, key.map_index)?).state.in_flight()
        };
        in_flight().is_some_and(|token| (token.try_number, token.leg) == (key.try_number, key.leg))
    }

    /// Whether this try is known to be over. Never true of one that is yet to be offered, so that a fold
    /// that is behind the log does not take a new try for an old one.
    pub fn is_over(&self, key: &TryKey) -> bool {
        if key.task_id.as_str() == DAG_CALLBACK {
            return self.is_callback_over(key);
        }
        let run_key = run_of(key);
        let Some(run) = self.run(&run_key) else { return self.past_ending(&run_key).is_some() };
        let Some(no) = run.find(&key.task_id, key.map_index) else {
            return run.was_tried(&key.task_id, key.try_number.get());
        };
        let instance = run.instance(no);
        let named = (key.try_number, key.leg);
        match &instance.state {
            TaskState::Queued { token, .. }
            | TaskState::Running { token, .. }
            | TaskState::UpForReschedule { token, .. }
            | TaskState::Deferred { token, .. } => named < (token.try_number, token.leg),
            TaskState::Done(_) => true,
            TaskState::Waiting | TaskState::UpForRetry { .. } => {
                key.try_number.get() <= instance.tries
            }
        }
    }

    /// The tries that an executor runs, as far as the log knows.
    pub fn held_by(&self, executor: &ExecutorId) -> Vec<TryKey> {
        let callbacks = self.callbacks_of(executor);
        let Some(executor) = self.executors.get(executor) else { return Vec::new() };
        let keys = executor.holds.iter().filter_map(|(number, no)| {
            let run = self.runs.get(number)?;
            let token = run.instance(*no).state.in_flight()?;
            Some(try_key(run, *no, token))
        });
        keys.chain(callbacks).collect()
    }

    /// Every try that must be on the work queue or in an executor's hands unseen.
    pub fn queued_tries(&self) -> Vec<QueuedTry> {
        let mut found = Vec::new();
        for (number, run) in &self.runs {
            let queued = run
                .in_flight()
                .filter(|no| matches!(run.instance(*no).state, TaskState::Queued { .. }));
            found.extend(queued.map(|no| QueuedTry { run: *number, instance: no }));
        }
        found
    }

    /// The work item of the task's try in flight, by name.
    pub fn work_item_of(&self, key: &RunKey, task_id: &TaskId, map: MapIndex) -> Option<WorkItem> {
        let number = *self.numbers.get(key)?;
        let instance = self.runs[&number].find(task_id, map)?;
        self.work_item(QueuedTry { run: number, instance })
    }

    /// The version by which the run after another is found: where its timetable is written in Python, that which has
    /// the newest answer.
    fn newest_answer<'a>(&'a self, run: &'a Run) -> &'a Version {
        let own: &Version = run.version();
        let current = self.dags.get(&run.key().dag_id).map(|dag| &*dag.current);
        current
            .filter(|current| own.foretold().is_some() && current.foretold().is_some())
            .unwrap_or(own)
    }

    /// The work item of a try that is offered, be it to triggerers; `None` once it is not any more.
    pub fn work_item(&self, queued: QueuedTry) -> Option<WorkItem> {
        let run = self.runs.get(&queued.run)?;
        let instance = run.instance(queued.instance);
        let (token, at, seq, hold) = match &instance.state {
            TaskState::Queued { token, at, seq, hold } => (token, at, seq, hold),
            TaskState::Deferred { token, since, seq, hold, .. } => (token, since, seq, hold),
            _ => return None,
        };
        let spec = run.spec(queued.instance);
        let meta = run.meta();
        // Tries that a clearing made up for do not count against the retries.
        let forgiven = instance.tries.saturating_sub(instance.failures + instance.losses + 1);
        let item = WorkItem {
            key: try_key(run, queued.instance, *token),
            queued_seq: *seq,
            queued_at: *at,
            bundle: meta.bundle.clone(),
            file: path_in_folder(&run.version().spec.source.file).to_owned(),
            folder: folder_of(&run.version().spec.source.file).map(str::to_owned),
            pool: hold.pool.clone(),
            queue: hold.queue.clone(),
            max_tries: spec.retries.saturating_add(forgiven),
            will_retry: instance.failures < spec.retries,
            first_started_at: instance.began,
            execution_timeout: spec.execution_timeout,
            next_interval: spec
                .wants_next_interval
                .then(|| next_interval(self.newest_answer(run), run))
                .flatten(),
            ask_after: {
                let timeout = self.limits.task_queued_timeout.0;
                (timeout > 0).then_some(Micros(timeout / 2))
            },
            run: context_of(run),
            traceparent: meta.traceparent.clone(),
            resume: instance.deferral.as_ref().and_then(|it| it.resume()),
            trigger: None,
            watches: false,
            dag_callback: None,
            resources: spec.resources.clone(),
            limits: spec.limits,
            run_as_user: spec.run_as_user.clone(),
            pod_override: run.version().spec.pod_override_of(spec).map(str::to_owned),
            checkpoint: {
                let kept = run.checkpoint_of(&spec.task_id, instance.map_index);
                kept.map(|kept| Box::new(kept.clone()))
            },
            lineage: false,
            ask: false,
        };
        let is_trigger = instance.state.deferred().is_some();
        if is_trigger && instance.deferral.as_ref().is_some_and(|it| it.ask.is_some()) {
            // A person answers; there is nothing to run.
            return None;
        }
        Some(if is_trigger { Self::trigger_item(item, run, queued.instance) } else { item })
    }

    /// The values that a run's tasks handed on: whose, under which name, and the record that has them.
    pub fn xcoms<'a>(
        &'a self,
        key: &RunKey,
    ) -> impl Iterator<Item = (&'a TaskId, MapIndex, &'a str, u64)> {
        self.run(key).into_iter().flat_map(|run| {
            run.xcoms()
                .map(|(no, key, seq)| (&run.spec(no).task_id, run.instance(no).map_index, key, seq))
        })
    }

    /// Until when a value of the run was kept that this record has, where it is forgotten.
    pub fn kept_until(&self, key: &RunKey, seq: u64) -> Option<Timestamp> {
        self.run(key)?.kept_until(seq)
    }

    /// The names of the values that one task handed on.
    pub fn xcoms_of<'a>(
        &'a self,
        key: &RunKey,
        task_id: &TaskId,
        map: MapIndex,
    ) -> impl Iterator<Item = &'a str> {
        let found = self.run(key).and_then(|run| Some((run, run.find(task_id, map)?)));
        found.into_iter().flat_map(|(run, no)| run.xcoms_of(no))
    }

    /// Of a mapped task that is done, the copies that returned something, in order; `None` of any other.
    pub fn returned_by<'a>(
        &'a self,
        key: &RunKey,
        task_id: &TaskId,
    ) -> Option<impl Iterator<Item = MapIndex> + 'a> {
        self.run(key)?.returned_by(task_id)
    }

    /// The tasks of a run that have copies.
    pub fn expanded_tasks<'a>(&'a self, key: &RunKey) -> impl Iterator<Item = &'a TaskId> {
        self.run(key).into_iter().flat_map(Run::expanded_tasks)
    }
}

fn run_of(key: &TryKey) -> RunKey {
    RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() }
}

pub(super) fn try_key(run: &Run, no: InstanceNo, token: crate::run::Token) -> TryKey {
    TryKey {
        dag_id: run.key().dag_id.clone(),
        run_id: run.key().run_id.clone(),
        task_id: run.spec(no).task_id.clone(),
        map_index: run.instance(no).map_index,
        try_number: token.try_number,
        leg: token.leg,
    }
}

/// The data interval that comes after a run's own by its DAG's schedule, whether or not a run is made for it.
fn next_interval(version: &Version, run: &Run) -> Option<Interval> {
    let limits = timetable::Limits { start_date: None, end_date: None, catchup: true };
    let (own, schedule) = (run.meta().data_interval?, version.schedule.as_ref()?);
    schedule.next(Some(own), &limits, own.end).map(|next| next.data_interval)
}

pub(super) fn context_of(run: &Run) -> RunContext {
    let meta = run.meta();
    let start_date = match run.phase() {
        Phase::Running { since } | Phase::Ending { since, .. } => Some(since),
        Phase::Queued | Phase::Over(_) => None,
    };
    RunContext {
        run_type: meta.run_type,
        logical_date: meta.logical_date,
        data_interval: meta.data_interval,
        run_after: meta.run_after,
        start_date,
        conf: meta.conf.clone(),
        triggered_by: meta.triggered_by.clone(),
        note: meta.note.clone(),
        asset_events: meta.asset_events.clone(),
        partition: meta.partition.clone(),
    }
}

/// Who a run says it was triggered by: people and programs, not the parts of the system.
pub(super) fn person(by: &Actor) -> Option<String> {
    match by {
        Actor::User(name) | Actor::Token(name) => Some(name.clone()),
        Actor::Scheduler | Actor::Schedule | Actor::Processor | Actor::Executor(_) => None,
    }
}
