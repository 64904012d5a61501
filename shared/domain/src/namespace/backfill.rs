//! Backfills: what a DAG remembers of the one that goes on, and how facts move it.
//!
//! Its dates are found once, when it is made, and stand as stretches; a place in them says how far it has come. Its
//! runs are made as its own limit permits, so that no record looks at more than the date that is next. Once it is over
//! nothing of it is kept but its number: what became of its dates is in the rows.
use std::{collections::BTreeSet, sync::Arc};

use dagbok_events::{
    Actor, BackfillCreated, BackfillId, DagId, Fact, Interval, Payload, Record, ReprocessBehavior,
    RunId, RunKey, RunType, Timestamp,
};
use dagbok_protocol::{BackfillRuns, Reason};
use serde::{Deserialize, Serialize};

use super::{Dag, Namespace, Proposal, RunNo, run_id::run_id_for};
use crate::run::{Phase, Run};

/// Runs that are named of those that take up a limit.
const NAMED: usize = 10;

/// A backfill that is not over.
#[derive(Clone, Debug)]
pub struct Backfill {
    id: BackfillId,
    from_date: Timestamp,
    to_date: Timestamp,
    runs: BackfillRuns,
    run_backwards: bool,
    reprocess_behavior: ReprocessBehavior,
    max_active_runs: u32,
    conf: Option<Payload>,
    by: Actor,
    /// How many of its dates were seen to, in its order.
    next: u32,
    paused: bool,
    /// Its runs that are not over.
    active: BTreeSet<RunNo>,
    /// Those of them that wait for their turn.
    queued: BTreeSet<RunNo>,
}

/// A backfill as a snapshot keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedBackfill {
    created: BackfillCreated,
    by: Actor,
    next: u32,
    paused: bool,
}

/// A run that is not over, as one of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    backfill_id: BackfillId,
    queued: bool,
}

impl Run {
    /// Which backfill it takes part in, while it is not over.
    pub(super) fn part(&self) -> Option<Part> {
        let queued = match self.phase() {
            Phase::Queued => true,
            Phase::Running { .. } | Phase::Ending { .. } => false,
            Phase::Over(_) => return None,
        };
        self.meta().backfill_id.map(|backfill_id| Part { backfill_id, queued })
    }
}

impl Backfill {
    fn new(created: &BackfillCreated, by: Actor) -> Self {
        Self {
            id: created.backfill_id,
            from_date: created.from_date,
            to_date: created.to_date,
            runs: BackfillRuns::new(&created.runs),
            run_backwards: created.run_backwards,
            reprocess_behavior: created.reprocess_behavior,
            max_active_runs: created.max_active_runs,
            conf: created.conf.clone(),
            by,
            next: 0,
            paused: false,
            active: BTreeSet::new(),
            queued: BTreeSet::new(),
        }
    }

    pub(super) fn save(&self) -> SavedBackfill {
        let created = BackfillCreated {
            backfill_id: self.id,
            from_date: self.from_date,
            to_date: self.to_date,
            runs: self.runs.stretches().to_vec(),
            run_backwards: self.run_backwards,
            reprocess_behavior: self.reprocess_behavior,
            max_active_runs: self.max_active_runs,
            conf: self.conf.clone(),
        };
        SavedBackfill { created, by: self.by.clone(), next: self.next, paused: self.paused }
    }

    /// As it was saved, but for its runs.
    pub(super) fn restore(saved: SavedBackfill) -> Self {
        let SavedBackfill { created, by, next, paused } = saved;
        Self { next, paused, ..Self::new(&created, by) }
    }

    /// Which one it is.
    pub const fn backfill_id(&self) -> BackfillId {
        self.id
    }

    /// Whether somebody stopped it for now.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How many of its dates were seen to, and how many it has.
    pub const fn progress(&self) -> (u32, u32) {
        (self.next, self.runs.count())
    }

    /// What becomes of dates that have a run.
    pub(super) const fn reprocess_behavior(&self) -> ReprocessBehavior {
        self.reprocess_behavior
    }

    pub(super) const fn conf(&self) -> Option<&Payload> {
        self.conf.as_ref()
    }

    /// Who asked for it.
    pub(super) const fn by(&self) -> &Actor {
        &self.by
    }

    /// The date whose turn it is after `ahead` others.
    pub(super) fn upcoming(&self, ahead: u32) -> Option<Interval> {
        let place = self.next.checked_add(ahead).filter(|place| *place < self.runs.count())?;
        self.runs.get(if self.run_backwards { self.runs.count() - 1 - place } else { place })
    }

    /// Whether all its dates were seen to and none of its runs goes on.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.runs.count() && self.active.is_empty()
    }

    fn running(&self) -> usize {
        self.active.len() - self.queued.len()
    }

    /// How many more of its runs may be under way.
    fn room(&self) -> usize {
        (self.max_active_runs as usize).saturating_sub(self.running())
    }

    /// Whether a run may be made, or run again, by its own limit.
    pub(super) fn has_room(&self) -> bool {
        self.active.len() < self.max_active_runs as usize
    }

    /// A date was seen to.
    fn has_seen_to(&mut self, date: Timestamp) {
        let Some(place) = self.runs.place(date) else { return };
        let place = if self.run_backwards { self.runs.count() - 1 - place } else { place };
        self.next = self.next.max(place.saturating_add(1));
    }
}

impl Dag {
    /// Its backfill that is not over.
    pub const fn backfill(&self) -> Option<&Backfill> {
        self.backfill.as_ref()
    }

    /// Whether the date that is next may be seen to.
    pub(super) fn may_step(&self, backfill: &Backfill) -> bool {
        let stopped = backfill.paused || self.paused || self.gone;
        !stopped && backfill.has_room() && backfill.upcoming(0).is_some()
    }

    /// Whether this queued run of its backfill may begin.
    pub(super) fn may_start_backfilled(&self, number: RunNo) -> bool {
        let Some(backfill) = &self.backfill else { return false };
        let stopped = backfill.paused || self.paused;
        !stopped && backfill.queued.contains(&number) && backfill.room() > 0
    }

    /// Whether the rules call for something about its backfills.
    pub(super) fn has_backfill_step(&self) -> bool {
        let of_one = |backfill: &Backfill| {
            let first = backfill.queued.first();
            backfill.is_done()
                || first.is_some_and(|number| self.may_start_backfilled(*number))
                || self.may_step(backfill)
        };
        !self.left.is_empty() || self.backfill.as_ref().is_some_and(of_one)
    }

    /// A run takes part in a backfill otherwise than before.
    pub(super) fn keep_part(&mut self, number: RunNo, before: Option<Part>, after: Option<Part>) {
        self.apart = self.apart + u32::from(after.is_some()) - u32::from(before.is_some());
        self.left.remove(&number);
        if let Some(backfill) = &mut self.backfill {
            backfill.active.remove(&number);
            backfill.queued.remove(&number);
        }
        let Some(part) = after else { return };
        match &mut self.backfill {
            Some(backfill) if backfill.id == part.backfill_id => {
                backfill.active.insert(number);
                if part.queued {
                    backfill.queued.insert(number);
                }
            }
            _ if part.queued => {
                self.left.insert(number);
            }
            _ => {}
        }
    }

    /// Remembers which run that is over has a date, where its id does not tell.
    pub(super) fn remember_date(&mut self, run: &Run) {
        let Some(date) = run.meta().logical_date else { return };
        let told = DATED.into_iter().any(|it| run_id_for(it, date) == run.key().run_id);
        if !told {
            self.named_dates.insert(date, run.key().run_id.clone());
        }
    }

    /// The run that is over and has this date.
    pub(super) fn run_of_date(&self, date: Timestamp) -> Option<RunId> {
        if let Some(named) = self.named_dates.get(&date) {
            return Some(named.clone());
        }
        // Anybody may name a run of another date, or of none, as a manual one is named: that comes last.
        let ids = DATED.into_iter().map(|run_type| run_id_for(run_type, date));
        ids.into_iter().find(|run_id| self.past.ending(run_id).is_some())
    }
}

/// Runs whose ids tell their dates.
const DATED: [RunType; 3] = [RunType::Scheduled, RunType::Backfill, RunType::Manual];

impl Namespace {
    /// What the rules call for about a DAG's backfills.
    pub(super) fn plan_backfill(&self, dag_id: &DagId) -> Vec<Proposal> {
        let Some(dag) = self.dags.get(dag_id) else { return Vec::new() };
        let mut proposals: Vec<Proposal> =
            dag.left.iter().map(|number| Proposal::EndLeftRun(*number)).collect();
        let Some(backfill) = &dag.backfill else { return proposals };
        if !backfill.paused && !dag.paused {
            let queued = backfill.queued.iter().take(backfill.room());
            proposals.extend(queued.map(|number| Proposal::StartRun(*number)));
        }
        if backfill.is_done() || dag.may_step(backfill) {
            proposals.push(Proposal::StepBackfill(dag_id.clone()));
        }
        proposals
    }

    /// What keeps a queued run of a backfill, besides its DAG.
    pub(super) fn reasons_of_backfill(&self, number: RunNo, dag: &Dag) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let backfill = dag.backfill.as_ref().filter(|it| it.queued.contains(&number));
        let Some(backfill) = backfill else { return reasons };
        let backfill_id = backfill.id;
        if backfill.paused {
            reasons.push(Reason::BackfillPaused { backfill_id });
        }
        let before = backfill.queued.range(..number).take(1_000).count();
        if backfill.running() + before >= backfill.max_active_runs as usize {
            let running = backfill.active.difference(&backfill.queued);
            let running = running.filter_map(|number| self.runs.get(number));
            let runs: Vec<RunId> =
                running.take(NAMED).map(|run| run.key().run_id.clone()).collect();
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let more = count(backfill.running() - runs.len());
            let (most, before) = (backfill.max_active_runs, count(before));
            reasons.push(Reason::BackfillMaxActiveRuns { backfill_id, most, runs, more, before });
        }
        reasons
    }

    pub(super) fn keep_part(
        &mut self,
        number: RunNo,
        dag_id: &DagId,
        before: Option<Part>,
        after: Option<Part>,
    ) {
        if before == after {
            return;
        }
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        if before.is_none()
            && let Some(run) = self.runs.get(&number)
        {
            dag.queued.remove(&(run.meta().run_after, number));
        }
        dag.keep_part(number, before, after);
    }

    /// A run that goes on joins the backfill that lets it, and belongs to none that is over.
    pub(super) fn join_or_leave_backfill(&self, run: &mut Run, record: &Record) {
        let joins = |fact: &Fact| match fact {
            Fact::RunBackfilled(f) => Some(f.clone()),
            _ => None,
        };
        if let Some(fact) = record.facts.iter().find_map(joins) {
            run.join_backfill(&fact);
        } else if run.meta().backfill_id.is_some_and(|id| !self.backfills.contains_key(&id)) {
            run.leave_backfill();
        }
    }

    /// How far a backfill has come by a record about one of its runs.
    pub(super) fn keep_backfill_place(&mut self, key: &RunKey, record: &Record) {
        for fact in &record.facts {
            let (backfill_id, date) = match fact {
                Fact::RunCreated(f) => (f.backfill_id, f.logical_date),
                Fact::RunBackfilled(f) => {
                    let date = self.run(key).and_then(|run| run.meta().logical_date);
                    (Some(f.backfill_id), date)
                }
                _ => continue,
            };
            let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
            let own = dag.backfill.as_mut().filter(|it| Some(it.id) == backfill_id);
            if let (Some(backfill), Some(date)) = (own, date) {
                backfill.has_seen_to(date);
            }
        }
    }

    /// Folds in what a DAG's record says of its backfills.
    pub(super) fn evolve_backfills(&mut self, dag_id: &DagId, record: &Record) {
        let mut moved = false;
        for fact in &record.facts {
            match fact {
                Fact::BackfillCreated(f) => self.begin_backfill(dag_id, f, &record.by),
                Fact::BackfillPaused(f) => {
                    self.change_backfill(dag_id, f.backfill_id, |it| it.paused = true);
                }
                Fact::BackfillUnpaused(f) => {
                    self.change_backfill(dag_id, f.backfill_id, |it| it.paused = false);
                }
                Fact::BackfillSkipped(f) => {
                    self.change_backfill(dag_id, f.backfill_id, |it| it.has_seen_to(f.last));
                }
                Fact::BackfillCancelled(f) => self.end_backfill(dag_id, f.backfill_id),
                Fact::BackfillCompleted(f) => self.end_backfill(dag_id, f.backfill_id),
                _ => continue,
            }
            moved = true;
        }
        if moved {
            self.index_dag(dag_id);
        }
    }

    fn change_backfill(
        &mut self,
        dag_id: &DagId,
        backfill_id: BackfillId,
        change: impl FnOnce(&mut Backfill),
    ) {
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        let own = dag.backfill.as_mut().filter(|it| it.id == backfill_id);
        if let Some(backfill) = own {
            change(backfill);
        }
    }

    fn begin_backfill(&mut self, dag_id: &DagId, f: &BackfillCreated, by: &Actor) {
        self.last_backfill = self.last_backfill.max(f.backfill_id);
        let standing = self.dags.get(dag_id).and_then(|dag| dag.backfill.as_ref());
        if let Some(standing) = standing.map(|it| it.id) {
            self.end_backfill(dag_id, standing);
        }
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        let mut backfill = Backfill::new(f, by.clone());
        for number in &dag.active {
            let part = self.runs.get(number).and_then(|run| run.part());
            let Some(part) = part.filter(|it| it.backfill_id == f.backfill_id) else { continue };
            dag.left.remove(number);
            backfill.active.insert(*number);
            if part.queued {
                backfill.queued.insert(*number);
            }
        }
        dag.backfill = Some(backfill);
        self.backfills.insert(f.backfill_id, dag_id.clone());
    }

    /// Nothing is kept of a backfill that is over; its runs that have not begun are to be ended.
    fn end_backfill(&mut self, dag_id: &DagId, backfill_id: BackfillId) {
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        if let Some(over) = dag.backfill.take_if(|it| it.id == backfill_id) {
            dag.left.extend(over.queued);
            if self.backfills.get(&backfill_id) == Some(dag_id) {
                self.backfills.remove(&backfill_id);
            }
        }
    }
}
