//! The second opinion on why things wait: whatever waits has a reason, each reason is so, and names who it is.
use dagbok_domain::{
    namespace::{Namespace, Outcome},
    run::Done,
    trigger_rule::Standing,
};
use dagbok_events::{MapIndex, PoolSet, RunKey, TaskId, Timestamp};
use dagbok_protocol::{Blocker, Holders, Reason, Stands, Why, WhyAsk};

use super::{Audit, CopyModel, Finding, RunModel, Stage, Stand, TaskModel};

/// One copy of a task of a run that is not over.
#[derive(Clone, Copy)]
struct Asked<'a> {
    key: &'a RunKey,
    run: &'a RunModel,
    task: &'a TaskModel,
    copy: &'a CopyModel,
}

impl Audit {
    /// Whether a fold that has carried out all that the rules call for at `now` explains every wait that there is.
    pub fn explains(&mut self, fold: &Namespace, now: Timestamp) -> Finding {
        self.nothing_is_left_of_backfills()?;
        let mut kinds = Vec::new();
        for (key, run) in self.active() {
            let why = ask(fold, now, (key, None))?;
            self.run_is_explained((key, run), &why, now)?;
            for (task, copy) in run.copies() {
                let why = ask(fold, now, (key, Some((&task.spec.task_id, copy.map_index))))?;
                let asked = Asked { key, run, task, copy };
                self.copy_is_explained(asked, &why, now).map_err(|finding| {
                    let name = (&task.spec.task_id, copy.map_index);
                    format!("{key} {name:?}: {finding}: {copy:?} is explained by {why:?}")
                })?;
                kinds.extend(why.is.reasons.iter().map(kind));
            }
        }
        for kind in kinds {
            self.note(&kind);
        }
        Ok(())
    }

    fn run_is_explained(
        &self,
        (key, run): (&RunKey, &RunModel),
        why: &Why,
        now: Timestamp,
    ) -> Finding {
        let queued = run.stage == Stage::Queued;
        if queued == why.is.reasons.is_empty() && !self.dags[&key.dag_id].paused {
            return Err(format!("{key} is {:?}, explained by {why:?}", run.stage));
        }
        if !queued && why.roots.is_empty() {
            return Err(format!("{key} goes on, and nothing of it does: {why:?}"));
        }
        let mut reasons = why.is.reasons.iter();
        reasons.try_for_each(|reason| self.holds_of_run((key, run), reason, now))
    }

    /// Whether a reason that keeps a run is so.
    fn holds_of_run(
        &self,
        (key, run): (&RunKey, &RunModel),
        reason: &Reason,
        now: Timestamp,
    ) -> Finding {
        let is_so = match reason {
            Reason::Paused => self.dags[&key.dag_id].paused,
            Reason::BackfillPaused { backfill_id } => {
                run.backfill == Some(backfill_id.0)
                    && self.backfill_stands(backfill_id.0).is_some_and(|(.., paused)| paused)
            }
            Reason::BackfillMaxActiveRuns { backfill_id, most, runs, more, before } => {
                let stands = self.backfill_stands(backfill_id.0);
                run.backfill == Some(backfill_id.0)
                    && stands.is_some_and(|(running, may, _)| {
                        running == runs.len() + *more as usize
                            && may == *most as usize
                            && running + *before as usize >= may
                    })
            }
            Reason::NotDue { due } => *due > now && run.stage == Stage::Queued,
            Reason::MaxActiveRuns { most, runs, more, before } => {
                let under_way =
                    |run: &RunModel| matches!(run.stage, Stage::Running(_) | Stage::Ending);
                let of_dag = self.runs().filter(|(it, _)| it.dag_id == key.dag_id);
                let own = |run: &RunModel| under_way(run) && run.backfill.is_none();
                let active = of_dag.filter(|(_, run)| own(run)).count();
                let named = runs.iter().all(|run_id| {
                    let key = RunKey { dag_id: key.dag_id.clone(), run_id: run_id.clone() };
                    self.runs.get(&key).is_some_and(under_way)
                });
                named
                    && active == runs.len() + *more as usize
                    && active + *before as usize >= *most as usize
            }
            _ => false,
        };
        if is_so { Ok(()) } else { Err(format!("{key} {:?}: {reason:?} is not so", run.stage)) }
    }

    fn copy_is_explained(&self, asked: Asked<'_>, why: &Why, now: Timestamp) -> Finding {
        let Asked { run, task, copy, .. } = asked;
        let stands = match &copy.stand {
            Stand::Waiting => why.is.stands == Stands::Waiting,
            Stand::Queued(_) => why.is.stands == Stands::Queued,
            Stand::Running(_, holder) => why.is.executor.as_ref() == Some(holder),
            Stand::Again(..) => why.is.stands == Stands::UpForRetry,
            Stand::Later(..) if copy.deferred().is_some() => why.is.stands == Stands::Deferred,
            Stand::Later(..) => why.is.stands == Stands::UpForReschedule,
            Stand::Done(_) => why.is.stands.is_over(),
        };
        if !stands {
            return Err("it stands otherwise".to_owned());
        }
        let goes_on =
            matches!(copy.stand, Stand::Running(..) | Stand::Done(Done::Success | Done::Failed));
        if goes_on != why.is.reasons.is_empty() {
            return Err("it waits without a reason, or has one without a wait".to_owned());
        }
        let waits = run.verdict(task, copy.map_index) == Standing::Wait;
        let upstream =
            |reason: &Reason| matches!(reason, Reason::Upstream { .. } | Reason::Scope { .. });
        if copy.stand == Stand::Waiting && waits != why.is.reasons.iter().any(upstream) {
            return Err("what is before it is said to be otherwise".to_owned());
        }
        let waiting = waits && copy.stand == Stand::Waiting;
        if waiting && matches!(run.stage, Stage::Running(_)) && why.roots.is_empty() {
            return Err("nothing stands behind its wait".to_owned());
        }
        let verdict = run.verdict(task, copy.map_index);
        self.past_is_told((asked.key, run, task), (&copy.stand, verdict), &why.is.reasons)?;
        for reason in &why.is.reasons {
            if !self.holds(asked, reason, now)? {
                return Err(format!("{reason:?} is not so"));
            }
        }
        Ok(())
    }

    /// Whether a reason that keeps a copy is so.
    fn holds(&self, asked: Asked<'_>, reason: &Reason, now: Timestamp) -> Result<bool, String> {
        let Asked { key, run, task, copy } = asked;
        Ok(match reason {
            // At rest nothing goes next.
            Reason::Next => false,
            Reason::RunQueued => run.stage == Stage::Queued,
            Reason::Upstream { tasks, .. } => {
                let direct = |it: &Blocker| {
                    let mut above = task.spec.upstream.iter().map(|up| &run.tasks[*up as usize]);
                    above.any(|up| up.spec.task_id == it.task_id)
                };
                !tasks.is_empty() && tasks.iter().all(|it| direct(it) && is_open(run, it))
            }
            Reason::Scope { tasks, .. } | Reason::Lengths { tasks, .. } => {
                !tasks.is_empty() && tasks.iter().all(|it| is_open(run, it))
            }
            Reason::DependsOnPast { .. } => self.is_held_by((key, run, task), reason),
            Reason::Retry { due } => {
                matches!(&copy.stand, Stand::Again(_, at) if at == due && *at > now)
            }
            Reason::Trigger { until, .. } => copy.deferred().is_some() && copy.until == *until,
            Reason::Reschedule { due } => {
                matches!(&copy.stand, Stand::Later(_, _, at) if at == due && *at > now)
            }
            Reason::NoExecutor { .. }
            | Reason::TooLarge { .. }
            | Reason::Cordoned { .. }
            | Reason::Resources { .. }
            | Reason::ExecutorsFull { .. }
            | Reason::Offered { .. } => self.is_offered_so(task, copy, reason),
            Reason::Never { why, .. } => copy.stand == Stand::Done(Done::RuledOut(*why)),
            Reason::MaxActiveTasks { .. }
            | Reason::MaxActiveTisPerDag { .. }
            | Reason::MaxActiveTisPerDagRun { .. }
            | Reason::NoPool { .. }
            | Reason::PoolTooSmall { .. }
            | Reason::Pool { .. }
            | Reason::Parallelism { .. } => self.has_no_room(key, task, reason),
            _ => return self.holds_of_run((key, run), reason, now).map(|()| true),
        })
    }

    /// Whether a limit is reached, by those that are named.
    fn has_no_room(&self, key: &RunKey, task: &TaskModel, reason: &Reason) -> bool {
        let task_id = &task.spec.task_id;
        let tries = |wanted: &dyn Fn(&RunKey, &TaskId) -> bool| {
            let all = self.runs.iter().flat_map(|(key, run)| run.tries(key));
            all.filter(|(it, _)| {
                let key = RunKey { dag_id: it.dag_id.clone(), run_id: it.run_id.clone() };
                wanted(&key, &it.task_id)
            })
            .count()
        };
        let reached = |most: u32, holders: &Holders, count: usize| {
            count >= most as usize && count == holders.named.len() + holders.more as usize
        };
        match reason {
            Reason::MaxActiveTasks { most, holders } => {
                let count = tries(&|it, _| it.dag_id == key.dag_id);
                reached(*most, holders, count)
            }
            Reason::MaxActiveTisPerDag { most, holders } => {
                let count = tries(&|it, of| it.dag_id == key.dag_id && of == task_id);
                reached(*most, holders, count)
            }
            Reason::MaxActiveTisPerDagRun { most, holders } => {
                reached(*most, holders, tries(&|it, of| it == key && of == task_id))
            }
            Reason::Parallelism { most, holders } => {
                *most == self.parallelism && reached(*most, holders, tries(&|_, _| true))
            }
            Reason::NoPool { pool } => !self.pools.contains_key(pool),
            Reason::PoolTooSmall { pool, needs, slots } => {
                needs > slots && self.pools.get(pool) == Some(slots)
            }
            Reason::Pool { pool, needs, free, slots, holders } => {
                let used: u64 = self.runs.values().map(|run| run.slots_used(pool)).sum();
                let told: u64 = holders.named.iter().map(|it| u64::from(it.slots)).sum();
                *slots != PoolSet::UNLIMITED
                    && self.pools.get(pool) == Some(slots)
                    && u64::from(*free) == u64::from(*slots).saturating_sub(used)
                    && free < needs
                    && (holders.more > 0 || told == used)
            }
            _ => false,
        }
    }
}

/// Whether a task that is named is not done.
fn is_open(run: &RunModel, named: &Blocker) -> bool {
    let Some(task) = run.tasks.iter().find(|task| task.spec.task_id == named.task_id) else {
        return false;
    };
    let open = |copy: &&CopyModel| copy.done().is_none();
    if named.stands.is_some() {
        return task.find(named.map_index).is_some_and(|copy| open(&copy));
    }
    let count = task.copies.iter().filter(open).count();
    count > 0 && count == named.open as usize && task.copies.len() == named.copies as usize
}

fn ask(
    fold: &Namespace,
    now: Timestamp,
    (key, task): (&RunKey, Option<(&TaskId, MapIndex)>),
) -> Result<Why, String> {
    let ask = WhyAsk {
        dag_id: key.dag_id.clone(),
        run_id: Some(key.run_id.clone()),
        task_id: task.map(|(task_id, _)| task_id.clone()),
        map_index: task.map_or(MapIndex::UNMAPPED, |(_, map_index)| map_index),
    };
    match fold.why(now, &ask).outcome {
        Outcome::Waits(why) => Ok(*why),
        other => Err(format!("{ask:?} is answered {other:?}")),
    }
}

/// Which reason it is, for who counts what was seen.
fn kind(reason: &Reason) -> String {
    let told = format!("{reason:?}");
    let end = told.find([' ', '{']).unwrap_or(told.len());
    format!("waited: {}", &told[..end])
}
