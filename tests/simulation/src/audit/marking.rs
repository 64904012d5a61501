//! The second opinion on marking: what a command says of tasks, and what is judged anew with them.
use std::collections::BTreeSet;

use dagbok_domain::run::Done;
use dagbok_events::{Fact, MapIndex, Record, RuledOut, RunKey, RunMark, Scope, TaskId, TaskMark};
use dagbok_protocol::MarkTasks;

use super::{
    Audit, Finding,
    clearing::Copies,
    run::{RunModel, Stage},
    task::{CopyModel, Stand},
};

/// How a task stands that is marked.
const fn done_of(mark: TaskMark) -> Done {
    match mark {
        TaskMark::Success => Done::Success,
        TaskMark::Failed => Done::Failed,
        TaskMark::Skipped => Done::RuledOut(RuledOut::Skipped),
    }
}

impl RunModel {
    /// The copies that are named, with those before or after them.
    fn named_by(&self, ask: &MarkTasks) -> Copies {
        let ids = ask.task_ids.iter().chain(ask.copies.iter().map(|it| &it.task_id));
        let named: BTreeSet<usize> = ids.filter_map(|task_id| self.place(task_id)).collect();
        let mut whole = self.relatives(&named, ask.upstream, false);
        let after = self.relatives(&named, false, ask.downstream);
        whole.extend(after.into_iter().filter(|ix| !self.tasks[*ix].spec.is_teardown));
        whole.extend(ask.task_ids.iter().filter_map(|task_id| self.place(task_id)));
        let mut found = Copies::new();
        for (task, copy) in self.copies() {
            let own = self.place(&task.spec.task_id).expect("its own task");
            let single = ask
                .copies
                .iter()
                .any(|it| it.task_id == task.spec.task_id && it.map_index == copy.map_index);
            if whole.contains(&own) || single {
                found.insert((task.spec.task_id.clone(), copy.map_index));
            }
        }
        found
    }

    /// A task stands as somebody says.
    pub(super) fn mark(
        &mut self,
        task_id: &TaskId,
        first: MapIndex,
        further: u32,
        mark: TaskMark,
    ) -> Finding {
        let done = done_of(mark);
        let task = self.named(task_id)?;
        for map_index in task.stretch(first, further)? {
            let copy = task.find_mut(map_index).expect("just found");
            if copy.in_flight().is_some() {
                return Err(format!("{task_id} is marked, and its try goes on"));
            }
            if matches!(copy.stand, Stand::Done(before) if before != done) {
                copy.skips.clear();
            }
            copy.stand = Stand::Done(done);
        }
        Ok(())
    }

    /// Somebody says how it ended: at once, or once its teardowns have run.
    pub(super) fn mark_run(&mut self, mark: RunMark, left: bool) -> Finding {
        let well = mark == RunMark::Success;
        (self.timed_out, self.ends_well) = (false, well);
        if self.stage != Stage::Over {
            self.end_by(left)?;
        }
        if self.stage == Stage::Over {
            self.succeeded = well;
        }
        Ok(())
    }
}

impl Audit {
    /// What is marked is what was asked for, by the state before the record, and nothing else runs again than what
    /// failed or was ruled out.
    pub(super) fn check_mark(&mut self, record: &Record, ask: &MarkTasks) -> Finding {
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() };
        if record.scope != Scope::Run(key.clone()) || ask.dry_run {
            return Err(format!("not what was asked for: {ask:?}"));
        }
        let run = self.runs.get(&key).ok_or("there is no such run to mark")?;
        let named = run.named_by(ask);
        let stands = |it: &(TaskId, MapIndex)| run.copy(&it.0, it.1).and_then(CopyModel::done);
        let should = |it: &&(TaskId, MapIndex)| {
            stands(it) != Some(done_of(ask.state)) && !stands(it).is_some_and(Done::is_no_part)
        };
        let should: Copies = named.iter().filter(should).cloned().collect();
        let (mut marked, mut again, mut goes_on) = (Copies::new(), Copies::new(), false);
        for fact in &record.facts {
            match fact {
                Fact::RunCleared(_) => goes_on = true,
                Fact::TaskMarked(f) => {
                    let task = run.tasks.iter().find(|task| task.spec.task_id == f.task_id);
                    let task = task.ok_or_else(|| format!("there is no task {}", f.task_id))?;
                    for map_index in task.stretch(f.map_index, f.further)? {
                        marked.insert((f.task_id.clone(), map_index));
                    }
                }
                Fact::TaskCleared(f) => {
                    let task = run.tasks.iter().find(|task| task.spec.task_id == f.task_id);
                    let task = task.ok_or_else(|| format!("there is no task {}", f.task_id))?;
                    for map_index in task.stretch(f.map_index, f.further)? {
                        let it = (f.task_id.clone(), map_index);
                        let bad = matches!(stands(&it), Some(Done::Failed | Done::RuledOut(_)));
                        if !bad || named.contains(&it) {
                            return Err(format!("{it:?} runs again by {ask:?}"));
                        }
                        again.insert(it);
                    }
                }
                Fact::TryCancelled(_)
                | Fact::TaskRuledOut(_)
                | Fact::TaskExpanded(_)
                | Fact::CheckpointDropped(_)
                | Fact::RunSucceeded(_)
                | Fact::RunFailed(_) => {}
                other => return Err(format!("{other:?} does not follow from marking")),
            }
        }
        if marked != should || should.is_empty() {
            return Err(format!("marked are {marked:?}, not {should:?} by {ask:?}"));
        }
        if goes_on != (run.stage == Stage::Over) {
            return Err("a run goes on that is over, and no other".to_owned());
        }
        run.keeps_as_it_must(record, &again)?;
        self.note(if goes_on { "marked after the end" } else { "marked while running" });
        Ok(())
    }
}
