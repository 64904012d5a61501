//! What has no room for a task, and who takes it up.
use std::collections::BTreeSet;

use dagbok_events::{DagId, ExecutorName, QueueName, Resources, Timestamp};
use dagbok_protocol::{Holder, Holders, Reason, in_vain, lacking, lacking_now, share, short_of};

use super::{COUNTED, LOOKED, NAMED, Namespace, RunNo};
use crate::{
    namespace::{Executor, pool::Pool},
    run::{Cap, Hold, InstanceNo, Run, TaskState},
};

impl Namespace {
    /// Every limit that has no room for a task which is ready.
    pub(super) fn reasons_of_room(&self, run: &Run, no: InstanceNo) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let key = run.key();
        let Some(dag) = self.dags.get(&key.dag_id) else { return reasons };
        let spec = run.spec(no);
        if dag.room() == 0 {
            let most = dag.current.spec.max_active_tasks;
            let holders = self.holders(|other, _, _| other.key().dag_id == key.dag_id);
            reasons.push(Reason::MaxActiveTasks { most, holders });
        }
        reasons.extend(self.reasons_of_cap(run, no));
        let pool = self.pools.get(&spec.pool).filter(|pool| pool.set.is_some());
        let (name, needs) = (spec.pool.clone(), spec.pool_slots);
        let free = pool.and_then(Pool::free).unwrap_or(0);
        match pool.map(Pool::slots) {
            None => reasons.push(Reason::NoPool { pool: name }),
            Some(slots) if needs > slots => {
                reasons.push(Reason::PoolTooSmall { pool: name, needs, slots });
            }
            Some(slots) if free < u64::from(needs) => {
                let free = u32::try_from(free).unwrap_or(u32::MAX);
                let holders = self.holders(|_, _, hold| hold.pool == name);
                reasons.push(Reason::Pool { pool: name.clone(), needs, free, slots, holders });
            }
            Some(_) => {}
        }
        let most = self.limits.parallelism;
        if self.in_flight >= most {
            let holders = self.holders(|_, _, _| true);
            reasons.push(Reason::Parallelism { most, holders });
        }
        reasons
    }

    /// The limits of the task itself.
    fn reasons_of_cap(&self, run: &Run, no: InstanceNo) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (line_no, line) = run.line_of(no);
        let Some(cap) = &line.cap else { return reasons };
        let key = run.key();
        let is_it = |other: &Run, of: InstanceNo| other.spec(of).task_id == cap.task_id;
        if let Some(most) = cap.per_run.filter(|_| run.room_of_line(line_no) == 0) {
            let holders = self.holders(|other, of, _| other.key() == key && is_it(other, of));
            reasons.push(Reason::MaxActiveTisPerDagRun { most, holders });
        }
        if let Some(most) = cap.per_dag.filter(|_| self.is_full(&key.dag_id, cap)) {
            let holders =
                self.holders(|other, of, _| other.key().dag_id == key.dag_id && is_it(other, of));
            reasons.push(Reason::MaxActiveTisPerDag { most, holders });
        }
        reasons
    }

    /// Whether as many tries of a task are in flight as may be over all runs of its DAG.
    pub(super) fn is_full(&self, dag_id: &DagId, cap: &Cap) -> bool {
        let limit = cap.per_dag.map(|most| (cap.task_id.clone(), most));
        self.index.lanes.cap_room(dag_id, &limit) == 0
    }

    /// What keeps a try that is offered.
    pub(super) fn reason_of_offer(
        &self,
        queue: &QueueName,
        place: (Timestamp, RunNo, InstanceNo),
    ) -> Reason {
        let (executors, with_room) = self.queued.executors_of(queue);
        let queue = queue.clone();
        if executors == 0 {
            let pulls = |it: &&Executor| it.slots > 0 && it.part_of.is_none();
            let others = self.executors.values().filter(pulls).count();
            return Reason::NoExecutor { queue, others: u32::try_from(others).unwrap_or(u32::MAX) };
        }
        if let Some(lacks) = self.too_large(&queue, place) {
            return Reason::TooLarge { queue, executors, lacks };
        }
        if let Some(reason) = self.cordoned(&queue, executors, place) {
            return reason;
        }
        if let Some(reason) = self.taken(&queue, executors, place) {
            return reason;
        }
        if with_room > 0 {
            return Reason::Offered { queue, executors };
        }
        let before = self.queued.before(&queue, place).take(COUNTED as usize).count();
        let holders = {
            let pulls = self.runs_for(&queue);
            self.holders(|run, no, _| pulls(run, no))
        };
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Reason::ExecutorsFull { queue, executors, before, holders }
    }

    /// Tells whether a task runs on an executor that pulls from a queue, or on a part of one.
    fn runs_for<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> impl Fn(&Run, InstanceNo) -> bool + use<'a> {
        let names: BTreeSet<&ExecutorName> =
            self.pulling(queue).filter_map(|it| it.name.as_ref()).collect();
        move |run, no| {
            let executor = run.instance(no).state.executor();
            executor.and_then(|executor| self.executors.get(executor)).is_some_and(|it| {
                it.queues.contains(queue)
                    || it.part_of.as_ref().is_some_and(|whole| names.contains(whole))
            })
        }
    }

    /// What executors that pull from a queue lack for a try, where none of them could ever have it.
    fn too_large(
        &self,
        queue: &QueueName,
        (_, number, no): (Timestamp, RunNo, InstanceNo),
    ) -> Option<String> {
        let asked = &self.runs.get(&number)?.spec(no).resources;
        if *asked == Resources::default() {
            return None;
        }
        in_vain(self.pulling(queue).map(|executor| &executor.resources), asked)
    }

    /// That everybody who could take a try is cordoned.
    fn cordoned(
        &self,
        queue: &QueueName,
        executors: u32,
        (_, number, no): (Timestamp, RunNo, InstanceNo),
    ) -> Option<Reason> {
        let asked = &self.runs.get(&number)?.spec(no).resources;
        let mut names = BTreeSet::new();
        for executor in self.pulling(queue) {
            if lacking(&executor.resources, asked).is_some() {
                continue;
            }
            if !executor.cordoned {
                return None;
            }
            names.extend(executor.name.clone());
        }
        let since = names.iter().filter_map(|name| self.cordons.get(name).map(|it| it.at)).min();
        let more = u32::try_from(names.len().saturating_sub(NAMED)).unwrap_or(u32::MAX);
        let names: Vec<_> = names.into_iter().take(NAMED).collect();
        let first = names.first()?;
        let reason = self.cordons.get(first).and_then(|it| it.reason.clone());
        Some(Reason::Cordoned { queue: queue.clone(), executors, names, more, since, reason })
    }

    /// That what a try asks for is in use on each executor of its queue that has it.
    fn taken(
        &self,
        queue: &QueueName,
        executors: u32,
        (_, number, no): (Timestamp, RunNo, InstanceNo),
    ) -> Option<Reason> {
        let asked = &self.runs.get(&number)?.spec(no).resources;
        if *asked == Resources::default() {
            return None;
        }
        let (mut lacks, mut short) = (None, Resources::default());
        for executor in self.pulling(queue).filter(|it| !it.cordoned) {
            if lacking(&executor.resources, asked).is_none() {
                let free = self.free_of(executor);
                lacks = Some(lacking_now(&free, asked)?);
                short = short_of(&free, asked);
            }
        }
        let pulls = self.runs_for(queue);
        let has_some =
            |run: &Run, no: InstanceNo| pulls(run, no) && share(&short, &run.spec(no).resources);
        let holders = self.holders(|run, no, _| has_some(run, no));
        lacks.map(|lacks| Reason::Resources { queue: queue.clone(), executors, lacks, holders })
    }

    /// The tries in flight that `takes` says of, the oldest runs' by name.
    fn holders(&self, takes: impl Fn(&Run, InstanceNo, &Hold) -> bool) -> Holders {
        let begun = self.executors.values().flat_map(|executor| executor.holds.iter().copied());
        let offered = self.queued.tries();
        let mut found: Vec<(RunNo, InstanceNo)> = begun
            .chain(offered)
            .take(LOOKED)
            .filter(|(number, no)| {
                let run = self.runs.get(number);
                let is_one = |run: &Run| {
                    let hold = run.instance(*no).state.hold();
                    hold.is_some_and(|hold| takes(run, *no, hold))
                };
                run.is_some_and(|run| is_one(run))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        let more = u32::try_from(found.len().saturating_sub(NAMED)).unwrap_or(u32::MAX);
        let named = found.into_iter().take(NAMED);
        Holders { named: named.filter_map(|(number, no)| self.holder(number, no)).collect(), more }
    }

    fn holder(&self, number: RunNo, no: InstanceNo) -> Option<Holder> {
        let run = self.runs.get(&number)?;
        let instance = run.instance(no);
        let (TaskState::Queued { token, hold, .. } | TaskState::Running { token, hold, .. }) =
            &instance.state
        else {
            return None;
        };
        Some(Holder {
            dag_id: run.key().dag_id.clone(),
            run_id: run.key().run_id.clone(),
            task_id: run.spec(no).task_id.clone(),
            map_index: instance.map_index,
            try_number: token.try_number,
            slots: hold.slots,
            executor: instance.state.executor().cloned(),
        })
    }
}
