//! The second opinion on tries: which may be offered when, and what their ends make of them.
use dagbok_domain::{run::Done, trigger_rule::Standing};
use dagbok_events::{
    Fact, FailureKind, LostWhy, MapIndex, RuledOut, TaskId, Timestamp, TriggerFailedWhy,
};

use super::{
    Finding,
    run::{RunModel, Stage, Told},
    target::target,
    task::{CopyModel, Execution, NEVER, Stand},
};

impl RunModel {
    /// Takes a fact of a try in.
    pub(super) fn fold_try(&mut self, told: Told, fact: &Fact) -> Finding {
        let Some((task_id, map_index, execution)) = target(fact) else {
            return Err(format!("{fact:?} is none of this run's facts now"));
        };
        if matches!(fact, Fact::TaskQueued(_)) {
            return self.queue(told, task_id, map_index, execution);
        }
        let over = self.stage == Stage::Over;
        let copy = self.named(task_id)?.find_mut(map_index);
        let Some(copy) = copy else { return Err(format!("{task_id} has no copy {map_index:?}")) };
        if matches!(fact, Fact::TriggerFired(_) | Fact::TriggerFailed(_) | Fact::HitlAnswered(_)) {
            return end_trigger(copy, told.at, execution, fact);
        }
        if copy.in_flight() != Some(execution) {
            return Err(format!("{execution:?} of {task_id} is not in flight: {:?}", copy.stand));
        }
        match fact {
            Fact::TryStarted(f) => {
                if !matches!(copy.stand, Stand::Queued(_)) {
                    return Err("a leg begins twice".to_owned());
                }
                copy.not_begun = 0;
                copy.began.get_or_insert(f.started_at);
                copy.stand = Stand::Running(execution, f.executor.clone());
                return Ok(());
            }
            Fact::TryNamed(_) => return Ok(()),
            Fact::XComPushed(f) => {
                match f.value {
                    Some(_) => drop(copy.xcoms.insert(f.key.clone(), told.seq)),
                    None => drop(copy.xcoms.remove(&f.key)),
                }
                if f.key == "return_value" {
                    copy.length = f.length.filter(|_| f.value.is_some());
                }
                return Ok(());
            }
            _ => {}
        }
        if let Fact::TryCancelled(f) = fact {
            return self.cancel(task_id, map_index, f.skipped);
        }
        if over {
            return Err("a try ends as it can't with its run".to_owned());
        }
        self.end_try(told, task_id, map_index, fact)
    }

    /// A try is cancelled: with its run, by a failure that stops the rest, or since its task was decided against
    /// before it had begun.
    fn cancel(&mut self, task_id: &TaskId, map_index: MapIndex, skipped: bool) -> Finding {
        let ix = self.place(task_id).ok_or_else(|| format!("there is no task {task_id}"))?;
        let copy = self.tasks[ix].find(map_index).expect("just found");
        let queued = matches!(copy.stand, Stand::Queued(_));
        if self.by_hand && !skipped {
            self.tasks[ix].find_mut(map_index).expect("just found").stand =
                Stand::Done(Done::Failed);
            return Ok(());
        }
        let decided = skipped && queued && self.is_decided_against(task_id);
        if !decided && !self.is_stopped(&self.tasks[ix]) {
            return Err(format!("a try of {task_id} is cancelled, and nothing stops it"));
        }
        if skipped != self.is_skipped_with_its_try(copy) {
            return Err(format!("a try of {task_id} is cancelled, skipped {skipped}: {copy:?}"));
        }
        let done = if skipped { Done::RuledOut(RuledOut::Skipped) } else { Done::Failed };
        self.tasks[ix].find_mut(map_index).expect("just found").stand = Stand::Done(done);
        Ok(())
    }

    fn queue(
        &mut self,
        told: Told,
        task_id: &TaskId,
        map_index: MapIndex,
        execution: Execution,
    ) -> Finding {
        let ix = self.place(task_id).ok_or_else(|| format!("there is no task {task_id}"))?;
        let teardown = self.tasks[ix].spec.is_teardown;
        let ends = self.stage == Stage::Ending && teardown;
        if !ends && !matches!(self.stage, Stage::Running(_)) {
            return Err("the run is not running".to_owned());
        }
        let verdict = self.verdict(&self.tasks[ix], map_index);
        let decided_against = self.is_skipped(&self.tasks[ix], map_index);
        if self.tasks[ix].lacks_copies() || self.tasks[ix].expanded == Some(0) {
            return Err(format!("{task_id} is offered and has no copies"));
        }
        let copy = self.tasks[ix].find_mut(map_index);
        let Some(copy) = copy else { return Err(format!("{task_id} has no copy {map_index:?}")) };
        let next = (copy.tries + 1, 0);
        let (expected, due) = match &copy.stand {
            Stand::Waiting | Stand::Again(..) | Stand::Later(..) if decided_against => {
                return Err(format!("{task_id} is queued and a task before it decided against it"));
            }
            Stand::Waiting if verdict != Standing::Ready => {
                return Err(format!("{task_id} is queued while its rule says {verdict:?}"));
            }
            Stand::Waiting => (next, Timestamp(i64::MIN)),
            Stand::Again(_, due) => (next, *due),
            Stand::Later(leg, _, due) => (*leg, *due),
            stand => return Err(format!("{task_id} is queued while {stand:?}")),
        };
        if told.at < due {
            return Err(format!("{task_id} is queued again before {due}"));
        }
        if execution != expected {
            return Err(format!("{execution:?} of {task_id} is queued, not {expected:?}"));
        }
        if !copy.offered.insert(execution) {
            return Err(format!("{execution:?} of {task_id} was there before"));
        }
        if execution.1 == 0 {
            copy.began = None;
            copy.forget_values();
        }
        copy.tries = execution.0;
        (copy.queued_seq, copy.stand) = (told.seq, Stand::Queued(execution));
        copy.queued_at = told.at;
        Ok(())
    }

    fn end_try(
        &mut self,
        told: Told,
        task_id: &TaskId,
        map_index: MapIndex,
        fact: &Fact,
    ) -> Finding {
        let task = self.named(task_id)?;
        let retries = task.spec.retries;
        let copy = task.find_mut(map_index).expect("just found");
        let (at, (n, leg)) = (told.at, copy.in_flight().expect("just seen"));
        let again = |due: Option<Timestamp>| {
            due.map_or(Stand::Done(Done::Failed), |due| Stand::Again(at, due))
        };
        copy.stand = match fact {
            Fact::TrySucceeded(f) => {
                copy.skips.clone_from(&f.skips);
                Stand::Done(Done::Success)
            }
            Fact::TrySkipped(_) => Stand::Done(Done::RuledOut(RuledOut::Skipped)),
            Fact::TryRescheduled(f) => Stand::Later((n, leg + 1), at, f.due),
            Fact::TryDeferred(f) => {
                copy.until = f.timeout_at;
                Stand::Later((n, leg + 1), at, NEVER)
            }
            Fact::TryReturned(_) if leg == 0 => Stand::Again(at, at),
            Fact::TryReturned(_) => Stand::Later((n, leg + 1), at, at),
            Fact::TryLost(f) if f.why == LostWhy::QueuedTooLong => {
                let too_early = at < copy.queued_at.plus(told.queued_timeout);
                let waits = matches!(copy.stand, Stand::Queued(_)) && told.queued_timeout.0 > 0;
                if !waits || too_early || (copy.not_begun < 2) != f.retry_at.is_some() {
                    return Err(format!("it was not queued for too long: {copy:?} {f:?}"));
                }
                copy.not_begun += 1;
                again(f.retry_at)
            }
            Fact::TryLost(f) => {
                if !matches!(f.why, LostWhy::ParentDied | LostWhy::MayHaveBegun) {
                    lose(copy, told.max_losses, f.retry_at)?;
                } else if f.retry_at.is_none() {
                    return Err("a loss that counts against nobody is made up for".to_owned());
                }
                again(f.retry_at)
            }
            Fact::TryFailed(f) => {
                let ours = [FailureKind::CouldNotStart, FailureKind::Executor];
                if ours.contains(&f.failure.kind) {
                    lose(copy, told.max_losses, f.retry_at)?;
                } else {
                    let left = copy.failures < retries && f.failure.retryable;
                    if left != f.retry_at.is_some() {
                        let failures = copy.failures;
                        return Err(format!("after {failures} failures it says {:?}", f.retry_at));
                    }
                    copy.failures += 1;
                }
                again(f.retry_at)
            }
            other => return Err(format!("{other:?} is no end of a try")),
        };
        Ok(())
    }
}

/// A try was lost by the system, which is made up for so many times.
fn lose(copy: &mut CopyModel, max_losses: u16, retry_at: Option<Timestamp>) -> Finding {
    if (copy.losses < max_losses) != retry_at.is_some() {
        return Err(format!("after {} losses it says {retry_at:?}", copy.losses));
    }
    copy.losses += 1;
    Ok(())
}

/// A trigger is over: the leg that it stood for goes on, or ends without having been offered.
fn end_trigger(copy: &mut CopyModel, at: Timestamp, execution: Execution, fact: &Fact) -> Finding {
    if copy.deferred() != Some(execution) {
        return Err(format!("no trigger stands for {execution:?}: {:?}", copy.stand));
    }
    match fact {
        Fact::TriggerFired(f) if f.ends_task => {
            copy.stand = Stand::Running(execution, f.executor.clone());
            return Ok(());
        }
        Fact::TriggerFailed(f)
            if f.why == TriggerFailedWhy::Timeout && copy.until.is_none_or(|until| until > at) =>
        {
            return Err(format!("a trigger's time is up too early: {:?}", copy.until));
        }
        _ => {}
    }
    copy.stand = Stand::Later(execution, at, at);
    Ok(())
}
