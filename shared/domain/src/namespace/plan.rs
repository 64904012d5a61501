//! What the rules call for by themselves at a given time. Proposals only: `carry_out` checks again.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, btree_set},
    ops::Bound,
};

use dagbok_events::{DagId, PoolName, Timestamp};

use super::{Namespace, Pool, RunNo, lanes::LaneKey};
use crate::run::{InstanceNo, Phase, Weight};

/// Tasks that one record may queue: bounds its size.
const QUEUED_PER_RECORD: usize = 256;

/// Something that the rules call for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Make the DAG's promise anew: the clock went back.
    RenewPromise(DagId),
    /// Record that the clock went back, which mends what else it had put off.
    ClockBack,
    /// Make the run that the DAG's schedule promised.
    CreateScheduled(DagId),
    /// Let a queued run begin.
    StartRun(RunNo),
    /// Fail a run that took too long.
    TimeOutRun(RunNo),
    /// Offer these tasks of a run to the executors.
    QueueTasks(RunNo, Vec<InstanceNo>),
}

/// How much room is left while a plan is made.
struct Room<'a> {
    namespace: &'a Namespace,
    tries: u32,
    pools: BTreeMap<PoolName, Option<u64>>,
    dags: BTreeMap<DagId, u32>,
}

/// Most urgent first: weight, then the run's age, then the DAG's order.
type Candidate = (Weight, RunNo, InstanceNo);

impl Namespace {
    /// Proposes, in the order in which to carry out; empty where nothing is called for.
    ///
    /// Starting a run can make tasks ready, so plan again after carrying out until nothing is proposed.
    pub fn plan(&self, now: Timestamp) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        if self.clock_went_back(now) {
            // The record comes last: where a scheduler dies before, the next one makes the rest anew.
            let wrong =
                self.dags.keys().filter(|dag_id| self.renewed_promise(now, dag_id).is_some());
            proposals.extend(wrong.cloned().map(Proposal::RenewPromise));
            proposals.push(Proposal::ClockBack);
            return proposals;
        }
        let timeouts = self.index.timeouts.range(..=(now, RunNo::MAX));
        proposals.extend(timeouts.map(|(_, number)| Proposal::TimeOutRun(*number)));
        let due = self.index.promises.iter().take_while(|(due, _)| *due <= now);
        proposals.extend(due.map(|(_, dag_id)| Proposal::CreateScheduled(dag_id.clone())));
        for (_, dag_id) in self.index.starts.iter().take_while(|(from, _)| *from <= now) {
            let Some(dag) = self.dags.get(dag_id) else { continue };
            let room = dag.max_active_runs().saturating_sub(dag.running) as usize;
            let next = dag.queued.range(..=(now, RunNo::MAX)).take(room);
            proposals.extend(next.map(|(_, number)| Proposal::StartRun(*number)));
        }
        self.plan_tasks(now, &mut proposals);
        proposals
    }

    /// When to plan again if nothing happens before; always later than `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, RunNo::MAX)), Bound::Unbounded);
        let timeout = self.index.timeouts.range(later).next().map(|(due, _)| *due);
        let past = (now, RunNo::MAX, InstanceNo::MAX);
        let mut retries = self.index.retries.range((Bound::Excluded(past), Bound::Unbounded));
        let retry = retries.next().map(|(due, _, _)| *due);
        let first_after = |dags: &BTreeSet<(Timestamp, DagId)>| {
            // What is due and stands here is seen to before anybody asks again.
            dags.iter().map(|(due, _)| *due).find(|due| *due > now)
        };
        let promise = first_after(&self.index.promises);
        let start = first_after(&self.index.starts);
        [timeout, retry, promise, start].into_iter().flatten().min()
    }

    pub(super) fn may_create(&self, dag_id: &DagId) -> bool {
        self.dags.get(dag_id).is_some_and(|dag| !dag.paused && !dag.gone && dag.has_room())
    }

    fn plan_tasks(&self, now: Timestamp, proposals: &mut Vec<Proposal>) {
        let mut room = Room::new(self);
        let mut pick = Pick::new(self, now);
        if room.tries > 0 {
            for pool in self.index.lanes.pools() {
                let Some(free) = room.in_pool(pool) else { continue };
                for key in &self.index.lanes.open(pool, free, now) {
                    pick.open(key);
                }
            }
        }
        let mut chosen: BTreeMap<RunNo, Vec<InstanceNo>> = BTreeMap::new();
        while room.tries > 0
            && let Some((number, no, lane)) = pick.next()
        {
            if room.take(number, no) {
                chosen.entry(number).or_default().push(no);
            } else {
                // Nothing further of this lane can go: it shares the DAG, the pool and the number of slots.
                pick.close(lane);
            }
        }
        for (number, tasks) in chosen {
            for part in tasks.chunks(QUEUED_PER_RECORD) {
                proposals.push(Proposal::QueueTasks(number, part.to_vec()));
            }
        }
    }

    /// Those of `tasks` that may be queued now, all together.
    pub(super) fn fitting(
        &self,
        number: RunNo,
        tasks: &[InstanceNo],
        now: Timestamp,
    ) -> Vec<InstanceNo> {
        let Some(run) = self.runs.get(&number) else { return Vec::new() };
        if !matches!(run.phase(), Phase::Running { .. }) {
            return Vec::new();
        }
        let (mut room, mut taken) = (Room::new(self), BTreeSet::new());
        let mut fits = |no: &InstanceNo| {
            run.knows(*no)
                && run.may_queue(*no, now).is_some()
                && taken.insert(*no)
                && room.take(number, *no)
        };
        tasks.iter().copied().filter(|no| fits(no)).collect()
    }
}

/// Tasks of one run and lane, most urgent first.
type Stream<'a> = Box<dyn Iterator<Item = (Weight, InstanceNo)> + 'a>;

/// A lane that was opened, and its runs that are yet to be looked at.
type OpenLane<'a> = (LaneKey, btree_set::Iter<'a, (Weight, RunNo)>);

/// The open lanes, merged: no more is looked at than is picked.
struct Pick<'a> {
    namespace: &'a Namespace,
    now: Timestamp,
    lanes: Vec<Option<OpenLane<'a>>>,
    streams: Vec<(usize, RunNo, Stream<'a>)>,
    /// Runs of a lane whose tasks are yet to be looked at, and tasks of a stream, which are marked.
    heap: BinaryHeap<Reverse<(Candidate, bool, usize)>>,
}

impl<'a> Pick<'a> {
    fn new(namespace: &'a Namespace, now: Timestamp) -> Self {
        let (lanes, streams, heap) = (Vec::new(), Vec::new(), BinaryHeap::new());
        Self { namespace, now, lanes, streams, heap }
    }

    fn open(&mut self, key: &LaneKey) {
        let Some(lane) = self.namespace.index.lanes.lane(key) else { return };
        let at = self.lanes.len();
        let due = lane.later.range(..=(self.now, RunNo::MAX)).map(|(_, number)| *number);
        self.lanes.push(Some((key.clone(), lane.ready.iter())));
        for number in due {
            let Some(run) = self.namespace.runs.get(&number) else { continue };
            let Some(queue) = run.lines().get(&key.line()) else { continue };
            for stream in queue.due(self.now) {
                self.add(at, number, Box::new(stream));
            }
        }
        self.next_run(at);
    }

    fn close(&mut self, lane: usize) {
        self.lanes[lane] = None;
    }

    /// Takes up a run's tasks, unless its time is up.
    fn add(&mut self, lane: usize, number: RunNo, stream: Stream<'a>) {
        let timed_out = |number| self.namespace.runs[number].timed_out(self.now);
        if !timed_out(&number) {
            self.streams.push((lane, number, stream));
            self.next_task(self.streams.len() - 1);
        }
    }

    fn next_run(&mut self, lane: usize) {
        let Some((_, runs)) = &mut self.lanes[lane] else { return };
        if let Some((weight, number)) = runs.next() {
            self.heap.push(Reverse(((*weight, *number, 0), false, lane)));
        }
    }

    fn next_task(&mut self, stream: usize) {
        let (_, number, tasks) = &mut self.streams[stream];
        if let Some((weight, no)) = tasks.next() {
            self.heap.push(Reverse(((weight, *number, no), true, stream)));
        }
    }

    /// The most urgent task that is left, with its lane.
    fn next(&mut self) -> Option<(RunNo, InstanceNo, usize)> {
        loop {
            let Reverse(((_, number, no), is_task, at)) = self.heap.pop()?;
            let lane = if is_task { self.streams[at].0 } else { at };
            let Some((key, _)) = &self.lanes[lane] else { continue };
            if is_task {
                self.next_task(at);
                return Some((number, no, lane));
            }
            let run = self.namespace.runs.get(&number);
            let queue = run.and_then(|run| run.lines().get(&key.line()));
            if let Some(queue) = queue {
                self.add(lane, number, Box::new(queue.ready()));
            }
            self.next_run(lane);
        }
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
        let left = self.namespace.dags.get(dag_id).map_or(0, |dag| dag.room());
        self.dags.insert(dag_id.clone(), left);
        left
    }

    /// The slots that are free; `None` where there is no such pool.
    fn in_pool(&mut self, pool: &PoolName) -> Option<u64> {
        if let Some(left) = self.pools.get(pool) {
            return *left;
        }
        let left = self.namespace.pools.get(pool).and_then(Pool::free);
        self.pools.insert(pool.clone(), left);
        left
    }

    /// Takes room for a task; false where there is none, for now or for ever.
    fn take(&mut self, number: RunNo, no: InstanceNo) -> bool {
        let run = &self.namespace.runs[&number];
        let spec = run.spec(no);
        let slots = u64::from(spec.pool_slots);
        let dag_id = &run.key().dag_id;
        let (in_dag, in_pool) = (self.in_dag(dag_id), self.in_pool(&spec.pool));
        let Some(left) = in_pool.and_then(|free| free.checked_sub(slots)) else { return false };
        if self.tries == 0 || in_dag == 0 {
            return false;
        }
        self.tries -= 1;
        self.dags.insert(dag_id.clone(), in_dag - 1);
        self.pools.insert(spec.pool.clone(), Some(left));
        true
    }
}
