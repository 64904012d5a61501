//! What the rules call for by themselves at a given time. Proposals only: `carry_out` checks again.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    ops::Bound,
};

use dagbok_events::{DagId, PoolName, Timestamp};

use super::{Namespace, Pool, RunNo};
use crate::{graph::Ix, run::Phase};

/// Tasks that one record may queue: bounds its size.
const QUEUED_PER_RECORD: usize = 256;

/// Something that the rules call for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Make the run that the DAG's schedule promised.
    CreateScheduled(DagId),
    /// Let a queued run begin.
    StartRun(RunNo),
    /// Fail a run that took too long.
    TimeOutRun(RunNo),
    /// Offer these tasks of a run to the executors.
    QueueTasks(RunNo, Vec<Ix>),
}

/// How much room is left while a plan is made.
struct Room<'a> {
    namespace: &'a Namespace,
    tries: u32,
    pools: BTreeMap<PoolName, u64>,
    dags: BTreeMap<DagId, u32>,
}

/// Most urgent first: weight, then the run's age, then the DAG's order.
type Candidate = (Reverse<i32>, RunNo, Ix);

impl Namespace {
    /// Proposes, in the order in which to carry out; empty where nothing is called for.
    ///
    /// Starting a run can make tasks ready, so plan again after carrying out until nothing is proposed.
    pub fn plan(&self, now: Timestamp) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for (_, number) in self.timers.range(..=(now, RunNo::MAX)) {
            if self.runs[number].timed_out(now) {
                proposals.push(Proposal::TimeOutRun(*number));
            }
        }
        for (due, dag_id) in &self.expected {
            if *due > now {
                break;
            }
            if self.may_create(dag_id) {
                proposals.push(Proposal::CreateScheduled(dag_id.clone()));
            }
        }
        self.plan_starts(now, &mut proposals);
        self.plan_tasks(now, &mut proposals);
        proposals
    }

    /// When to plan again if nothing happens before; always later than `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, RunNo::MAX)), Bound::Unbounded);
        let timer = self.timers.range(later).map(|(due, _)| *due).next();
        let past = self.timers.range(..=(now, RunNo::MAX));
        let hidden = past.filter_map(|(_, number)| self.runs[number].next_due_after(now)).min();
        let promised = self.expected.iter().map(|(due, _)| *due).find(|due| *due > now);
        [timer, hidden, promised].into_iter().flatten().min()
    }

    pub(super) fn may_create(&self, dag_id: &DagId) -> bool {
        self.dags.get(dag_id).is_some_and(|dag| !dag.paused && !dag.gone && dag.has_room())
    }

    fn plan_starts(&self, now: Timestamp, proposals: &mut Vec<Proposal>) {
        let mut starting: BTreeMap<&DagId, u32> = BTreeMap::new();
        for number in &self.queued {
            let run = &self.runs[number];
            let Some(dag) = self.dags.get(&run.key().dag_id) else { continue };
            let already = starting.entry(&run.key().dag_id).or_default();
            let room = dag.max_active_runs().saturating_sub(dag.running + *already);
            if room > 0 && !dag.paused && run.meta().run_after <= now {
                *already += 1;
                proposals.push(Proposal::StartRun(*number));
            }
        }
    }

    fn plan_tasks(&self, now: Timestamp, proposals: &mut Vec<Proposal>) {
        let mut room = Room::new(self);
        let mut streams = Vec::new();
        for number in &self.hungry {
            let run = &self.runs[number];
            if room.in_dag(&run.key().dag_id) > 0 && !run.timed_out(now) {
                streams.extend(run.ready().map(|line| (*number, line.iter())));
            }
        }
        let mut heap: BinaryHeap<Reverse<(Candidate, Option<usize>)>> = BinaryHeap::new();
        for (at, (number, tasks)) in streams.iter_mut().enumerate() {
            if let Some((weight, ix)) = tasks.next() {
                heap.push(Reverse(((*weight, *number, *ix), Some(at))));
            }
        }
        for (_, number) in self.timers.range(..=(now, RunNo::MAX)) {
            let run = &self.runs[number];
            for ix in run.retries_due(now).filter(|_| !run.timed_out(now)) {
                let weight = Reverse(run.version().task(ix).priority_weight);
                heap.push(Reverse(((weight, *number, ix), None)));
            }
        }
        let mut chosen: BTreeMap<RunNo, Vec<Ix>> = BTreeMap::new();
        while room.tries > 0
            && let Some(Reverse(((_, number, ix), stream))) = heap.pop()
        {
            // Where there is no room nothing further of this line can go: it shares the DAG, the pool and
            // the number of slots.
            if !room.take(number, ix) {
                continue;
            }
            chosen.entry(number).or_default().push(ix);
            if let Some(at) = stream
                && let Some((weight, ix)) = streams[at].1.next()
            {
                heap.push(Reverse(((*weight, number, *ix), stream)));
            }
        }
        for (number, tasks) in chosen {
            for part in tasks.chunks(QUEUED_PER_RECORD) {
                proposals.push(Proposal::QueueTasks(number, part.to_vec()));
            }
        }
    }

    /// Those of `tasks` that may be queued now, all together.
    pub(super) fn fitting(&self, number: RunNo, tasks: &[Ix], now: Timestamp) -> Vec<Ix> {
        let Some(run) = self.runs.get(&number) else { return Vec::new() };
        if !matches!(run.phase(), Phase::Running { .. }) {
            return Vec::new();
        }
        let (mut room, mut taken) = (Room::new(self), BTreeSet::new());
        let mut fits = |ix: &Ix| {
            (*ix as usize) < run.version().len()
                && run.may_queue(*ix, now).is_some()
                && taken.insert(*ix)
                && room.take(number, *ix)
        };
        tasks.iter().copied().filter(|ix| fits(ix)).collect()
    }
}

impl<'a> Room<'a> {
    fn new(namespace: &'a Namespace) -> Self {
        let tries = namespace.limits.parallelism.saturating_sub(namespace.in_flight);
        Self { namespace, tries, pools: BTreeMap::new(), dags: BTreeMap::new() }
    }

    fn in_dag(&mut self, dag_id: &DagId) -> u32 {
        if let Some(left) = self.dags.get(dag_id) {
            return *left;
        }
        let left = self.namespace.dags.get(dag_id).map_or(0, |dag| {
            let max = if dag.paused { 0 } else { dag.current.spec.max_active_tasks };
            max.saturating_sub(dag.in_flight)
        });
        self.dags.insert(dag_id.clone(), left);
        left
    }

    fn in_pool(&mut self, pool: &PoolName) -> u64 {
        if let Some(left) = self.pools.get(pool) {
            return *left;
        }
        let free = |pool: &Pool| u64::from(pool.slots).saturating_sub(pool.used);
        let left = self.namespace.pools.get(pool).map_or(0, free);
        self.pools.insert(pool.clone(), left);
        left
    }

    /// Takes room for a task; false where there is none, for now or for ever.
    fn take(&mut self, number: RunNo, ix: Ix) -> bool {
        let run = &self.namespace.runs[&number];
        let spec = run.version().task(ix);
        let slots = u64::from(spec.pool_slots);
        let dag_id = &run.key().dag_id;
        let (in_dag, in_pool) = (self.in_dag(dag_id), self.in_pool(&spec.pool));
        if self.tries == 0 || in_dag == 0 || in_pool < slots {
            return false;
        }
        self.tries -= 1;
        self.dags.insert(dag_id.clone(), in_dag - 1);
        self.pools.insert(spec.pool.clone(), in_pool - slots);
        true
    }
}
