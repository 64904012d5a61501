//! Clearing tasks, and deleting runs: commands about runs that may be over.
use dagbok_events::{DagId, Fact, RunDeleted, RunId, RunKey, Scope, Timestamp};
use dagbok_protocol::{ClearTasks, Command, RefusalCode, TaskCopy};

use super::runs::no_dag;
use crate::{
    namespace::{Decision, Namespace, Outcome, accepted, answering, refuse, unchanged},
    run::{Clearing, Phase, Run},
};

impl Namespace {
    pub(super) fn clear_tasks(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &ClearTasks,
    ) -> Decision {
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() };
        let run = match self.any_run(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        if self.dags.get(&key.dag_id).is_none_or(|dag| dag.gone) {
            return no_dag(&key.dag_id);
        }
        if let Some(unknown) = ask.task_ids.iter().find(|it| run.version().find(it).is_none()) {
            let why = format!("run {key} has no task {unknown}");
            return refuse(RefusalCode::TaskNotFound, why);
        }
        let is_unknown = |it: &&TaskCopy| run.find(&it.task_id, it.map_index).is_none();
        if let Some(unknown) = ask.copies.iter().find(is_unknown) {
            return refuse(RefusalCode::TaskNotFound, no_copy(run, unknown));
        }
        let (task_ids, copies) = (&ask.task_ids, &ask.copies);
        let clearing = Clearing { task_ids, copies, only_failed: ask.only_failed };
        let tasks = run.to_clear(clearing);
        if ask.dry_run {
            let over = matches!(run.phase(), Phase::Over(_) | Phase::Ending { .. });
            let outcome = Outcome::WouldClear { run_goes_on: over && !tasks.is_empty(), tasks };
            return Decision { records: Vec::new(), outcome };
        }
        if tasks.is_empty() {
            return unchanged();
        }
        let facts = run.clear_facts(at, tasks);
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    pub(super) fn delete(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: &DagId,
        run_id: &RunId,
    ) -> Decision {
        let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
        if self.run(&key).is_some() {
            let why = format!("run {key} is not over; cancel it first");
            return refuse(RefusalCode::RunActive, why);
        }
        let run = match self.any_run(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        let logical_date = run.meta().logical_date;
        let tries = run.instances().map(|(_, instance)| instance.tries).max().unwrap_or(0);
        let facts = vec![Fact::RunDeleted(RunDeleted { logical_date, tries })];
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    /// A run, over or not; else the decision that there is none, or that it must be revived first.
    fn any_run(&self, key: &RunKey) -> Result<&Run, Decision> {
        if let Some(run) = self.run(key) {
            return Ok(run);
        }
        if self.past_ending(key).is_none() {
            return Err(self.no_run(key));
        }
        let needs = || Decision { records: Vec::new(), outcome: Outcome::Needs(key.clone()) };
        self.revived_run(key).ok_or_else(needs)
    }
}

/// What is said of a copy that a run does not have.
fn no_copy(run: &Run, wanted: &TaskCopy) -> String {
    let TaskCopy { task_id, map_index } = wanted;
    let key = run.key();
    match run.version().find(task_id).map(|node| run.copies_named(node)) {
        None => format!("run {key} has no task {task_id}"),
        Some(None) => {
            format!("task {task_id} of run {key} has no copies: name it without a map index")
        }
        Some(Some(count)) => {
            let last = count - 1;
            format!(
                "task {task_id} of run {key} has no copy {}: they go from 0 to {last}",
                map_index.0
            )
        }
    }
}
