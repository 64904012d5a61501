//! The second opinion on one run and its tasks.
use std::collections::BTreeMap;

use dagbok_domain::{
    run::Done,
    trigger_rule::{Standing, Tally, judge_in_scope},
};
use dagbok_events::{
    DagSpec, ExecutorId, Fact, MapIndex, PoolName, RefusedWhy, RuledOut, RunCreated, RunId, RunKey,
    RunType, TaskId, Timestamp, TryKey,
};

use super::{
    Finding,
    target::target,
    task::{CopyModel, NEVER, Stand, TaskModel},
};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Created, or cleared after it was over.
    Queued,
    /// Started at this time.
    Running(Timestamp),
    /// Ended from outside: only its teardowns go on.
    Ending,
    /// Over.
    Over,
}

/// One run.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that was said of it")]
pub struct RunModel {
    /// Its id.
    pub run_id: RunId,
    /// How far it has come.
    pub stage: Stage,
    /// Its tasks.
    pub tasks: Vec<TaskModel>,
    /// What it stands for.
    pub logical_date: Option<Timestamp>,
    /// The date that somebody gave it, where that was yet to come.
    pub(super) given: Option<Timestamp>,
    /// How it came about.
    pub(super) run_type: RunType,
    /// Whether its DAG catches up, and when that begins and ends.
    pub(super) catchup: bool,
    pub(super) dates: (Option<Timestamp>, Option<Timestamp>),
    /// Whether it ended well, where it is over.
    pub(super) succeeded: bool,
    pub(super) timeout: Option<dagbok_events::Micros>,
    /// Whether its first failure for good stops the rest.
    pub(super) fail_fast: bool,
    /// Whether it was its timeout that ended it.
    pub(super) timed_out: bool,
    /// Whether it ends well once its teardowns have run, as somebody said.
    pub(super) ends_well: bool,
    /// Whether somebody changes what its tasks are just now.
    pub(super) by_hand: bool,
    /// Which version of its DAG it runs.
    pub(super) version: u32,
    /// The backfill that it belongs to.
    pub(super) backfill: Option<u64>,
    /// What its tries are numbered from.
    pub(super) tries_before: u16,
    /// Tasks that it had by another version, with the highest number of a try of theirs.
    pub(super) gone: BTreeMap<TaskId, u16>,
    /// Whether the record in hand gives it another version.
    pub(super) moves: bool,
}

/// A run's record as far as its facts are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) seq: u64,
    /// When it was decided.
    pub(super) at: Timestamp,
    /// How many tries may be lost in a row.
    pub(super) max_losses: u16,
    /// How long a try may be queued.
    pub(super) queued_timeout: dagbok_events::Micros,
}

impl RunModel {
    pub(super) fn new(run_id: RunId, dag: DagSpec, created: &RunCreated, tries: u16) -> Self {
        Self {
            run_id,
            stage: Stage::Queued,
            tasks: dag.tasks.into_iter().map(|spec| TaskModel::new(spec, tries)).collect(),
            logical_date: created.logical_date,
            given: None,
            run_type: created.run_type,
            catchup: dag.catchup,
            dates: (dag.start_date, dag.end_date),
            version: created.version,
            backfill: created.backfill_id.map(|id| id.0),
            succeeded: false,
            timeout: dag.dagrun_timeout,
            fail_fast: dag.fail_fast,
            timed_out: false,
            ends_well: false,
            by_hand: false,
            tries_before: tries,
            gone: BTreeMap::new(),
            moves: false,
        }
    }

    pub(super) fn place(&self, task_id: &TaskId) -> Option<usize> {
        self.tasks.iter().position(|task| task.spec.task_id == *task_id)
    }

    /// A copy of a task.
    pub fn copy(&self, task_id: &TaskId, map_index: MapIndex) -> Option<&CopyModel> {
        self.tasks[self.place(task_id)?].find(map_index)
    }

    pub(super) fn named(&mut self, task_id: &TaskId) -> Result<&mut TaskModel, String> {
        let place = self.place(task_id).ok_or_else(|| format!("there is no task {task_id}"))?;
        Ok(&mut self.tasks[place])
    }

    pub(super) fn copies(&self) -> impl Iterator<Item = (&TaskModel, &CopyModel)> {
        self.tasks.iter().flat_map(|task| task.copies.iter().map(move |copy| (task, copy)))
    }

    /// Every try in flight, with who holds it.
    pub fn tries(&self, key: &RunKey) -> Vec<(TryKey, Option<ExecutorId>)> {
        let tries = self.copies().filter_map(|(task, copy)| {
            let (n, leg) = copy.in_flight()?;
            let key = TryKey {
                dag_id: key.dag_id.clone(),
                run_id: key.run_id.clone(),
                task_id: task.spec.task_id.clone(),
                map_index: copy.map_index,
                try_number: dagbok_events::TryNumber::new(n).expect("from one"),
                leg: dagbok_events::Leg(leg),
            };
            Some((key, copy.holder().cloned()))
        });
        tries.collect()
    }

    /// Every leg that a trigger stands for.
    pub fn deferred(&self, key: &RunKey) -> Vec<TryKey> {
        let legs = self.copies().filter_map(|(task, copy)| {
            let (n, leg) = copy.deferred()?;
            Some(TryKey {
                dag_id: key.dag_id.clone(),
                run_id: key.run_id.clone(),
                task_id: task.spec.task_id.clone(),
                map_index: copy.map_index,
                try_number: dagbok_events::TryNumber::new(n).expect("from one"),
                leg: dagbok_events::Leg(leg),
            })
        });
        legs.collect()
    }

    pub(super) fn why_stale(&self, key: &TryKey, sender: &ExecutorId) -> Option<RefusedWhy> {
        let Some(copy) = self.copy(&key.task_id, key.map_index) else {
            return Some(RefusedWhy::NoSuchTask);
        };
        if copy.in_flight() != Some((key.try_number.get(), key.leg.0)) {
            return Some(RefusedWhy::NotInFlight);
        }
        copy.holder().filter(|holder| *holder != sender).map(|_| RefusedWhy::HeldByAnother)
    }

    /// Who runs the try that a fact is about.
    pub(super) fn holder_of(&self, fact: &Fact) -> Option<&ExecutorId> {
        let (task_id, map_index, _) = target(fact)?;
        self.copy(task_id, map_index)?.holder()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = &ExecutorId> {
        self.copies().filter_map(|(_, copy)| copy.holder())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.copies().filter(|(_, copy)| copy.in_flight().is_some()).count()
    }

    pub(super) fn in_flight_of(&self, task_id: &TaskId) -> usize {
        let of_task = self.copies().filter(|(task, _)| task.spec.task_id == *task_id);
        of_task.filter(|(_, copy)| copy.in_flight().is_some()).count()
    }

    pub(super) fn slots_used(&self, pool: &PoolName) -> u64 {
        let used = self.copies().filter(|(_, copy)| copy.in_flight().is_some());
        let of_pool = used.filter(|(task, _)| task.spec.pool == *pool);
        of_pool.map(|(task, _)| u64::from(task.spec.pool_slots)).sum()
    }

    /// What a task's upstreams let one copy of it do: every copy of each counts, but in a mapped group only the one
    /// of the same index, once there are copies.
    pub(super) fn verdict(&self, task: &TaskModel, map_index: MapIndex) -> Standing {
        let mut tally = Tally::default();
        for up in &task.spec.upstream {
            let up = &self.tasks[*up as usize];
            let by_copy = up.is_together_with(task) && !up.lacks_copies();
            for copy in up.copies.iter().filter(|copy| !by_copy || copy.map_index == map_index) {
                let done = copy.done();
                tally.add(up.spec.is_setup, done);
            }
        }
        let mut scope = Tally::default();
        for member in self.scope_of(task) {
            self.tasks[member].copies.iter().for_each(|copy| scope.add(false, copy.done()));
        }
        judge_in_scope(&task.spec, tally, scope)
    }

    /// Whether a task right before a copy decided against it: one that is not mapped, or its copy of that index.
    pub(super) fn is_skipped(&self, task: &TaskModel, map_index: MapIndex) -> bool {
        let own = |up: &u32| {
            let above = &self.tasks[*up as usize];
            above.find(MapIndex::UNMAPPED).or_else(|| above.find(map_index))
        };
        let deciders = task.spec.upstream.iter().filter_map(own);
        let mut skips = deciders.flat_map(|copy| &copy.skips);
        skips.any(|name| *name == task.spec.task_id)
    }

    /// Whether any task decided against this one, as a short circuit does of all that is below it.
    pub(super) fn is_decided_against(&self, task_id: &TaskId) -> bool {
        self.copies().any(|(_, copy)| copy.skips.contains(task_id))
    }

    fn all_done(&self) -> bool {
        self.copies().all(|(_, copy)| copy.done().is_some())
    }

    /// Takes a fact in.
    pub(super) fn fold(&mut self, told: Told, fact: &Fact) -> Finding {
        let at = told.at;
        match fact {
            Fact::RunStarted(_) => self.begin(at),
            Fact::RunSucceeded(_) => self.end(true),
            Fact::RunFailed(_) => self.end(false),
            Fact::RunTimedOut(f) => {
                let due = match (self.stage, self.timeout) {
                    (Stage::Running(since), Some(timeout)) => since.plus(timeout),
                    _ => return Err("there is no timeout to run out".to_owned()),
                };
                if at < due {
                    return Err("the timeout has not run out".to_owned());
                }
                (self.timed_out, self.ends_well) = (true, false);
                self.end_by(f.teardowns_left)
            }
            Fact::RunCancelled(f) => {
                (self.timed_out, self.ends_well) = (false, false);
                self.end_by(f.teardowns_left)
            }
            Fact::RunCleared(_) => self.go_on(at),
            Fact::TaskMarked(f) => self.mark(&f.task_id, f.map_index, f.further, f.state),
            Fact::RunMarked(f) => self.mark_run(f.state, f.teardowns_left),
            Fact::TaskNoted(f) => self.named(&f.task_id)?.stretch(f.map_index, 0).map(drop),
            // Which of them was judged with the record.
            Fact::CheckpointDropped(f) => self.named(&f.task_id)?.stretch(f.map_index, 0).map(drop),
            // What stands in the file was taken in with the version.
            Fact::TaskExpanded(_) | Fact::TaskRuledOut(_)
                if self.moves && self.stage == Stage::Over =>
            {
                Ok(())
            }
            Fact::RunNoted(_) => Ok(()),
            Fact::TaskCleared(f) => self.clear(&f.task_id, f.map_index, f.further),
            Fact::TaskExpanded(f) if matches!(self.stage, Stage::Running(_) | Stage::Ending) => {
                self.expand(&f.task_id, f.length)
            }
            Fact::TaskRuledOut(f) => self.rule_out(&f.task_id, f.map_index, f.further, f.why),
            _ => self.fold_try(told, fact),
        }
    }

    /// What began later than `to` by a clock that was ahead began then, and waits as long from there.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        if let Stage::Running(since) = &mut self.stage {
            *since = to.min(*since);
        }
        for copy in self.tasks.iter_mut().flat_map(|task| &mut task.copies) {
            copy.queued_at = copy.queued_at.min(to);
            if let Stand::Again(since, due) | Stand::Later(_, since, due) = &mut copy.stand
                && *since > to
            {
                // A trigger is waited for without a date of its own, and for as long as its time says.
                let later = |at: Timestamp| to.plus(at.since(*since));
                copy.until = copy.until.map(later);
                *due = if *due == NEVER { NEVER } else { later(*due) };
                *since = to;
            }
        }
    }

    fn begin(&mut self, at: Timestamp) -> Finding {
        if self.stage != Stage::Queued {
            return Err("a run starts twice".to_owned());
        }
        self.stage = Stage::Running(at);
        Ok(())
    }

    fn stop(&mut self) -> Finding {
        if self.stage == Stage::Over {
            return Err("the run is over already".to_owned());
        }
        (self.stage, self.succeeded) = (Stage::Over, false);
        Ok(())
    }

    /// Ended from outside; `left`: it has teardowns that go on.
    pub(super) fn end_by(&mut self, left: bool) -> Finding {
        match (self.stage, left) {
            (Stage::Running(_), true) => self.stage = Stage::Ending,
            (_, false) => return self.stop(),
            (stage, true) => return Err(format!("teardowns are left of a run that is {stage:?}")),
        }
        Ok(())
    }

    fn end(&mut self, success: bool) -> Finding {
        let ending = self.stage == Stage::Ending;
        self.stop()?;
        self.succeeded = success;
        if !self.all_done() {
            return Err("it ends before its tasks".to_owned());
        }
        if ending {
            let right = success == self.ends_well;
            return if right { Ok(()) } else { Err("it was ended, and ends otherwise".to_owned()) };
        }
        let fails = |task: &TaskModel| {
            task.copies.iter().any(|copy| copy.done().is_some_and(Done::fails_run))
        };
        let failed = self.leaves().into_iter().any(|ix| fails(&self.tasks[ix]));
        if success == failed {
            return Err(format!("it ends with success={success}, and failed leaves: {failed}"));
        }
        Ok(())
    }

    fn go_on(&mut self, at: Timestamp) -> Finding {
        self.stage = match self.stage {
            Stage::Over => Stage::Queued,
            Stage::Ending => Stage::Running(at),
            _ => return Err("a run goes on that is not over".to_owned()),
        };
        Ok(())
    }

    /// Whether a task may be stopped by how its run stands, whatever its rule says: the run was ended, or another
    /// task has failed for good where that stops the rest.
    pub(super) fn is_stopped(&self, task: &TaskModel) -> bool {
        let others = self.tasks.iter().filter(|it| it.spec.task_id != task.spec.task_id);
        let mut copies = others.flat_map(|it| &it.copies);
        let failed = self.fail_fast && copies.any(|copy| copy.done() == Some(Done::Failed));
        match self.stage {
            Stage::Over => true,
            Stage::Ending => !task.spec.is_teardown,
            Stage::Queued | Stage::Running(_) => failed && !task.spec.is_teardown,
        }
    }

    /// Whether the task of a try that is cancelled is skipped with it, and has not failed.
    pub(super) fn is_skipped_with_its_try(&self, copy: &CopyModel) -> bool {
        let ended = matches!(self.stage, Stage::Over | Stage::Ending);
        matches!(copy.stand, Stand::Queued(_)) || (ended && self.timed_out)
    }

    fn clear(&mut self, task_id: &TaskId, first: MapIndex, further: u32) -> Finding {
        if self.stage == Stage::Over {
            return Err(format!("{task_id} is cleared, and its run is over"));
        }
        let by_hand = self.by_hand;
        let task = self.named(task_id)?;
        for map_index in task.stretch(first, further)? {
            let copy = task.find_mut(map_index).expect("just found");
            let waits = by_hand && matches!(copy.stand, Stand::Again(..) | Stand::Later(..));
            if copy.done().is_none() && !waits {
                return Err(format!("{task_id} is cleared while {:?}", copy.stand));
            }
            copy.forget();
        }
        if task.expanded == Some(0) {
            task.expanded = None;
        }
        Ok(())
    }

    fn rule_out(
        &mut self,
        task_id: &TaskId,
        first: MapIndex,
        further: u32,
        why: RuledOut,
    ) -> Finding {
        let ix = self.place(task_id).ok_or_else(|| format!("there is no task {task_id}"))?;
        let stopped = why == RuledOut::Skipped && self.is_stopped(&self.tasks[ix]);
        let decided = why == RuledOut::Skipped && self.is_decided_against(task_id);
        let length = self.length(&self.tasks[ix]);
        let empty = self.tasks[ix].expanded == Some(0) && why == RuledOut::Skipped;
        for map_index in self.tasks[ix].stretch(first, further)? {
            let verdict = self.verdict(&self.tasks[ix], map_index);
            // Nobody can say how many copies there are to be: those that it had before it was cleared go, too.
            let unknown = length.is_none()
                && self.tasks[ix].spec.expand.is_some()
                && why != RuledOut::Removed
                && verdict == Standing::Ready;
            // Tasks that would have too many go for that, all in one record, whatever it made of those before them.
            let too_many = length.is_none()
                && self.wanted(&self.tasks[ix]).is_some()
                && why == RuledOut::UpstreamFailed
                && verdict != Standing::Wait;
            let surplus = why == RuledOut::Removed
                && u64::try_from(map_index.0).ok() >= length
                && length.is_some();
            let absent = why == RuledOut::OutOfDates && self.is_out_of_dates(&self.tasks[ix]);
            let copy = self.tasks[ix].find_mut(map_index).expect("just found");
            match &copy.stand {
                Stand::Waiting if absent => {}
                Stand::Waiting
                    if stopped || empty || decided || verdict == Standing::Never(why) => {}
                Stand::Waiting if unknown || surplus || too_many => {}
                Stand::Again(..) | Stand::Later(..) if stopped || decided => {}
                stand => {
                    let what = format!("{stand:?} and {verdict:?}");
                    return Err(format!("{task_id} is ruled out as {why:?} while {what}"));
                }
            }
            copy.stand = Stand::Done(Done::RuledOut(why));
        }
        Ok(())
    }

    pub(super) fn check_consequences(&self) -> Finding {
        if self.stage == Stage::Over {
            let open = self.copies().find(|(_, copy)| copy.done().is_none());
            return match open {
                Some((task, _)) => Err(format!("the run is over and {} is not", task.spec.task_id)),
                None => Ok(()),
            };
        }
        for (task, copy) in self.copies().filter(|(_, copy)| copy.stand == Stand::Waiting) {
            if let Standing::Never(why) = self.verdict(task, copy.map_index) {
                if why == RuledOut::Skipped && task.may_wait_to_be_skipped() {
                    // It has its copies no more than what is skipped at once.
                    continue;
                }
                return Err(format!(
                    "{} {:?} can never run ({why:?})",
                    task.spec.task_id, copy.map_index
                ));
            }
            if self.is_skipped(task, copy.map_index) {
                return Err(format!("{} waits and was decided against", task.spec.task_id));
            }
            if self.stage == Stage::Ending && !task.spec.is_teardown {
                return Err(format!("{} waits and its run was ended", task.spec.task_id));
            }
            if matches!(self.stage, Stage::Running(_)) && task.expanded == Some(0) {
                return Err(format!("{} has nothing to map over and waits", task.spec.task_id));
            }
            if matches!(self.stage, Stage::Running(_)) && self.is_out_of_dates(task) {
                return Err(format!("{} is no part of the run by its dates", task.spec.task_id));
            }
            if matches!(self.stage, Stage::Running(_)) && task.should_have_copies() {
                return Err(format!("{} should have its copies by now", task.spec.task_id));
            }
        }
        let stopped = |(task, copy): &(&TaskModel, &CopyModel)| {
            !task.spec.is_teardown && copy.done().is_none()
        };
        if self.stage == Stage::Ending && self.copies().any(|it| stopped(&it)) {
            return Err("the run was ended, and more than its teardowns goes on".to_owned());
        }
        let again = |(task, copy): &(&TaskModel, &CopyModel)| {
            let waits = matches!(copy.stand, Stand::Again(..) | Stand::Later(..));
            waits && self.is_skipped(task, copy.map_index)
        };
        if let Some((task, _)) = self.copies().find(again) {
            return Err(format!("{} is to go on and was decided against", task.spec.task_id));
        }
        if matches!(self.stage, Stage::Running(_) | Stage::Ending) && self.all_done() {
            return Err("every task is done and the run goes on".to_owned());
        }
        Ok(())
    }
}
