//! Tries that are queued and that nobody begins. Only that time counts in which somebody could have: an executor of
//! their queue had a free slot, or there was none at all. What waits because all of them are busy waits for room,
//! however long that takes.
//!
//! Airflow takes such a try back and offers it again, twice in a row, and fails the task then
//! (`task_queued_timeout`, `num_stuck_in_queued_retries`). Here it is lost, and another number follows: somebody may
//! have begun it who can't say so.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    Actor, ExecutorId, ExecutorJoined, ExecutorName, LostWhy, Micros, QueueName, Record, Resources,
    Scope, Timestamp,
};

use dagbok_protocol::{Cordon, lacking, less};

use super::{Executor, Namespace, Proposal, RunNo, decide::Loss, own};
use crate::run::{Change, InstanceNo, Run, TaskState};

/// Tries that one record may give up: bounds its size.
const GIVEN_UP_PER_RECORD: usize = 256;

/// Every queue that has tries or executors.
#[derive(Clone, Debug, Default)]
pub(super) struct Queued {
    queues: BTreeMap<QueueName, Waiting>,
}

/// One queue.
#[derive(Clone, Debug)]
struct Waiting {
    /// By when they were queued.
    tries: BTreeSet<(Timestamp, RunNo, InstanceNo)>,
    /// Executors that pull from it.
    executors: u32,
    /// Those of them that have a free slot.
    with_room: u32,
    /// Since when what waits could have been begun, where it could be.
    since: Timestamp,
}

impl Default for Waiting {
    fn default() -> Self {
        let (executors, with_room, since) = (0, 0, Timestamp(i64::MIN));
        Self { tries: BTreeSet::new(), executors, with_room, since }
    }
}

impl Waiting {
    /// Whether time counts: somebody has room, or nobody is there.
    const fn counts(&self) -> bool {
        self.executors == 0 || self.with_room > 0
    }

    /// Whether a try that was queued then waited for too long at `now`.
    fn is_overdue(&self, queued_at: Timestamp, now: Timestamp, timeout: Micros) -> bool {
        let before = Timestamp(now.0.saturating_sub(timeout.0));
        self.counts() && self.since <= before && queued_at <= before
    }

    /// Those that waited for too long at `now`.
    fn overdue(
        &self,
        now: Timestamp,
        timeout: Micros,
    ) -> impl Iterator<Item = &(Timestamp, RunNo, InstanceNo)> {
        let before = Timestamp(now.0.saturating_sub(timeout.0));
        let counts = self.counts() && self.since <= before;
        let last = (before, RunNo::MAX, InstanceNo::MAX);
        self.tries.range(..=last).take_while(move |_| counts)
    }

    /// When the next one will have, after `now`.
    fn next_due(&self, now: Timestamp, timeout: Micros) -> Option<Timestamp> {
        let before = Timestamp(now.0.saturating_sub(timeout.0));
        let first = if self.since > before {
            self.tries.first()
        } else {
            let from = (before, RunNo::MAX, InstanceNo::MAX);
            self.tries.range((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded)).next()
        };
        let due = first.map(|(at, ..)| (*at).max(self.since).plus(timeout));
        due.filter(|due| self.counts() && *due > now)
    }
}

impl Queued {
    /// When the next try will have waited for too long.
    pub(super) fn next_due(&self, now: Timestamp, timeout: Micros) -> Option<Timestamp> {
        let queues = self.queues.values().filter(|_| timeout.0 > 0);
        queues.filter_map(|queue| queue.next_due(now, timeout)).min()
    }

    /// How many executors pull from a queue, and how many of them have a free slot.
    pub(super) fn executors_of(&self, queue: &QueueName) -> (u32, u32) {
        self.queues.get(queue).map_or((0, 0), |it| (it.executors, it.with_room))
    }

    /// The tries that were queued on a queue before one.
    pub(super) fn before(
        &self,
        queue: &QueueName,
        place: (Timestamp, RunNo, InstanceNo),
    ) -> impl Iterator<Item = &(Timestamp, RunNo, InstanceNo)> {
        self.queues.get(queue).into_iter().flat_map(move |it| it.tries.range(..place))
    }

    /// Every try that is queued.
    pub(super) fn tries(&self) -> impl Iterator<Item = (RunNo, InstanceNo)> + '_ {
        self.queues.values().flat_map(|it| it.tries.iter().map(|(_, number, no)| (*number, *no)))
    }

    fn change(&mut self, queue: &QueueName, change: impl FnOnce(&mut Waiting)) {
        // Mostly it is there: no name is copied for it.
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.clone(), Waiting::default());
        }
        let waiting = self.queues.get_mut(queue).expect("it was put in where it lacked");
        change(waiting);
        if waiting.executors == 0 && waiting.tries.is_empty() {
            self.queues.remove(queue);
        }
    }

    /// A try was queued, or is queued no longer.
    pub(super) fn note(&mut self, number: RunNo, change: &Change) {
        if let Some((at, queue)) = &change.was_queued {
            self.change(queue, |it| {
                it.tries.remove(&(*at, number, change.no));
            });
        }
        if let Some((at, queue)) = &change.queued {
            self.change(queue, |it| {
                it.tries.insert((*at, number, change.no));
            });
        }
    }

    /// A try that a snapshot has as queued.
    pub(super) fn restore(&mut self, queue: &QueueName, entry: (Timestamp, RunNo, InstanceNo)) {
        self.change(queue, |it| {
            it.tries.insert(entry);
        });
    }

    /// An executor comes, gets or loses its last free slot, or goes: how it stood and stands with its queues, as
    /// whether it is there and whether it has room.
    fn moved(&mut self, queues: &[QueueName], from: (bool, bool), to: (bool, bool), at: Timestamp) {
        for queue in queues {
            self.change(queue, |it| {
                let counted = it.counts() && it.executors > 0;
                let step = |count: &mut u32, was: bool, is: bool| match (was, is) {
                    (false, true) => *count += 1,
                    (true, false) => *count = count.saturating_sub(1),
                    (false, false) | (true, true) => {}
                };
                step(&mut it.executors, from.0, to.0);
                step(&mut it.with_room, from.1, to.1);
                // Who just came, or has room again, is given as long as anybody.
                if it.counts() && !counted {
                    it.since = at;
                }
            });
        }
    }

    /// The clock was ahead when what it now calls later than `to` came about: time counts from there.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        self.queues.values_mut().for_each(|it| it.since = it.since.min(to));
    }

    /// Since when each queue's tries could have been begun, for a snapshot.
    pub(super) fn saved(&self) -> BTreeMap<QueueName, Timestamp> {
        self.queues.iter().map(|(name, it)| (name.clone(), it.since)).collect()
    }
}

/// Which executor, its slots, queues and resources, when it had some of them free again, what it is called, whose part it is, and
/// whether it said that it is full.
pub(super) type SavedExecutor = (
    ExecutorId,
    u32,
    Vec<QueueName>,
    Resources,
    Timestamp,
    Option<ExecutorName>,
    Option<ExecutorName>,
    bool,
);

impl Executor {
    /// For a snapshot; what it holds is with the runs.
    pub(super) fn saved(&self, id: &ExecutorId) -> SavedExecutor {
        let (queues, resources) = (self.queues.clone(), self.resources.clone());
        let (name, part_of) = (self.name.clone(), self.part_of.clone());
        (id.clone(), self.slots, queues, resources, self.freed_at, name, part_of, self.full)
    }

    /// From one.
    pub(super) fn restored(
        (id, slots, queues, resources, freed_at, name, part_of, full): SavedExecutor,
        cordons: &BTreeMap<ExecutorName, Cordon>,
    ) -> (ExecutorId, Self) {
        let cordoned = name.as_ref().is_some_and(|name| cordons.contains_key(name));
        let holds = BTreeSet::new();
        (id, Self { holds, full, part_of, slots, queues, resources, name, cordoned, freed_at })
    }

    fn has_room(&self) -> bool {
        !self.cordoned && !self.full && self.holds.len() < self.slots as usize
    }
}

impl Namespace {
    /// Changes what an executor holds, or what is known of it.
    pub(super) fn change_executor(&mut self, id: &ExecutorId, change: impl FnOnce(&mut Executor)) {
        let executor = self.executors.entry(id.clone()).or_default();
        let stands = |it: &Executor| (it.slots > 0, it.has_room());
        let (before, held, full) = (stands(executor), executor.holds.len(), executor.full);
        change(executor);
        // Who waits for what it has is given as long from here as anybody.
        let is_freed = executor.holds.len() < held || full && !executor.full;
        if before.0 != (executor.slots > 0) || is_freed {
            executor.freed_at = self.clock;
        }
        let after = stands(executor);
        if before != after {
            let queues = executor.queues.clone();
            self.queued.moved(&queues, before, after, self.clock);
        }
    }

    /// An executor came, or says anew what it is.
    pub(super) fn join(&mut self, id: &ExecutorId, f: &ExecutorJoined) {
        self.change_executor(id, |executor| executor.slots = 0);
        let name = f.called();
        let cordoned = self.cordons.contains_key(&name);
        self.change_executor(id, |executor| {
            (executor.name, executor.cordoned, executor.full) = (Some(name), cordoned, false);
            executor.part_of.clone_from(&f.part_of);
            executor.slots = f.slots;
            executor.resources = f.resources.clone();
            executor.queues.clone_from(&f.queues);
            executor.queues.sort_unstable();
            executor.queues.dedup();
        });
    }

    /// An executor is gone.
    pub(super) fn leave(&mut self, id: &ExecutorId) {
        if self.executors.contains_key(id) {
            self.change_executor(id, |executor| executor.slots = 0);
            self.executors.remove(id);
        }
    }

    /// Counts, once a snapshot is whole, who pulls from which queue and has room; and since when.
    pub(super) fn restore_room(&mut self, since: BTreeMap<QueueName, Timestamp>) {
        for executor in self.executors.values().filter(|executor| executor.slots > 0) {
            let to = (true, executor.has_room());
            self.queued.moved(&executor.queues, (false, false), to, Timestamp(i64::MIN));
        }
        for (queue, since) in since {
            if let Some(waiting) = self.queued.queues.get_mut(&queue) {
                waiting.since = since;
            }
        }
    }

    /// Who pulls from a queue.
    pub(super) fn pulling<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> impl Iterator<Item = &'a Executor> {
        self.executors.values().filter(move |it| it.slots > 0 && it.queues.contains(queue))
    }

    /// What the tries that an executor runs leave free of what they can use together.
    pub(super) fn free_of(&self, executor: &Executor) -> Resources {
        let mut free = executor.resources.clone();
        for (number, no) in &executor.holds {
            if let Some(run) = self.runs.get(number).filter(|run| run.knows(*no)) {
                free = less(free, &run.spec(*no).resources);
            }
        }
        free
    }

    /// Whether no executor has had free for long enough what a try asks for besides a slot. Where nobody is there at
    /// all, time counts as it does for others.
    fn waits_for_resources(&self, number: RunNo, no: InstanceNo, now: Timestamp) -> bool {
        let Some(run) = self.runs.get(&number).filter(|run| run.knows(no)) else { return false };
        let asked = &run.spec(no).resources;
        let Some(hold) = run.instance(no).state.hold() else { return false };
        if *asked == Resources::default() || self.pulling(&hold.queue).next().is_none() {
            return false;
        }
        let before = Timestamp(now.0.saturating_sub(self.limits.task_queued_timeout.0));
        let had = |it: &Executor| {
            !it.cordoned && it.freed_at <= before && lacking(&self.free_of(it), asked).is_none()
        };
        !self.pulling(&hold.queue).any(had)
    }

    /// What to give up now.
    pub(super) fn plan_to_give_up(&self, now: Timestamp) -> Vec<Proposal> {
        let timeout = self.limits.task_queued_timeout;
        let mut by_run: BTreeMap<RunNo, Vec<InstanceNo>> = BTreeMap::new();
        let queues = self.queued.queues.values().filter(|_| timeout.0 > 0);
        for (_, number, no) in queues.flat_map(|queue| queue.overdue(now, timeout)) {
            if self.waits_for_resources(*number, *no, now) {
                continue;
            }
            if self.runs.get(number).is_some_and(|run| !run.timed_out(now)) {
                by_run.entry(*number).or_default().push(*no);
            }
        }
        let chunks = by_run.into_iter().flat_map(|(number, tries)| {
            let parts: Vec<_> = tries.chunks(GIVEN_UP_PER_RECORD).map(<[_]>::to_vec).collect();
            parts.into_iter().map(move |part| Proposal::GiveUpQueued(number, part))
        });
        // Of each run one record: what follows from it may end the others.
        let mut last = None;
        chunks
            .filter(|it| {
                let Proposal::GiveUpQueued(number, _) = it else { return false };
                last.replace(*number) != Some(*number)
            })
            .collect()
    }

    /// Gives up tries of a run that nobody began in time.
    pub(super) fn give_up_queued(
        &self,
        at: Timestamp,
        number: RunNo,
        tries: &[InstanceNo],
    ) -> Option<Record> {
        let timeout = self.limits.task_queued_timeout;
        let run = self.runs.get(&number).filter(|_| timeout.0 > 0)?;
        let (mut then, mut facts) = (Run::clone(run), Vec::new());
        for no in tries.iter().filter(|no| run.knows(**no)) {
            let TaskState::Queued { token, at: since, hold, .. } = &then.instance(*no).state else {
                continue;
            };
            let queue = self.queued.queues.get(&hold.queue);
            if !queue.is_some_and(|it| it.is_overdue(*since, at, timeout))
                || self.waits_for_resources(number, *no, at)
            {
                continue;
            }
            let loss = Loss::found(*token, None, LostWhy::QueuedTooLong);
            // What follows from one must see the one before it folded in.
            let follows = self.lost_facts(&then, *no, loss, at);
            for fact in &follows {
                then.evolve(self.last_seq, at, fact);
            }
            facts.extend(follows);
        }
        let scope = Scope::Run(run.key().clone());
        (!facts.is_empty()).then(|| own(at, Actor::Scheduler, scope, None, facts))
    }
}
