//! Marking tasks and runs, and notes on runs: commands about runs that may be over.
use dagbok_events::{DagId, Fact, RunId, RunKey, RunMark, RunMarked, RunNoted, Scope, Timestamp};
use dagbok_protocol::{Command, MarkTasks, RefusalCode, limits::NOTE_BYTES};

use super::clear::unknown_of;
use crate::{
    namespace::{Decision, Namespace, Outcome, accepted, answering, refuse, unchanged},
    run::{Marking, Phase, ending_of},
};

impl Namespace {
    pub(super) fn mark_tasks(&self, at: Timestamp, command: &Command, ask: &MarkTasks) -> Decision {
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() };
        let run = match self.run_to_change(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        if ask.task_ids.is_empty() && ask.copies.is_empty() {
            let why = "no task is named: say which tasks are to be marked".to_owned();
            return refuse(RefusalCode::Invalid, why);
        }
        if let Some(why) = unknown_of(run, &ask.task_ids, &ask.copies) {
            return refuse(RefusalCode::TaskNotFound, why);
        }
        let marked = run.to_mark(Marking {
            task_ids: &ask.task_ids,
            copies: &ask.copies,
            state: ask.state,
            upstream: ask.upstream,
            downstream: ask.downstream,
        });
        if ask.dry_run {
            let over = matches!(run.phase(), Phase::Over(_));
            let run_goes_on = over && !marked.tasks.is_empty();
            let (tasks, cleared) = (marked.tasks, marked.cleared);
            let outcome = Outcome::WouldMark { run_goes_on, tasks, cleared };
            return Decision { records: Vec::new(), outcome };
        }
        if marked.tasks.is_empty() {
            return unchanged();
        }
        let facts = run.mark_facts(at, ask.state, marked);
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    pub(super) fn mark_run(
        &self,
        at: Timestamp,
        command: &Command,
        (dag_id, run_id): (&DagId, &RunId),
        state: RunMark,
    ) -> Decision {
        let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
        if let Some(run) = self.run(&key) {
            let facts = run.end_facts(state);
            return accepted(vec![answering(command, at, Scope::Run(key), facts)]);
        }
        let Some(ending) = self.past_ending(&key) else { return self.no_run(&key) };
        if ending == ending_of(state) {
            return unchanged();
        }
        let marked = RunMarked { state, was: ending.was(), teardowns_left: false };
        let facts = vec![Fact::RunMarked(marked)];
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    pub(super) fn note_run(
        &self,
        at: Timestamp,
        command: &Command,
        (dag_id, run_id): (&DagId, &RunId),
        note: Option<&str>,
    ) -> Decision {
        let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
        let run = match self.any_run(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        if let Some(bytes) = note.map(str::len).filter(|bytes| *bytes > NOTE_BYTES) {
            let why = format!("the note has {bytes} bytes, at most {NOTE_BYTES} are kept");
            return refuse(RefusalCode::Invalid, why);
        }
        let was = run.meta().note.clone();
        if was.as_deref() == note {
            return unchanged();
        }
        let facts = vec![Fact::RunNoted(RunNoted { note: note.map(str::to_owned), was })];
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }
}
