//! The second opinion on backfills: each date once and in order, their own limit at every instant, what ends.
use std::collections::BTreeSet;

use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{
    BackfillCreated, BackfillSkipped, DagId, Fact, Record, ReprocessBehavior, RunBackfilled,
    RunCreated, RunKey, RunType, Scope, SkippedWhy, Timestamp, Timetable,
};
use dagbok_protocol::{ClearTasks, Command, CommandBody, RefusalCode};

use super::{
    Audit, Finding,
    run::{RunModel, Stage},
};

/// A backfill, going on or over.
#[derive(Clone, Debug)]
pub(super) struct BackfillModel {
    pub(super) dag_id: DagId,
    /// All its dates, in its order.
    dates: Vec<Timestamp>,
    /// How many of them were seen to.
    done: usize,
    reprocess: ReprocessBehavior,
    most: usize,
    paused: bool,
    over: bool,
}

impl Audit {
    /// Backfills that are not over, by their numbers.
    pub fn backfills(&self) -> impl Iterator<Item = (u64, &DagId)> {
        let going = self.backfills.iter().filter(|(_, it)| !it.over);
        going.map(|(id, it)| (*id, &it.dag_id))
    }

    /// Backfills that are not over and not paused, of DAGs that are in their files.
    pub fn backfills_that_go_on(&self) -> usize {
        let gone = |dag_id: &DagId| self.dags.get(dag_id).is_none_or(|dag| dag.gone);
        let going = self.backfills.values().filter(|it| !it.over && !gone(&it.dag_id));
        going.filter(|it| !it.paused).count()
    }

    /// Backfills that somebody stopped for now.
    pub fn paused_backfills(&self) -> impl Iterator<Item = u64> {
        self.backfills.iter().filter(|(_, it)| !it.over && it.paused).map(|(id, _)| *id)
    }

    /// Takes in what a record says of a backfill itself; whether the fact was about one.
    pub(super) fn backfill(&mut self, record: &Record, fact: &Fact) -> Result<bool, String> {
        let Scope::Dag(dag_id) = &record.scope else { return Ok(false) };
        match fact {
            Fact::BackfillCreated(f) => self.create_backfill(dag_id, record, f)?,
            Fact::BackfillPaused(f) => self.going(dag_id, f.backfill_id.0)?.paused = true,
            Fact::BackfillUnpaused(f) => self.going(dag_id, f.backfill_id.0)?.paused = false,
            Fact::BackfillCancelled(f) => {
                self.going(dag_id, f.backfill_id.0)?.over = true;
                self.note("a backfill was cancelled");
            }
            Fact::BackfillCompleted(f) => {
                let id = f.backfill_id.0;
                let active = self.active_of(id).count();
                let it = self.going(dag_id, id)?;
                if it.done < it.dates.len() || active > 0 {
                    return Err(format!("backfill {id} is not complete: {it:?}, {active} active"));
                }
                it.over = true;
                self.note("a backfill was completed");
            }
            Fact::BackfillSkipped(f) => self.skip(dag_id, *f)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn going(&mut self, dag_id: &DagId, id: u64) -> Result<&mut BackfillModel, String> {
        let known = self.backfills.get_mut(&id).filter(|it| it.dag_id == *dag_id && !it.over);
        known.ok_or_else(|| format!("backfill {id} of {dag_id} does not go on"))
    }

    fn create_backfill(&mut self, dag_id: &DagId, record: &Record, f: &BackfillCreated) -> Finding {
        if self.backfills.keys().next_back().copied().unwrap_or(0) + 1 != f.backfill_id.0 {
            return Err("its number is not the next".to_owned());
        }
        if self.backfills().any(|(_, of)| of == dag_id) {
            return Err("the DAG has a backfill that goes on".to_owned());
        }
        // What is written in Python says itself what is due: its data may end later.
        let of = self.dags.get(dag_id).and_then(|dag| dag.versions.get(&dag.current));
        let own = of.is_some_and(|it| matches!(it.schedule.timetable, Timetable::Python { .. }));
        let (mut dates, mut last) = (Vec::new(), f.from_date.plus(dagbok_events::Micros(-1)));
        for runs in &f.runs {
            for n in 0..i64::from(runs.count) {
                let ahead = dagbok_events::Micros(runs.step.0 * n);
                let (start, end) = (runs.first.start.plus(ahead), runs.first.end.plus(ahead));
                let due = if own { start } else { end };
                if start <= last || start > f.to_date || due >= record.decided_at() {
                    return Err(format!("{start} is no date for it: {f:?}"));
                }
                (dates, last) = ([dates, vec![start]].concat(), start);
            }
        }
        if dates.is_empty() {
            return Err("it has no date".to_owned());
        }
        if f.run_backwards {
            dates.reverse();
            self.note("a backfill runs backwards");
        }
        let model = BackfillModel {
            dag_id: dag_id.clone(),
            dates,
            done: 0,
            reprocess: f.reprocess_behavior,
            most: f.max_active_runs as usize,
            paused: false,
            over: false,
        };
        self.backfills.insert(f.backfill_id.0, model);
        Ok(())
    }

    /// The date is the one whose turn it is, and nothing keeps the backfill.
    fn see_to(&mut self, dag_id: &DagId, id: u64, date: Timestamp) -> Finding {
        let dag = &self.dags[dag_id];
        if dag.paused || dag.gone {
            return Err(format!("backfill {id} goes on, and its DAG is paused or gone"));
        }
        let it = self.going(dag_id, id)?;
        if it.paused || it.dates.get(it.done) != Some(&date) {
            return Err(format!("it is not the turn of {date} in backfill {id}: {it:?}"));
        }
        it.done += 1;
        Ok(())
    }

    fn skip(&mut self, dag_id: &DagId, f: BackfillSkipped) -> Finding {
        let id = f.backfill_id.0;
        let (from, reprocess) = {
            let it = self.going(dag_id, id)?;
            (it.done, it.reprocess)
        };
        let until = from + f.count as usize;
        let it = &self.backfills[&id];
        let Some(dates) = it.dates.get(from..until).map(<[Timestamp]>::to_vec) else {
            return Err(format!("backfill {id} has no {} dates left", f.count));
        };
        if (dates.first(), dates.last()) != (Some(&f.first), Some(&f.last)) {
            return Err(format!("{f:?} passes over {dates:?}"));
        }
        for date in dates {
            self.see_to(dag_id, id, date)?;
            let of_date = |(key, run): &(&RunKey, &RunModel)| {
                key.dag_id == *dag_id && run.logical_date == Some(date)
            };
            let Some((_, run)) = self.runs.iter().find(of_date) else {
                return Err(format!("{date} is passed over and has no run"));
            };
            let over = run.stage == Stage::Over;
            let right = match f.why {
                SkippedWhy::InFlight => !over,
                SkippedWhy::AlreadyExists => over && !runs_again(reprocess, run),
                SkippedWhy::HistoryGone => false,
            };
            if !right {
                return Err(format!("{date} is passed over as {:?}: {:?}", f.why, run.stage));
            }
        }
        self.note("a backfill passed dates over");
        Ok(())
    }

    /// A run is made, by a backfill or by something else.
    pub(super) fn backfill_makes(&mut self, key: &RunKey, f: &RunCreated) -> Finding {
        let by_type = f.run_type == RunType::Backfill;
        let Some(id) = f.backfill_id.map(|id| id.0) else {
            return if by_type { Err("a backfill's run of none".to_owned()) } else { Ok(()) };
        };
        let date = f.logical_date.ok_or("a backfill's run without a date")?;
        if !by_type {
            return Err("a backfill makes a run of another type".to_owned());
        }
        if self.active_of(id).count() >= self.backfills.get(&id).map_or(0, |it| it.most) {
            return Err(format!("backfill {id} makes more runs than it may"));
        }
        self.note("a run by a backfill");
        self.see_to(&key.dag_id, id, date)
    }

    /// A run that is over runs again for a backfill.
    pub(super) fn backfill_takes(&mut self, key: &RunKey, f: &RunBackfilled) -> Finding {
        let id = f.backfill_id.0;
        let reprocess = self.going(&key.dag_id, id)?.reprocess;
        if self.active_of(id).count() >= self.backfills[&id].most {
            return Err(format!("backfill {id} takes more runs than it may"));
        }
        let run = self.runs.get(key).ok_or("there is no such run")?;
        if run.stage != Stage::Over || !runs_again(reprocess, run) {
            return Err(format!("{key} may not run again by {reprocess:?}: {:?}", run.stage));
        }
        let date = run.logical_date.ok_or("it has no date")?;
        self.see_to(&key.dag_id, id, date)?;
        self.note("a run that runs again by a backfill");
        let run = self.runs.get_mut(key).ok_or("there is no such run")?;
        (run.backfill, run.run_type) = (Some(id), RunType::Backfill);
        Ok(())
    }

    /// A run that is over goes on by itself: it belongs to no backfill that is over.
    pub(super) fn leave_backfill(&mut self, key: &RunKey) {
        let over = |id: &u64| self.backfills.get(id).is_none_or(|it| it.over);
        if let Some(run) = self.runs.get_mut(key)
            && run.stage == Stage::Over
            && run.backfill.as_ref().is_some_and(over)
        {
            run.backfill = None;
        }
    }

    /// What a backfill clears of a run: all of it.
    pub(super) fn cleared_by_backfill(record: &Record) -> Option<ClearTasks> {
        let Scope::Run(RunKey { dag_id, run_id }) = &record.scope else { return None };
        let taken = record.facts.iter().any(|fact| matches!(fact, Fact::RunBackfilled(_)));
        let all = ClearTasks::of(dag_id.clone(), run_id.clone());
        taken.then_some(ClearTasks { on_latest_version: true, ..all })
    }

    fn active_of(&self, id: u64) -> impl Iterator<Item = &RunModel> {
        self.active().map(|(_, run)| run).filter(move |run| run.backfill == Some(id))
    }

    /// A run of a backfill begins only while that goes on, and within its own limit.
    pub(super) fn check_backfill_limit(&self, key: &RunKey) -> Finding {
        let Some(id) = self.runs.get(key).and_then(|run| run.backfill) else { return Ok(()) };
        let under_way = |run: &&RunModel| matches!(run.stage, Stage::Running(_) | Stage::Ending);
        let running = self.active_of(id).filter(under_way).count();
        let it = &self.backfills[&id];
        if it.over || it.paused || running > it.most {
            return Err(format!("{running} runs of backfill {id} are running: {it:?}"));
        }
        Ok(())
    }

    /// How many of a backfill's runs are under way, its limit, and whether it is paused.
    pub(super) fn backfill_stands(&self, id: u64) -> Option<(usize, usize, bool)> {
        let under_way = |run: &&RunModel| matches!(run.stage, Stage::Running(_) | Stage::Ending);
        let it = self.backfills.get(&id).filter(|it| !it.over)?;
        Some((self.active_of(id).filter(under_way).count(), it.most, it.paused))
    }

    /// Whether a fold has the same backfills, as far; and at rest none has a run that it left behind.
    pub(super) fn agrees_on_backfills(&self, namespace: &Namespace) -> Finding {
        for (dag_id, dag) in namespace.dags() {
            let folded = dag.backfill().map(|it| {
                let (done, of) = it.progress();
                (it.backfill_id().0, it.is_paused(), done as usize, of as usize)
            });
            let own = self.backfills.iter().find(|(_, it)| it.dag_id == *dag_id && !it.over);
            let own = own.map(|(id, it)| (*id, it.paused, it.done, it.dates.len()));
            if folded != own {
                return Err(format!("the backfill of {dag_id} is {own:?}, folded {folded:?}"));
            }
        }
        Ok(())
    }

    /// At rest nothing waits of a backfill that is over.
    pub(super) fn nothing_is_left_of_backfills(&self) -> Finding {
        let over = |id: u64| self.backfills.get(&id).is_none_or(|it| it.over);
        let left = |run: &RunModel| run.stage == Stage::Queued && run.backfill.is_some_and(over);
        match self.active().find(|(_, run)| left(run)) {
            Some((key, _)) => Err(format!("{key} is queued, and its backfill is over")),
            None => Ok(()),
        }
    }

    /// What is to be said to a command about backfills, by the state as it is.
    pub(super) fn is_right_of_backfill(&self, command: &Command, outcome: &Outcome) -> bool {
        let refused = match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        match &command.body {
            CommandBody::CreateBackfill(ask) => {
                let Some(dag) = self.dags.get(&ask.dag_id).filter(|dag| !dag.gone) else {
                    return refused == Some(RefusalCode::DagNotFound);
                };
                let spec = &dag.versions[&dag.current];
                let timetable = &spec.schedule.timetable;
                let periodic = !matches!(
                    timetable,
                    Timetable::Manual | Timetable::Once | Timetable::Continuous
                );
                let on_past = spec.tasks.iter().any(|task| task.depends_on_past);
                let odd = on_past
                    && (ask.run_backwards || ask.reprocess_behavior == ReprocessBehavior::None);
                if !periodic || odd {
                    return refused == Some(RefusalCode::Invalid);
                }
                let going = self.backfills().any(|(_, of)| *of == ask.dag_id);
                match outcome {
                    Outcome::Accepted { .. } => !going && !ask.dry_run,
                    Outcome::WouldBackfill(plan) => ask.dry_run && plan.count > 0,
                    Outcome::Refused(refusal) if refusal.code == RefusalCode::BackfillActive => {
                        going
                    }
                    Outcome::Refused(refusal) => refusal.code == RefusalCode::Invalid,
                    _ => false,
                }
            }
            CommandBody::PauseBackfill { backfill_id: id }
            | CommandBody::UnpauseBackfill { backfill_id: id }
            | CommandBody::CancelBackfill { backfill_id: id } => match self.backfills.get(&id.0) {
                None => refused == Some(RefusalCode::BackfillNotFound),
                Some(it) if it.over => refused == Some(RefusalCode::BackfillOver),
                Some(_) => refused.is_none(),
            },
            _ => true,
        }
    }

    /// Dates that have a run made or run again by a backfill twice: none may.
    pub(super) fn dates_are_seen_to_once(&self) -> Finding {
        let mut seen = BTreeSet::new();
        for record in &self.history {
            let Scope::Run(key) = &record.scope else { continue };
            for fact in &record.facts {
                let id = match fact {
                    Fact::RunCreated(f) => f.backfill_id,
                    Fact::RunBackfilled(f) => Some(f.backfill_id),
                    _ => None,
                };
                if let Some(id) = id
                    && !seen.insert((id, key.clone()))
                {
                    return Err(format!("backfill {id} ran {key} twice"));
                }
            }
        }
        Ok(())
    }
}

fn runs_again(reprocess: ReprocessBehavior, run: &RunModel) -> bool {
    match reprocess {
        ReprocessBehavior::None => false,
        ReprocessBehavior::Failed => !run.succeeded,
        ReprocessBehavior::Completed => true,
    }
}
