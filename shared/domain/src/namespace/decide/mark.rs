//! Marking tasks and runs, and notes on both: commands about runs that may be over.
use dagbok_events::{
    DagId, Fact, MapIndex, RunId, RunKey, RunMark, RunMarked, RunNoted, Scope, TaskNoted, Timestamp,
};
use dagbok_protocol::{
    Command, MarkTasks, NoteTask, RefusalCode, TaskCopy,
    limits::{NOTE_BYTES, NOTED_AT_ONCE},
};

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
            // That it is to have failed is what cancelling says: two ways of ending a run would differ some day.
            if state == RunMark::Failed {
                return self.cancel(at, command, dag_id, run_id);
            }
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
        if let Some(why) = too_long(note) {
            return refuse(RefusalCode::Invalid, why);
        }
        let was = run.meta().note.clone();
        if was.as_deref() == note {
            return unchanged();
        }
        let facts = vec![Fact::RunNoted(RunNoted { note: note.map(str::to_owned), was })];
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    pub(super) fn note_task(&self, at: Timestamp, command: &Command, ask: &NoteTask) -> Decision {
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() };
        let run = match self.any_run(&key) {
            Ok(run) => run,
            Err(decision) => return decision,
        };
        let (task_id, note) = (&ask.task_id, ask.note.as_ref());
        if let Some(why) = too_long(note.map(String::as_str)) {
            return refuse(RefusalCode::Invalid, why);
        }
        let copy = |map_index| TaskCopy { task_id: task_id.clone(), map_index };
        let named: Vec<TaskCopy> = ask.map_index.map(copy).into_iter().collect();
        if let Some(why) = unknown_of(run, std::slice::from_ref(task_id), &named) {
            return refuse(RefusalCode::TaskNotFound, why);
        }
        let copies = run.version().find(task_id).map_or(0..0, |node| run.copies(node));
        if named.is_empty() && copies.len() > NOTED_AT_ONCE {
            let why = format!(
                "task {task_id} of run {key} has {} copies, and one request notes at most {NOTED_AT_ONCE}: name one by \
                 its map index",
                copies.len()
            );
            return refuse(RefusalCode::Invalid, why);
        }
        let meant = |at: &MapIndex| ask.map_index.is_none_or(|wanted| wanted == *at);
        let maps = copies.map(|no| run.instance(no).map_index).filter(meant);
        let noted = maps.filter_map(|map_index| {
            let was = run.note_of(task_id, map_index).map(str::to_owned);
            let (task_id, note) = (task_id.clone(), note.cloned());
            let is_new = was != note;
            is_new.then_some(Fact::TaskNoted(TaskNoted { task_id, map_index, note, was }))
        });
        let facts: Vec<Fact> = noted.collect();
        if facts.is_empty() {
            return unchanged();
        }
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }
}

fn too_long(note: Option<&str>) -> Option<String> {
    let bytes = note.map(str::len).filter(|bytes| *bytes > NOTE_BYTES)?;
    Some(format!("the note has {bytes} bytes, at most {NOTE_BYTES} are kept"))
}
