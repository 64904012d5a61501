//! Callbacks of DAGs: what a run that ends calls for, until somebody has called it. The run itself may be forgotten by
//! then, so all that the call needs is kept here. Who has one may die: it is ordered anew then, so that it is called
//! at least once.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    DagCallbackFailed, DagCallbackKind, DagCallbackLost, DagCallbackOrdered, DagCallbackUnbegun,
    ExecutorId, Fact, Failure, FailureKind, Fault, Leg, LogRef, MapIndex, Micros, PoolName, Record,
    RunKey, TaskId, Timestamp, TryKey, TryNumber, Usage, folder_of, path_in_folder,
};
use dagbok_protocol::{
    DagCallback, WorkItem,
    limits::{DAG_CALLBACK_LOSSES, DAG_CALLBACK_UNBEGUN_US, DAG_CALLBACK_US},
    names::DAG_CALLBACK,
};
use serde::{Deserialize, Serialize};

use super::{DEFAULT_POOL, Namespace, Proposal, RunNo, own, views::context_of};
use crate::run::{Done, InstanceNo, Phase, Run, TaskState};

/// Callbacks that one plan orders, and that it tells of: bounds a batch.
const ORDERED_AT_ONCE: usize = 256;

/// A run, and which of its ends.
pub(super) type CallbackKey = (RunKey, u16);

/// How far one has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stand {
    /// Called for, and not yet offered, or not any more.
    Due,
    /// Offered since then; whether it was told of that nobody takes it.
    Offered { since: Timestamp, told: bool },
    /// Somebody calls it.
    Begun { executor: ExecutorId },
}

/// One callback that is called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Callback {
    /// What its executor is given; the attempt is the key's leg.
    item: WorkItem,
    call: DagCallback,
    stand: Stand,
    losses: u32,
}

/// All of them, with those that wait for something.
#[derive(Clone, Debug, Default)]
pub(super) struct Callbacks {
    all: BTreeMap<CallbackKey, Callback>,
    due: BTreeSet<CallbackKey>,
    /// By when nobody takes it for too long.
    unbegun: BTreeSet<(Timestamp, CallbackKey)>,
    /// Those that somebody calls.
    begun: BTreeMap<ExecutorId, BTreeSet<CallbackKey>>,
}

impl Callbacks {
    fn put(&mut self, key: CallbackKey, callback: Callback) {
        self.remove(&key);
        match &callback.stand {
            Stand::Due => drop(self.due.insert(key.clone())),
            Stand::Offered { since, told: false } => {
                let late = since.plus(Micros(DAG_CALLBACK_UNBEGUN_US));
                self.unbegun.insert((late, key.clone()));
            }
            Stand::Offered { .. } => {}
            Stand::Begun { executor } => {
                self.begun.entry(executor.clone()).or_default().insert(key.clone());
            }
        }
        self.all.insert(key, callback);
    }

    fn remove(&mut self, key: &CallbackKey) -> Option<Callback> {
        let before = self.all.remove(key)?;
        self.due.remove(key);
        match &before.stand {
            Stand::Due => {}
            Stand::Offered { since, .. } => {
                self.unbegun.remove(&(since.plus(Micros(DAG_CALLBACK_UNBEGUN_US)), key.clone()));
            }
            Stand::Begun { executor } => {
                if let Some(of_it) = self.begun.get_mut(executor) {
                    of_it.remove(key);
                    if of_it.is_empty() {
                        self.begun.remove(executor);
                    }
                }
            }
        }
        Some(before)
    }

    /// Forgets those of a run that is deleted.
    pub(super) fn forget(&mut self, run: &RunKey) {
        let of_run: Vec<CallbackKey> =
            self.all.range(of_run(run)).map(|(key, _)| key.clone()).collect();
        for key in of_run {
            self.remove(&key);
        }
    }

    /// What a snapshot keeps.
    pub(super) fn saved(&self) -> Vec<(CallbackKey, Callback)> {
        self.all.iter().map(|(key, it)| (key.clone(), it.clone())).collect()
    }

    /// Those that were saved.
    pub(super) fn restore(saved: Vec<(CallbackKey, Callback)>) -> Self {
        let mut it = Self::default();
        for (key, callback) in saved {
            it.put(key, callback);
        }
        it
    }

    fn change(&mut self, key: &CallbackKey, attempt: Leg, change: impl FnOnce(&mut Callback)) {
        let named = self.all.get(key).filter(|it| it.item.key.leg == attempt).cloned();
        let Some(mut callback) = named else { return };
        change(&mut callback);
        self.put(key.clone(), callback);
    }
}

/// What a run's end calls for, by the facts that end it: nothing where somebody says how it ended, as in Airflow.
fn called_for(before: Phase, facts: &[Fact]) -> Option<(DagCallbackKind, &'static str)> {
    if !matches!(before, Phase::Queued | Phase::Running { .. }) {
        return None;
    }
    facts.iter().find_map(|fact| match fact {
        Fact::RunSucceeded(_) => Some((DagCallbackKind::OnSuccess, "success")),
        Fact::RunFailed(_) => Some((DagCallbackKind::OnFailure, "task_failure")),
        Fact::RunTimedOut(_) => Some((DagCallbackKind::OnFailure, "timed_out")),
        _ => None,
    })
}

/// The task instance that its context has: the first that failed, else the last.
fn instance_of(run: &Run, kind: DagCallbackKind) -> Option<InstanceNo> {
    let failed = |no: &InstanceNo| run.instance(*no).state == TaskState::Done(Done::Failed);
    let mut all = run.instances().map(|(no, _)| no);
    match kind {
        DagCallbackKind::OnSuccess => all.last(),
        DagCallbackKind::OnFailure => {
            all.find(failed).or_else(|| run.instances().map(|(no, _)| no).last())
        }
    }
}

const fn state_word(state: &TaskState) -> &'static str {
    use dagbok_events::RuledOut;
    match state {
        TaskState::Done(Done::Success) => "success",
        TaskState::Done(Done::Failed) => "failed",
        TaskState::Done(Done::RuledOut(RuledOut::UpstreamFailed)) => "upstream_failed",
        TaskState::Done(Done::RuledOut(RuledOut::Removed | RuledOut::OutOfDates)) => "removed",
        TaskState::Done(Done::RuledOut(RuledOut::Skipped)) => "skipped",
        TaskState::Waiting => "scheduled",
        TaskState::Queued { .. } => "queued",
        TaskState::Running { .. } => "running",
        TaskState::UpForRetry { .. } => "up_for_retry",
        TaskState::UpForReschedule { .. } => "up_for_reschedule",
        TaskState::Deferred { .. } => "deferred",
    }
}

impl Namespace {
    /// Notes what a run's end calls for. `before` is where it stood before the record.
    pub(super) fn call_for_callback(&mut self, number: RunNo, before: Phase, record: &Record) {
        let Some((kind, reason)) = called_for(before, &record.facts) else { return };
        let Some(run) = self.runs.get(&number) else { return };
        let spec = &run.version().spec;
        let given = match kind {
            DagCallbackKind::OnSuccess => spec.on_success_callback,
            DagCallbackKind::OnFailure => spec.on_failure_callback,
        };
        // A DAG without a task has nothing that its context could name.
        let Some(last) = spec.tasks.last().filter(|_| given) else { return };
        let no = instance_of(run, kind);
        let task = no.map_or(last, |no| run.spec(no));
        let instance = no.map(|no| run.instance(no));
        let call = DagCallback {
            callback: kind,
            reason: reason.to_owned(),
            task_id: task.task_id.clone(),
            map_index: instance.map_or(MapIndex::UNMAPPED, |it| it.map_index),
            try_number: instance
                .and_then(|it| TryNumber::new(it.tries))
                .unwrap_or(TryNumber::FIRST),
            state: instance.map_or("skipped", |it| state_word(&it.state)).to_owned(),
            ended_at: record.decided_at(),
        };
        // The end that is told of may be the first of two facts: teardowns are left where its time was up.
        let ends = run.ends() + u16::from(!matches!(run.phase(), Phase::Over(_)));
        let mut item = self.callback_item_of(run, task.queue.clone(), ends);
        if let Phase::Running { since } = before {
            item.run.start_date = Some(since);
        }
        let key = (run.key().clone(), ends);
        self.callbacks.put(key, Callback { item, call, stand: Stand::Due, losses: 0 });
    }

    fn callback_item_of(&self, run: &Run, queue: dagbok_events::QueueName, ends: u16) -> WorkItem {
        let meta = run.meta();
        WorkItem {
            key: TryKey {
                dag_id: run.key().dag_id.clone(),
                run_id: run.key().run_id.clone(),
                task_id: TaskId::new(DAG_CALLBACK).expect("it is made of letters"),
                map_index: MapIndex::UNMAPPED,
                try_number: TryNumber::new(ends).unwrap_or(TryNumber::FIRST),
                leg: Leg::FIRST,
            },
            queued_seq: self.last_seq,
            queued_at: self.last_at,
            bundle: meta.bundle.clone(),
            file: path_in_folder(&run.version().spec.source.file).to_owned(),
            folder: folder_of(&run.version().spec.source.file).map(str::to_owned),
            pool: PoolName::new(DEFAULT_POOL).expect("it is a name"),
            queue,
            max_tries: 0,
            will_retry: false,
            first_started_at: None,
            execution_timeout: Some(Micros(DAG_CALLBACK_US)),
            next_interval: None,
            ask_after: None,
            run: context_of(run),
            traceparent: meta.traceparent.clone(),
            resume: None,
            trigger: None,
            watches: false,
            dag_callback: None,
            resources: dagbok_events::Resources::default(),
            limits: dagbok_events::Limits::default(),
            run_as_user: None,
            pod_override: None,
            checkpoint: None,
            lineage: false,
            ask: false,
        }
    }

    /// Folds a fact about a callback.
    pub(super) fn evolve_callback(&mut self, seq: u64, run: &RunKey, at: Timestamp, fact: &Fact) {
        let of = |number: u16| (run.clone(), number);
        let callbacks = &mut self.callbacks;
        match fact {
            Fact::DagCallbackOrdered(f) => callbacks.change(&of(f.number), f.attempt, |it| {
                (it.item.queued_seq, it.item.queued_at) = (seq, at);
                it.stand = Stand::Offered { since: at, told: false };
            }),
            Fact::DagCallbackUnbegun(f) => callbacks.change(&of(f.number), f.attempt, |it| {
                if let Stand::Offered { told, .. } = &mut it.stand {
                    *told = true;
                }
            }),
            Fact::DagCallbackStarted(f) => {
                callbacks.change(&of(f.number), f.attempt, |it| {
                    it.stand = Stand::Begun { executor: f.executor.clone() };
                });
                // So that it is missed where it is silent, though it never said that it came.
                self.change_executor(&f.executor, |_| {});
            }
            Fact::DagCallbackLost(f) => callbacks.change(&of(f.number), f.attempt, |it| {
                it.stand = Stand::Due;
                it.losses += u32::from(f.begun);
                it.item.key.leg = it.item.key.leg.next().unwrap_or(it.item.key.leg);
            }),
            Fact::DagCallbackSucceeded(f) => drop(callbacks.remove(&of(f.number))),
            Fact::DagCallbackFailed(f) => drop(callbacks.remove(&of(f.number))),
            _ => {}
        }
    }

    /// Callbacks to offer, and those that nobody takes.
    pub(super) fn plan_callbacks(
        &self,
        now: Timestamp,
        times_out: bool,
    ) -> impl Iterator<Item = Proposal> {
        let late =
            self.callbacks.unbegun.iter().take_while(move |(due, _)| times_out && *due <= now);
        let late = late
            .take(ORDERED_AT_ONCE)
            .map(|(_, (run, number))| Proposal::TellUnbegun(run.clone(), *number));
        let due = self.callbacks.due.iter().take(ORDERED_AT_ONCE);
        due.map(|(run, number)| Proposal::OrderCallback(run.clone(), *number)).chain(late)
    }

    /// When one is to be told of that nobody takes; later than `now`.
    pub(super) fn next_unbegun(&self, now: Timestamp) -> Option<Timestamp> {
        self.callbacks.unbegun.iter().map(|(due, _)| *due).find(|due| *due > now)
    }

    /// Offers one, or gives it up where it was lost too often.
    pub(super) fn order_callback(
        &self,
        at: Timestamp,
        run: &RunKey,
        number: u16,
    ) -> Option<Record> {
        let it = self.callbacks.all.get(&(run.clone(), number))?;
        if it.stand != Stand::Due {
            return None;
        }
        let call = &it.call;
        let attempt = it.item.key.leg;
        let fact = if it.losses > DAG_CALLBACK_LOSSES {
            let message = format!(
                "whoever called it was gone before its end, {} times: see their logs",
                it.losses
            );
            failed_fact(call, number, attempt, executor_failure(message), Usage::default(), None)
        } else {
            Fact::DagCallbackOrdered(Box::new(DagCallbackOrdered {
                callback: call.callback,
                number,
                attempt,
                reason: call.reason.clone(),
                task_id: call.task_id.clone(),
                map_index: call.map_index,
                try_number: call.try_number,
                queue: it.item.queue.clone(),
            }))
        };
        Some(of_callback(at, it, vec![fact]))
    }

    /// Says that nobody takes one.
    pub(super) fn tell_unbegun(&self, at: Timestamp, run: &RunKey, number: u16) -> Option<Record> {
        let it = self.callbacks.all.get(&(run.clone(), number))?;
        let Stand::Offered { since, told: false } = it.stand else { return None };
        let late = since.plus(Micros(DAG_CALLBACK_UNBEGUN_US)) <= at;
        let fact = Fact::DagCallbackUnbegun(DagCallbackUnbegun {
            callback: it.call.callback,
            number,
            attempt: it.item.key.leg,
            queue: it.item.queue.clone(),
        });
        late.then(|| of_callback(at, it, vec![fact]))
    }

    /// What an executor is given of a callback that is offered; `None` once it is not any more.
    pub fn callback_item(&self, run: &RunKey, number: u16) -> Option<WorkItem> {
        let it = self.callbacks.all.get(&(run.clone(), number))?;
        let offered = matches!(it.stand, Stand::Offered { .. });
        offered.then(|| WorkItem { dag_callback: Some(it.call.clone()), ..it.item.clone() })
    }

    /// Every callback that must be on the work queue or in an executor's hands unseen.
    pub fn offered_callbacks(&self) -> Vec<WorkItem> {
        let all = self.callbacks.all.keys();
        all.filter_map(|(run, number)| self.callback_item(run, *number)).collect()
    }

    /// Whether callbacks of a run are yet to be called.
    pub fn has_callbacks(&self, run: &RunKey) -> bool {
        self.callbacks.all.range(of_run(run)).next().is_some()
    }

    fn callback_named(&self, key: &TryKey) -> Option<&Callback> {
        let number = key.try_number.get();
        let it = self.callbacks.all.get(&(run_of(key), number))?;
        (it.item.key.leg == key.leg).then_some(it)
    }

    /// Whether this call is offered or under way.
    pub(super) fn is_callback_in_flight(&self, key: &TryKey) -> bool {
        self.callback_named(key).is_some_and(|it| it.stand != Stand::Due)
    }

    /// Whether this call is over. Never true of one that is yet to be offered.
    pub(super) fn is_callback_over(&self, key: &TryKey) -> bool {
        match self.callbacks.all.get(&(run_of(key), key.try_number.get())) {
            Some(it) => key.leg < it.item.key.leg,
            None => self.past_ending(&run_of(key)).is_some(),
        }
    }

    /// The calls that an executor makes, as far as the log knows.
    pub(super) fn callbacks_of(&self, executor: &ExecutorId) -> Vec<TryKey> {
        let begun = self.callbacks.begun.get(executor).into_iter().flatten();
        begun.filter_map(|key| Some(self.callbacks.all.get(key)?.item.key.clone())).collect()
    }

    /// The same callbacks, lost with their executor.
    pub(super) fn lose_callbacks(&self, at: Timestamp, executor: &ExecutorId) -> Vec<Record> {
        let keys = self.callbacks_of(executor);
        keys.iter().filter_map(|key| self.lose_callback(at, key)).collect()
    }

    /// That nobody knows what became of a call that was under way.
    pub(super) fn lose_callback(&self, at: Timestamp, key: &TryKey) -> Option<Record> {
        let it = self.callback_named(key)?;
        let Stand::Begun { executor } = &it.stand else { return None };
        let fact = lost_fact(key, executor, true, None);
        Some(of_callback(at, it, vec![fact]))
    }

    /// Whose call it is, and which; an error says why nothing can be said of it.
    pub(super) fn callback_held_by(
        &self,
        key: &TryKey,
        executor: &ExecutorId,
    ) -> Result<&DagCallback, dagbok_events::RefusedWhy> {
        use dagbok_events::RefusedWhy;
        let it = self.callback_named(key).ok_or(RefusedWhy::NotInFlight)?;
        match &it.stand {
            Stand::Due => Err(RefusedWhy::NotInFlight),
            Stand::Begun { executor: who } if who != executor => Err(RefusedWhy::HeldByAnother),
            Stand::Offered { .. } | Stand::Begun { .. } => Ok(&it.call),
        }
    }

    /// Whether somebody said already that this call began.
    pub(super) fn is_callback_begun(&self, key: &TryKey) -> bool {
        self.callback_named(key).is_some_and(|it| matches!(it.stand, Stand::Begun { .. }))
    }
}

/// The keys of all callbacks of a run.
fn of_run(run: &RunKey) -> std::ops::RangeInclusive<CallbackKey> {
    (run.clone(), 0)..=(run.clone(), u16::MAX)
}

/// A record of the scheduler's own about a callback.
fn of_callback(at: Timestamp, it: &Callback, facts: Vec<Fact>) -> Record {
    let trace = it.item.traceparent.clone();
    let trace =
        trace.map(|traceparent| dagbok_events::TraceContext { traceparent, tracestate: None });
    let by = dagbok_events::Actor::Scheduler;
    own(at, by, dagbok_events::Scope::Run(run_of(&it.item.key)), trace, facts)
}

fn run_of(key: &TryKey) -> RunKey {
    RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() }
}

/// That one failed for good.
pub(super) fn failed_fact(
    call: &DagCallback,
    number: u16,
    attempt: Leg,
    failure: Failure,
    usage: Usage,
    log: Option<LogRef>,
) -> Fact {
    let callback = call.callback;
    Fact::DagCallbackFailed(Box::new(DagCallbackFailed {
        callback,
        number,
        attempt,
        failure,
        usage,
        log,
    }))
}

/// That whoever had one has it no more.
pub(super) fn lost_fact(
    key: &TryKey,
    executor: &ExecutorId,
    begun: bool,
    log: Option<LogRef>,
) -> Fact {
    Fact::DagCallbackLost(DagCallbackLost {
        number: key.try_number.get(),
        attempt: key.leg,
        executor: executor.clone(),
        begun,
        log,
    })
}

fn executor_failure(message: String) -> Failure {
    let failure = Failure::new(FailureKind::Executor, Fault::System, message);
    Failure { retryable: false, ..failure }
}
