//! The second opinion on limits: runs of a DAG, slots of pools, tries in flight.
use dagbok_events::{DagId, Fact, PoolName, PoolSet, Record, RunId, RunKey, Scope};

use super::{
    Audit, Finding,
    run::{RunModel, Stage},
};

impl Audit {
    pub(super) fn check_limits(&self, record: &Record) -> Finding {
        let Scope::Run(key) = &record.scope else { return Ok(()) };
        let queues = |pool: &PoolName| {
            let of_pool = |fact: &Fact| matches!(fact, Fact::TaskQueued(f) if f.pool == *pool);
            record.facts.iter().any(of_pool)
        };
        let running = |run: &&RunModel| matches!(run.stage, Stage::Running(_) | Stage::Ending);
        if record.facts.iter().any(|fact| matches!(fact, Fact::RunStarted(_))) {
            let of_dag = self.runs.range(first_of(&key.dag_id)..);
            let of_dag = of_dag.take_while(|(it, _)| it.dag_id == key.dag_id).map(|(_, run)| run);
            let own = |run: &&RunModel| run.backfill.is_none();
            let count = of_dag.filter(running).filter(own).count();
            let dag = &self.dags[&key.dag_id];
            let most = dag.versions[&dag.current].max_active_runs as usize;
            let begins = self.runs.get(key).is_some_and(|run| own(&run));
            if begins && most > 0 && count > most {
                return Err(format!("{count} runs are running, {most} may"));
            }
            self.check_backfill_limit(key)?;
        }
        if !record.facts.iter().any(|fact| matches!(fact, Fact::TaskQueued(_))) {
            return Ok(());
        }
        let of_none = |fact: &Fact| match fact {
            Fact::TaskQueued(f) if !self.pools.contains_key(&f.pool) => Some(f.pool.clone()),
            _ => None,
        };
        if let Some(pool) = record.facts.iter().find_map(of_none) {
            return Err(format!("a task was queued though there is no pool {pool}"));
        }
        for (pool, slots) in &self.pools {
            let used: u64 = self.runs.values().map(|run| run.slots_used(pool)).sum();
            if queues(pool) && used > u64::from(*slots) && *slots != PoolSet::UNLIMITED {
                return Err(format!("pool {pool} has {slots} slots and {used} are used"));
            }
        }
        let in_flight: usize = self.runs.values().map(RunModel::in_flight).sum();
        if in_flight > self.parallelism as usize {
            return Err(format!("{in_flight} tries are in flight, {} may", self.parallelism));
        }
        let of_dag = self.runs.iter().filter(|(it, _)| it.dag_id == key.dag_id);
        let in_flight: usize = of_dag.map(|(_, run)| run.in_flight()).sum();
        let dag = &self.dags[&key.dag_id];
        let most = dag.versions[&dag.current].max_active_tasks as usize;
        if in_flight > most {
            return Err(format!("{in_flight} tries of the DAG are in flight, {most} may"));
        }
        self.check_caps(key, record)
    }

    /// The limits of single tasks, as each run's own version of the DAG has them.
    fn check_caps(&self, key: &RunKey, record: &Record) -> Finding {
        for fact in &record.facts {
            let Fact::TaskQueued(f) = fact else { continue };
            let of_dag = self.runs.iter().filter(|(it, _)| it.dag_id == key.dag_id);
            let all: usize = of_dag.map(|(_, run)| run.in_flight_of(&f.task_id)).sum();
            let run = &self.runs[key];
            let Some(task) = run.tasks.iter().find(|task| task.spec.task_id == f.task_id) else {
                continue;
            };
            let one = run.in_flight_of(&f.task_id);
            let over =
                |most: Option<u32>, count: usize| most.is_some_and(|most| count > most as usize);
            if over(task.spec.max_active_tis_per_dag, all)
                || over(task.spec.max_active_tis_per_dagrun, one)
            {
                let task_id = &f.task_id;
                return Err(format!("{task_id} has {all} tries in flight, {one} in one run"));
            }
        }
        Ok(())
    }
}

fn first_of(dag_id: &DagId) -> RunKey {
    // No run id sorts before this one.
    let run_id = RunId::new("+").expect("a run id");
    RunKey { dag_id: dag_id.clone(), run_id }
}
