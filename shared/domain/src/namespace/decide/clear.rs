//! Clearing tasks, and deleting runs: commands about runs that may be over.
use dagbok_events::{DagId, Fact, RunDeleted, RunId, RunKey, Scope, TaskId, Timestamp};
use dagbok_protocol::{ClearTasks, Command, OnRunning, RefusalCode, TaskCopy};

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
        let run = match self.run_to_change(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        if let Some(why) = unknown_of(run, &ask.task_ids, &ask.copies) {
            return refuse(RefusalCode::TaskNotFound, why);
        }
        let tasks = run.to_clear(Clearing {
            task_ids: &ask.task_ids,
            copies: &ask.copies,
            only_failed: ask.only_failed,
            only_running: ask.only_running,
            upstream: ask.upstream,
            downstream: ask.downstream,
            running: ask.running,
        });
        if ask.running == OnRunning::Refuse
            && !ask.dry_run
            && let running = run.in_flight_of(&tasks)
            && !running.is_empty()
        {
            let named = running[..running.len().min(10)].join(", ");
            let why = format!(
                "{} of the tasks to clear in run {key} run now, or are queued ({named}): wait for them, or ask for \
                 them to be ended and begun anew (`--kill`)",
                running.len()
            );
            return refuse(RefusalCode::TaskRunning, why);
        }
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

    /// The same of a DAG that is there.
    pub(super) fn run_to_change(&self, key: &RunKey) -> Result<&Run, Decision> {
        let run = self.any_run(key)?;
        let gone = self.dags.get(&key.dag_id).is_none_or(|dag| dag.gone);
        if gone { Err(no_dag(&key.dag_id)) } else { Ok(run) }
    }

    /// A run, over or not; else the decision that there is none, or that it must be revived first.
    pub(super) fn any_run(&self, key: &RunKey) -> Result<&Run, Decision> {
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

/// What of these a run does not have, in words.
pub(super) fn unknown_of(run: &Run, task_ids: &[TaskId], copies: &[TaskCopy]) -> Option<String> {
    if let Some(unknown) = task_ids.iter().find(|it| run.version().find(it).is_none()) {
        return Some(format!("run {} has no task {unknown}", run.key()));
    }
    let is_unknown = |it: &&TaskCopy| run.find(&it.task_id, it.map_index).is_none();
    copies.iter().find(is_unknown).map(|unknown| no_copy(run, unknown))
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
