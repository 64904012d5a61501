//! The second opinion on clearing and deleting: what a command takes with it, and what is answered.
use std::collections::BTreeSet;

use dagbok_domain::{namespace::Outcome, run::Done};
use dagbok_events::{Fact, MapIndex, Record, RuledOut, RunKey, Scope, TaskId};
use dagbok_protocol::{
    ClearTasks, ClearedTask, Command, CommandBody, OnRunning, RefusalCode, TaskCopy,
};

use super::{
    Audit, Finding,
    latest::Move,
    run::{RunModel, Stage},
    task::{Stand, TaskModel},
};

/// Copies of tasks by name.
pub(super) type Copies = BTreeSet<(TaskId, MapIndex)>;

impl RunModel {
    /// What clearing takes: what was asked for and is done, and whatever was ruled out below something that is
    /// taken, however far down.
    pub(super) fn taken_by(&self, ask: &ClearTasks) -> Copies {
        self.taken_with(ask, &BTreeSet::new())
    }

    /// The same, and what was ruled out below tasks that are new.
    pub(super) fn taken_with(&self, ask: &ClearTasks, new: &BTreeSet<&TaskId>) -> Copies {
        let mut taken = Copies::new();
        let around: BTreeSet<usize> = ask
            .task_ids
            .iter()
            .filter_map(|task_id| self.place(task_id))
            .flat_map(|ix| self.around(ix))
            .collect();
        let relatives = self.relatives_of(ask);
        for (task, copy) in self.copies() {
            if copy.done().is_some_and(Done::is_no_part) {
                continue;
            }
            let own = self.place(&task.spec.task_id).expect("its own task");
            // Of a copy what is around goes with it in its group, and is meant whole elsewhere.
            let by_copy = |it: &TaskCopy| {
                let Some(of) = self.place(&it.task_id) else { return false };
                let named = &self.tasks[of];
                let is_it = own == of || named.is_together_with(task);
                let near = own == of || self.around(of).contains(&own);
                near && (!is_it || it.map_index == copy.map_index)
            };
            let named = (ask.task_ids.is_empty() && ask.copies.is_empty())
                || ask.task_ids.contains(&task.spec.task_id)
                || around.contains(&own)
                || relatives.contains(&own)
                || ask.copies.iter().any(by_copy);
            let bad =
                |done| matches!(done, Done::Failed | Done::RuledOut(RuledOut::UpstreamFailed));
            let meant = match copy.stand {
                Stand::Done(done) => !ask.only_running && (bad(done) || !ask.only_failed),
                _ if ask.running == OnRunning::Leave || ask.only_failed => false,
                Stand::Waiting => false,
                Stand::Again(..) | Stand::Later(..) => !ask.only_running,
                Stand::Queued(..) | Stand::Running(..) => true,
            };
            if named && meant {
                taken.insert((task.spec.task_id.clone(), copy.map_index));
            }
        }
        loop {
            let before = taken.len();
            for (task, copy) in self.copies() {
                let is_taken = |up: &u32| {
                    let up = &self.tasks[*up as usize];
                    let by_copy = up.is_together_with(task) && !up.lacks_copies();
                    if new.contains(&up.spec.task_id) {
                        return true;
                    }
                    taken.iter().any(|(id, map_index)| {
                        *id == up.spec.task_id && (!by_copy || *map_index == copy.map_index)
                    })
                };
                let is_below = task.spec.upstream.iter().any(is_taken)
                    || self.is_decided_by(&taken, task, copy.map_index);
                let removed = copy.done().is_some_and(Done::is_no_part);
                if is_below && !removed && matches!(copy.stand, Stand::Done(Done::RuledOut(_))) {
                    taken.insert((task.spec.task_id.clone(), copy.map_index));
                }
            }
            if taken.len() == before {
                return taken;
            }
        }
    }
}

impl RunModel {
    /// What comes before or after what is asked for, where that is asked for too.
    fn relatives_of(&self, ask: &ClearTasks) -> BTreeSet<usize> {
        let ids = ask.task_ids.iter().chain(ask.copies.iter().map(|it| &it.task_id));
        let named: BTreeSet<usize> = ids.filter_map(|task_id| self.place(task_id)).collect();
        self.relatives(&named, ask.upstream, ask.downstream)
    }

    /// What comes before or after these tasks.
    pub(super) fn relatives(
        &self,
        of: &BTreeSet<usize>,
        upstream: bool,
        downstream: bool,
    ) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let ups = |ix: usize| self.tasks[ix].spec.upstream.iter().map(|up| *up as usize);
        let (mut above, mut below) = (of.clone(), of.clone());
        for _ in 0..self.tasks.len() {
            above.extend(above.clone().into_iter().flat_map(ups).collect::<Vec<_>>());
            let after = (0..self.tasks.len()).filter(|ix| ups(*ix).any(|up| below.contains(&up)));
            let after: Vec<usize> = after.collect();
            below.extend(after);
        }
        found.extend(above.difference(of).filter(|_| upstream));
        found.extend(below.difference(of).filter(|_| downstream));
        found
    }

    /// Whether one of these had decided against a copy of a task further down: a copy decides about the one of its
    /// index right below it.
    pub(super) fn is_decided_by(
        &self,
        taken: &Copies,
        task: &TaskModel,
        map_index: MapIndex,
    ) -> bool {
        taken.iter().any(|(id, of)| {
            let is_above = |up: &u32| self.tasks[*up as usize].spec.task_id == *id;
            let about =
                of.is_unmapped() || (*of == map_index && task.spec.upstream.iter().any(is_above));
            let decided =
                self.copy(id, *of).is_some_and(|it| it.skips.contains(&task.spec.task_id));
            about && decided
        })
    }
}

impl Audit {
    /// What is cleared is what was asked for, by the state before the record.
    pub(super) fn check_clear(&mut self, record: &Record, command: Option<&Command>) -> Finding {
        let by_backfill = Self::cleared_by_backfill(record);
        let asked = command.and_then(asked_to_clear);
        if let Some(CommandBody::MarkTasks(ask)) = command.map(|command| &command.body) {
            return self.check_mark(record, ask);
        }
        let about = |fact: &Fact| matches!(fact, Fact::RunCleared(_) | Fact::TaskCleared(_));
        let asked = asked.filter(|_| record.cause.is_some());
        let Some(ask) = by_backfill.as_ref().or(asked) else {
            return if record.facts.iter().any(about) {
                Err("something is cleared that nobody asked for".to_owned())
            } else {
                Ok(())
            };
        };
        let key = key_of(ask);
        if record.scope != Scope::Run(key.clone()) || ask.dry_run {
            return Err(format!("not what was asked for: {ask:?}"));
        }
        let run = self.runs.get(&key).ok_or("there is no such run to clear")?;
        let moved = self.moved_by(record, run)?;
        self.is_moved_as_asked(run, ask, moved.is_some())?;
        let then = moved.as_ref().map_or(run, |to| &to.run);
        let (cleared, goes_on) = cleared_by(record, then, ask, by_backfill.is_some())?;
        let taken = moved.as_ref().map_or_else(|| run.taken_by(ask), |to| to.taken_by(ask));
        let adds = moved.as_ref().is_some_and(Move::adds);
        if cleared != taken || (taken.is_empty() && !adds && by_backfill.is_none()) {
            return Err(format!("cleared are {cleared:?}, not {taken:?} by {ask:?}"));
        }
        let over = matches!(run.stage, Stage::Over | Stage::Ending);
        if goes_on != over {
            return Err("a run goes on that is over, and no other".to_owned());
        }
        let keeps_nothing = then.keeps_as_it_must(record, &cleared)?;
        let some_failed = ask.only_failed;
        let is_mapped = |(_, map_index): &(TaskId, MapIndex)| !map_index.is_unmapped();
        let mapped = taken.iter().any(is_mapped);
        self.note(if over { "cleared after the end" } else { "cleared while running" });
        if !ask.copies.is_empty() {
            self.note("cleared single copies");
        }
        self.note(match (some_failed, ask.task_ids.is_empty() && ask.copies.is_empty()) {
            (true, _) => "cleared what failed",
            (false, true) => "cleared all",
            (false, false) => "cleared some tasks",
        });
        if mapped {
            self.note("cleared copies");
        }
        if keeps_nothing {
            self.note("cleared above what runs");
        }
        if record.facts.iter().any(|fact| matches!(fact, Fact::TaskExpanded(_))) {
            self.note("expanded by clearing");
        }
        Ok(())
    }

    /// A run has another version where that was asked for, and its DAG has a newer one.
    fn is_moved_as_asked(&self, run: &RunModel, ask: &ClearTasks, moves: bool) -> Finding {
        let current = self.dags.get(&ask.dag_id).map(|dag| dag.current);
        let newer = current.is_some_and(|current| current != run.version);
        match (ask.on_latest_version, moves) {
            (false, true) => {
                Err("it goes on with another version, which nobody asked for".to_owned())
            }
            (true, false) if newer => Err(format!("it keeps version {}", run.version)),
            (false, false) | (true, _) => Ok(()),
        }
    }

    /// A run that is over is gone: its id and its date are anybody's.
    pub(super) fn delete(
        &mut self,
        key: &RunKey,
        record: &Record,
        command: Option<&Command>,
    ) -> Finding {
        let asked = command.is_some_and(|command| match &command.body {
            CommandBody::DeleteRun { dag_id, run_id } => {
                (dag_id, run_id) == (&key.dag_id, &key.run_id)
            }
            _ => false,
        });
        let [Fact::RunDeleted(f)] = &record.facts[..] else {
            return Err("a deletion says nothing else".to_owned());
        };
        let run = self.runs.get(key).ok_or("there is no such run to delete")?;
        if !asked || run.stage != Stage::Over || run.logical_date != f.logical_date {
            return Err(format!("{key} may not be deleted so: asked {asked}, {:?}", run.stage));
        }
        let date = run.logical_date;
        let tries = run.copies().map(|(_, copy)| copy.tries);
        let tries = tries.chain(run.gone.values().copied()).max().unwrap_or(0);
        if f.tries != tries {
            return Err(format!("{key} had {tries} tries, not {}", f.tries));
        }
        // One without tasks had none, and may have taken up the id of one that had.
        let most = self.tried.entry(key.clone()).or_default();
        *most = tries.max(*most);
        self.runs.remove(key);
        self.deleted.insert(key.clone());
        if let Some(dag) = self.dags.get_mut(&key.dag_id)
            && let Some(date) = date
        {
            dag.dates.remove(&date);
            dag.freed.insert(date);
        }
        Ok(())
    }

    /// What is to be said to a command about runs that may be over, or about ids and dates that may be taken,
    /// by the state as it is; true where it is none of these, or was decided before.
    pub fn is_right_answer(&mut self, command: &Command, outcome: &Outcome) -> bool {
        if self.answered.contains_key(&command.id) {
            return true;
        }
        let refused = match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        match &command.body {
            CommandBody::ClearTasks(ask) => self.is_right_of_clear(ask, outcome, refused),
            CommandBody::DeleteRun { dag_id, run_id } => {
                let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
                let should = match self.runs.get(&key) {
                    None if self.dags.contains_key(dag_id) => Some(RefusalCode::RunNotFound),
                    None => Some(RefusalCode::DagNotFound),
                    Some(run) => (run.stage != Stage::Over).then_some(RefusalCode::RunActive),
                };
                refused == should
            }
            CommandBody::TriggerRun(ask) => {
                let taken = |date| self.dags[&ask.dag_id].dates.contains(date);
                let key = ask.run_id.clone().map(|run_id| {
                    let dag_id = ask.dag_id.clone();
                    RunKey { dag_id, run_id }
                });
                match refused {
                    Some(RefusalCode::LogicalDateTaken) => ask.logical_date.iter().any(taken),
                    Some(RefusalCode::RunAlreadyExists) => {
                        // Where nobody chose an id, it is made of the date.
                        key.is_none_or(|key| self.runs.contains_key(&key))
                    }
                    _ => true,
                }
            }
            CommandBody::CreateBackfill(_)
            | CommandBody::PauseBackfill { .. }
            | CommandBody::UnpauseBackfill { .. }
            | CommandBody::CancelBackfill { .. } => self.is_right_of_backfill(command, outcome),
            body => self.is_right_of_forgetting(body, outcome),
        }
    }

    fn is_right_of_clear(
        &mut self,
        ask: &ClearTasks,
        outcome: &Outcome,
        refused: Option<RefusalCode>,
    ) -> bool {
        let Some(run) = self.runs.get(&key_of(ask)) else {
            let known = self.dags.contains_key(&ask.dag_id);
            let why = if known { RefusalCode::RunNotFound } else { RefusalCode::DagNotFound };
            return refused == Some(why);
        };
        if self.dags[&ask.dag_id].gone {
            return refused == Some(RefusalCode::DagNotFound);
        }
        let dag = &self.dags[&ask.dag_id];
        // Whether only the code is newer is not known here: then the lists are empty.
        let moved =
            ask.on_latest_version.then(|| run.moved_to(dag.current, &dag.versions[&dag.current]));
        if ask.on_latest_version && run.stage != Stage::Over {
            let active = refused == Some(RefusalCode::RunActive);
            let newer = dag.current != run.version;
            if active || newer {
                self.note("a run that goes on keeps its version");
                return active;
            }
        }
        let then = moved.as_ref().map_or(run, |to| &to.run);
        if ask.task_ids.iter().any(|task_id| then.place(task_id).is_none()) {
            return refused == Some(RefusalCode::TaskNotFound);
        }
        if ask.copies.iter().any(|it| then.copy(&it.task_id, it.map_index).is_none()) {
            return refused == Some(RefusalCode::TaskNotFound);
        }
        let over = matches!(run.stage, Stage::Over | Stage::Ending);
        let taken = moved.as_ref().map_or_else(|| run.taken_by(ask), |to| to.taken_by(ask));
        let changes = !taken.is_empty() || moved.as_ref().is_some_and(Move::adds);
        let flies = |(task_id, map_index): &(TaskId, MapIndex)| {
            then.copy(task_id, *map_index).is_some_and(|copy| copy.in_flight().is_some())
        };
        if ask.running == OnRunning::Refuse && !ask.dry_run && taken.iter().any(flies) {
            self.note("clearing refused what runs");
            return refused == Some(RefusalCode::TaskRunning);
        }
        match outcome {
            Outcome::WouldClear { run_goes_on, tasks, version } => {
                let told = match (version, &moved) {
                    (Some(told), Some(to)) => to.is_told_as(run.version, told),
                    (Some(_), None) => false,
                    (None, Some(to)) => to.run.version == run.version,
                    (None, None) => true,
                };
                let right = ask.dry_run
                    && told
                    && *run_goes_on == (over && changes)
                    && one_by_one(tasks) == taken;
                self.note("asked what would be cleared");
                right
            }
            Outcome::Unchanged => !changes && !ask.dry_run,
            Outcome::Accepted { .. } => changes && !ask.dry_run,
            Outcome::Seen { .. }
            | Outcome::Waits(_)
            | Outcome::WouldMark { .. }
            | Outcome::WouldMake(_)
            | Outcome::WouldBackfill(_)
            | Outcome::LastScheduled(_)
            | Outcome::Needs(_)
            | Outcome::Refused(_) => false,
        }
    }
}

/// What a record clears of a run, and whether that goes on by it; nothing else is in it than what follows.
fn cleared_by(
    record: &Record,
    run: &RunModel,
    ask: &ClearTasks,
    by_backfill: bool,
) -> Result<(Copies, bool), String> {
    let (mut cleared, mut goes_on) = (Copies::new(), false);
    for fact in &record.facts {
        match fact {
            Fact::RunCleared(_) => goes_on = true,
            Fact::TaskCleared(f) => {
                let task = run.tasks.iter().find(|task| task.spec.task_id == f.task_id);
                let task = task.ok_or_else(|| format!("there is no task {}", f.task_id))?;
                for map_index in task.stretch(f.map_index, f.further)? {
                    if !cleared.insert((f.task_id.clone(), map_index)) {
                        return Err(format!("{} {map_index:?} is cleared twice", f.task_id));
                    }
                }
            }
            Fact::TryCancelled(_) if ask.running == OnRunning::Restart => {}
            Fact::RunBackfilled(_) if by_backfill => {}
            Fact::TaskRuledOut(_)
            | Fact::TaskExpanded(_)
            | Fact::CheckpointDropped(_)
            | Fact::RunVersionChanged(_)
            | Fact::RunSucceeded(_)
            | Fact::RunFailed(_) => {}
            other => return Err(format!("{other:?} does not follow from clearing")),
        }
    }
    Ok((cleared, goes_on))
}

/// Every copy that an answer names.
pub(super) fn one_by_one(tasks: &[ClearedTask]) -> Copies {
    let copies = tasks.iter().flat_map(|it| {
        let at = move |n| MapIndex(it.map_index.0.saturating_add_unsigned(n));
        (0..=it.further).map(move |n| (it.task_id.clone(), at(n)))
    });
    copies.collect()
}

fn asked_to_clear(command: &Command) -> Option<&ClearTasks> {
    match &command.body {
        CommandBody::ClearTasks(ask) => Some(ask),
        _ => None,
    }
}

fn key_of(ask: &ClearTasks) -> RunKey {
    RunKey { dag_id: ask.dag_id.clone(), run_id: ask.run_id.clone() }
}
