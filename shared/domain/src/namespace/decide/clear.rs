//! Clearing tasks, and deleting runs: commands about runs that may be over.
use dagbok_events::{DagId, Fact, RunId, RunKey, Scope, TaskId, Timestamp};
use dagbok_protocol::{ClearTasks, ClearedTask, Command, OnRunning, RefusalCode, TaskCopy};

use super::runs::no_dag;
use crate::{
    namespace::{Decision, Namespace, Outcome, accepted, answering, refuse, unchanged},
    run::{Clearing, Moved, Phase, Run},
};

impl Namespace {
    pub(super) fn clear_tasks(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &ClearTasks,
    ) -> Decision {
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() };
        let own = match self.run_to_change(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        let moved = self.on_latest(at, own).filter(|_| ask.on_latest_version);
        if moved.is_some() && !matches!(own.phase(), Phase::Over(_)) {
            return refuse(RefusalCode::RunActive, not_over(own));
        }
        let run = moved.as_ref().map_or(own, |moved| &moved.run);
        if let Some(why) = unknown_of(run, &ask.task_ids, &ask.copies) {
            return refuse(RefusalCode::TaskNotFound, why);
        }
        let clearing = Clearing {
            task_ids: &ask.task_ids,
            copies: &ask.copies,
            only_failed: ask.only_failed,
            only_running: ask.only_running,
            upstream: ask.upstream,
            downstream: ask.downstream,
            running: ask.running,
        };
        let to_clear = |moved: &Moved| moved.to_clear(clearing);
        let tasks = moved.as_ref().map_or_else(|| run.to_clear(clearing), to_clear);
        if ask.running == OnRunning::Refuse
            && !ask.dry_run
            && let Some(why) = running_of(run, &tasks)
        {
            return refuse(RefusalCode::TaskRunning, why);
        }
        let goes_on = !tasks.is_empty() || moved.as_ref().is_some_and(Moved::adds);
        if ask.dry_run {
            let over = matches!(run.phase(), Phase::Over(_) | Phase::Ending { .. });
            let version = moved.map(|moved| Box::new(moved.change));
            let outcome = Outcome::WouldClear { run_goes_on: over && goes_on, tasks, version };
            return Decision { records: Vec::new(), outcome };
        }
        if !goes_on {
            return unchanged();
        }
        let cleared = run.clear_facts(at, tasks);
        let facts = moved.map(|moved| moved.facts).into_iter().flatten().chain(cleared);
        accepted(vec![answering(command, at, Scope::Run(key), facts.collect())])
    }

    /// A run as it goes on with the newest version of its DAG, and the newest code; nothing where it has these.
    pub(super) fn on_latest(&self, at: Timestamp, run: &Run) -> Option<Moved> {
        let dag = self.dags.get(&run.key().dag_id)?;
        run.moved_to(at, &dag.current, &dag.bundle)
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
        let dag = self.dags.get(dag_id).filter(|_| self.past_ending(&key).is_some());
        let Some(dag) = dag else { return self.no_run(&key) };
        let facts = vec![Fact::RunDeleted(dag.kept.deletion_of(run_id))];
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

/// What is said of tasks of a run that are to be cleared, where some are in flight.
fn running_of(run: &Run, tasks: &[ClearedTask]) -> Option<String> {
    let running = run.in_flight_of(tasks);
    let named = running[..running.len().min(10)].join(", ");
    (!running.is_empty()).then(|| {
        format!(
            "{} of the tasks to clear in run {} run now, or are queued ({named}): wait for them, or ask for them to be \
             ended and begun anew (`--kill`)",
            running.len(),
            run.key()
        )
    })
}

/// What is said of a run that is to go on with the newest version, and goes on with its own.
fn not_over(run: &Run) -> String {
    format!(
        "run {} is not over, and goes on with version {} of its DAG: wait for its end, or cancel it; then it can be \
         cleared onto the latest version",
        run.key(),
        run.version().number
    )
}

/// What of these a run does not have, in words.
pub(super) fn unknown_of(run: &Run, task_ids: &[TaskId], copies: &[TaskCopy]) -> Option<String> {
    if let Some(unknown) = task_ids.iter().find(|it| run.version().find(it).is_none()) {
        return Some(no_task(run, unknown));
    }
    let is_unknown = |it: &&TaskCopy| run.find(&it.task_id, it.map_index).is_none();
    copies.iter().find(is_unknown).map(|unknown| no_copy(run, unknown))
}

/// What is said of a task that a run does not have.
pub(in crate::namespace) fn no_task(run: &Run, task_id: &TaskId) -> String {
    let (key, version) = (run.key(), run.version().number);
    if run.is_gone(task_id) {
        return format!(
            "task {task_id} of run {key} is removed: version {version} of the DAG, with which the run goes on, does not \
             have it"
        );
    }
    format!("run {key} has no task {task_id}")
}

/// What is said of a copy that a run does not have.
fn no_copy(run: &Run, wanted: &TaskCopy) -> String {
    let TaskCopy { task_id, map_index } = wanted;
    let key = run.key();
    match run.version().find(task_id).map(|node| run.copies_named(node)) {
        None => no_task(run, task_id),
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
