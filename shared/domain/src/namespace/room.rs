//! How much room is left while a plan is made: every limit that spans tasks and runs, in one place.
use std::collections::BTreeMap;

use dagbok_events::{DagId, PoolName, TaskId};

use super::{Dag, Namespace, RunNo, pool::Pool};
use crate::run::{Cap, InstanceNo, LineNo};

/// What has no room for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The namespace: `parallelism`.
    All,
    /// The DAG: `max_active_tasks`, or it is paused.
    Dag,
    /// The pool, for so many slots; or there is none.
    Pool,
    /// The task, over all runs: `max_active_tis_per_dag`.
    Task,
    /// The task in its run: `max_active_tis_per_dagrun`.
    Run,
}

/// The room.
pub(super) struct Room<'a> {
    namespace: &'a Namespace,
    tries: u32,
    pools: BTreeMap<&'a PoolName, Option<u64>>,
    dags: BTreeMap<&'a DagId, u32>,
    /// Tries taken of each task; versions of a DAG may differ in how many may be.
    tasks: BTreeMap<(&'a DagId, &'a TaskId), u32>,
    runs: BTreeMap<(RunNo, LineNo), u32>,
    /// What each DAG has, whatever its limit is.
    boundless: bool,
}

impl<'a> Room<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        let tries = namespace.limits.parallelism.saturating_sub(namespace.in_flight);
        let (pools, dags) = (BTreeMap::new(), BTreeMap::new());
        let (tasks, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { namespace, tries, pools, dags, tasks, runs, boundless: false }
    }

    /// As if there were room for all in one pool, but for limits of single tasks, and none in any other: who would
    /// go before whom.
    pub(super) fn boundless_in(namespace: &'a Namespace, pool: &PoolName) -> Self {
        let pools = namespace.index.lanes.orders.keys();
        let pools = pools.map(|it| (it, (it == pool).then_some(u64::MAX))).collect();
        Self { tries: u32::MAX, pools, boundless: true, ..Self::new(namespace) }
    }

    /// Whether no task at all has room.
    pub(super) const fn is_full(&self) -> bool {
        self.tries == 0
    }

    /// The tries that a DAG may have more.
    pub(super) fn in_dag(&mut self, dag_id: &'a DagId) -> u32 {
        let (namespace, boundless) = (self.namespace, self.boundless);
        let room = |dag: &Dag| if boundless { u32::MAX } else { dag.room() };
        let left = || namespace.dags.get(dag_id).map_or(0, |dag| room(dag));
        *self.dags.entry(dag_id).or_insert_with(left)
    }

    /// The slots that are free; `None` where there is no such pool.
    pub(super) fn in_pool(&mut self, pool: &'a PoolName) -> Option<u64> {
        let namespace = self.namespace;
        let left = || namespace.pools.get(pool).and_then(Pool::free);
        *self.pools.entry(pool).or_insert_with(left)
    }

    fn of_task(&self, dag_id: &'a DagId, cap: &'a Cap) -> u32 {
        let Some(most) = cap.per_dag else { return u32::MAX };
        let left = self.namespace.index.lanes.cap_room(dag_id, &Some((cap.task_id.clone(), most)));
        left.saturating_sub(self.tasks.get(&(dag_id, &cap.task_id)).copied().unwrap_or(0))
    }

    fn in_run(&mut self, number: RunNo, line: LineNo) -> u32 {
        let run = &self.namespace.runs[&number];
        *self.runs.entry((number, line)).or_insert_with(|| run.room_of_line(line))
    }

    /// Takes room for a task, or says what has none, for now or for ever.
    pub(super) fn take(&mut self, number: RunNo, no: InstanceNo) -> Result<(), Full> {
        let run = &self.namespace.runs[&number];
        let (line_no, line) = run.line_of(no);
        let dag_id = &run.key().dag_id;
        let free = self.in_pool(&line.pool).ok_or(Full::Pool)?;
        let free = free.checked_sub(u64::from(line.slots)).ok_or(Full::Pool)?;
        if self.tries == 0 {
            return Err(Full::All);
        }
        let in_dag = self.in_dag(dag_id).checked_sub(1).ok_or(Full::Dag)?;
        if let Some(cap) = &line.cap {
            if self.of_task(dag_id, cap) == 0 {
                return Err(Full::Task);
            }
            let in_run = self.in_run(number, line_no).checked_sub(1).ok_or(Full::Run)?;
            self.runs.insert((number, line_no), in_run);
        }
        let task_id = &run.spec(no).task_id;
        if self.namespace.index.lanes.is_capped(dag_id, task_id) {
            *self.tasks.entry((dag_id, task_id)).or_default() += 1;
        }
        self.tries -= 1;
        self.dags.insert(dag_id, in_dag);
        self.pools.insert(&line.pool, Some(free));
        Ok(())
    }
}
