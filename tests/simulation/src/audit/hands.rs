//! The second opinion on who is there to begin what is offered. No executor of the simulation is cordoned or has
//! anything but slots, and no task asks for more.
use dagbok_events::{ExecutorId, Fact, QueueName};
use dagbok_protocol::Reason;

use super::{
    Audit,
    run::RunModel,
    task::{CopyModel, Stand, TaskModel},
};

impl Audit {
    pub(super) fn executor(&mut self, id: &ExecutorId, fact: &Fact) {
        match fact {
            Fact::ExecutorJoined(f) => {
                self.executors.insert(id.clone(), (f.slots, f.queues.clone()));
            }
            Fact::ExecutorLeft(_) => drop(self.executors.remove(id)),
            _ => {}
        }
    }

    /// Those that pull from a queue, with how many more tries each could take.
    fn pulling(&self, queue: &QueueName) -> Vec<usize> {
        let pulls = self.executors.iter().filter(|(_, (_, queues))| queues.contains(queue));
        let free = |(id, (slots, _)): (&ExecutorId, &(u32, Vec<QueueName>))| {
            let held = self.runs.values().flat_map(RunModel::holders).filter(|by| *by == id);
            (*slots as usize).saturating_sub(held.count())
        };
        pulls.map(free).collect()
    }

    /// How many tries were offered on a queue before one: at the least, and with those of the same instant.
    fn offered_before(
        &self,
        queue: &QueueName,
        copy: &CopyModel,
    ) -> std::ops::RangeInclusive<usize> {
        let all = self.runs.values().flat_map(RunModel::copies);
        let queued: Vec<_> = all
            .filter(|(task, it)| task.spec.queue == *queue && matches!(it.stand, Stand::Queued(_)))
            .map(|(_, it)| it.queued_at)
            .collect();
        let before = queued.iter().filter(|at| **at < copy.queued_at).count();
        let with = queued.iter().filter(|at| **at <= copy.queued_at).count();
        before..=with.saturating_sub(1)
    }

    /// Whether what is said of who could begin an offered try is so.
    pub(super) fn is_offered_so(
        &self,
        task: &TaskModel,
        copy: &CopyModel,
        reason: &Reason,
    ) -> bool {
        let queue = &task.spec.queue;
        let free = self.pulling(queue);
        let all = |of: &QueueName, executors: u32| of == queue && executors as usize == free.len();
        let told = match reason {
            Reason::NoExecutor { queue: of, others } => {
                let others_there = self.executors.values().filter(|(slots, _)| *slots > 0).count();
                all(of, 0) && *others as usize == others_there
            }
            Reason::Offered { queue: of, executors } => {
                all(of, *executors) && free.iter().any(|free| *free > 0)
            }
            Reason::ExecutorsFull { queue: of, executors, before, holders } => {
                let pulls = |id: &ExecutorId| {
                    self.executors.get(id).is_some_and(|(_, queues)| queues.contains(queue))
                };
                let held = self.runs.values().flat_map(RunModel::holders).filter(|by| pulls(by));
                all(of, *executors)
                    && !free.is_empty()
                    && free.iter().all(|free| *free == 0)
                    && self.offered_before(queue, copy).contains(&(*before as usize))
                    && holders.named.len() + holders.more as usize == held.count()
            }
            _ => false,
        };
        told && matches!(copy.stand, Stand::Queued(_))
    }
}
