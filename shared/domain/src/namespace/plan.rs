//! What the rules call for by themselves at a given time. Proposals only: `carry_out` checks again.
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
    ops::Bound,
};

use dagbok_events::{DagId, RunKey, Timestamp};

use super::{Namespace, RunNo, pick::Pick, room::Room};
use crate::run::InstanceNo;

/// Tasks that one record may queue: bounds its size.
const QUEUED_PER_RECORD: usize = 256;

/// Something that the rules call for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Make the DAG's promise anew: the clock went back.
    RenewPromise(DagId),
    /// Record that the clock went back, which mends what else it had put off.
    ClockBack,
    /// Pause a DAG whose newest runs have all failed.
    PauseDag(DagId),
    /// Give up tries of a run that nobody began in time, though somebody could have.
    GiveUpQueued(RunNo, Vec<InstanceNo>),
    /// Let tries of a run go on whose triggers did not fire in time.
    TimeOutTriggers(RunNo, Vec<InstanceNo>),
    /// Make the run that the DAG's schedule promised.
    CreateScheduled(DagId),
    /// Make the run that a DAG's assets call for.
    CreateByAssets(DagId),
    /// Take the next step of a DAG's backfill: a run is made or runs again, dates are passed over, or it is over.
    StepBackfill(DagId),
    /// End a run that waits for its turn and whose backfill is over.
    EndLeftRun(RunNo),
    /// Let a queued run begin.
    StartRun(RunNo),
    /// Fail a run that took too long.
    TimeOutRun(RunNo),
    /// Give a run's mapped tasks their copies, where nothing else is left to wait for.
    ExpandTasks(RunNo),
    /// Skip tasks of a run that waited with that for the run before.
    SettleRun(RunNo),
    /// Offer the callback of a run's end to the executors.
    OrderCallback(RunKey, u16),
    /// Tell that nobody takes such a callback.
    TellUnbegun(RunKey, u16),
    /// Offer these tasks of a run to the executors.
    QueueTasks(RunNo, Vec<InstanceNo>),
}

impl Proposal {
    /// The run that it is about, where it is about one that goes on.
    const fn run(&self) -> Option<RunNo> {
        match self {
            Self::GiveUpQueued(run, _)
            | Self::TimeOutTriggers(run, _)
            | Self::EndLeftRun(run)
            | Self::StartRun(run)
            | Self::TimeOutRun(run)
            | Self::ExpandTasks(run)
            | Self::SettleRun(run)
            | Self::QueueTasks(run, _) => Some(*run),
            Self::RenewPromise(_)
            | Self::ClockBack
            | Self::PauseDag(_)
            | Self::CreateScheduled(_)
            | Self::CreateByAssets(_)
            | Self::StepBackfill(_)
            | Self::OrderCallback(..)
            | Self::TellUnbegun(..) => None,
        }
    }
}

impl Namespace {
    /// Proposes, in the order in which to carry out; empty where nothing is called for.
    ///
    /// Starting a run can make tasks ready, so plan again after carrying out until nothing is proposed.
    pub fn plan(&self, now: Timestamp) -> Vec<Proposal> {
        self.plan_by(now, true)
    }

    /// The same but for what a clock that may be wrong must not bring about: nothing is ended because it takes or
    /// waits for too long.
    pub fn plan_in_doubt(&self, now: Timestamp) -> Vec<Proposal> {
        self.plan_by(now, false)
    }

    fn plan_by(&self, now: Timestamp, times_out: bool) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        if self.clock_went_back(now) {
            // The record comes last: where a scheduler dies before, the next one makes the rest anew.
            let wrong =
                self.dags.keys().filter(|dag_id| self.renewed_promise(now, dag_id).is_some());
            proposals.extend(wrong.cloned().map(Proposal::RenewPromise));
            proposals.push(Proposal::ClockBack);
            return proposals;
        }
        proposals.extend(self.index.failing.iter().cloned().map(Proposal::PauseDag));
        if times_out {
            let timeouts = self.index.timeouts.range(..=(now, RunNo::MAX));
            proposals.extend(timeouts.map(|(_, number)| Proposal::TimeOutRun(*number)));
            proposals.extend(self.plan_to_give_up(now));
            // Each of those may end the wait for a trigger too: what they leave of these is planned when they are done.
            proposals.retain(|it| self.may_be_told(it));
            if proposals.is_empty() {
                proposals.extend(self.plan_triggers(now));
                proposals.retain(|it| self.may_be_told(it));
            }
        }
        if !proposals.is_empty() {
            // What these leave is planned when they are done.
            return proposals;
        }
        proposals.extend(self.plan_callbacks(now, times_out));
        let due = self.index.promises.iter().take_while(|(due, _)| *due <= now);
        proposals.extend(due.map(|(_, dag_id)| Proposal::CreateScheduled(dag_id.clone())));
        // One that makes a run by time now may have no room for another after it: the next plan sees.
        let by_time = |dag_id: &&DagId| {
            let due = self.dags.get(*dag_id).and_then(|dag| dag.due());
            due.is_some_and(|due| due <= now)
        };
        let ready = self.index.ready_by_assets.iter().filter(|dag_id| !by_time(dag_id));
        for dag_id in ready {
            // Of partitions each that has what it needs has a run of its own.
            let runs = self.dags.get(dag_id).map_or(1, |dag| dag.partitions.ready().clamp(1, 256));
            let one = || Proposal::CreateByAssets(dag_id.clone());
            proposals.extend(std::iter::repeat_with(one).take(runs));
        }
        for (_, dag_id) in self.index.starts.iter().take_while(|(from, _)| *from <= now) {
            let Some(dag) = self.dags.get(dag_id) else { continue };
            let room = dag.max_active_runs().saturating_sub(dag.running) as usize;
            let next = dag.queued.range(..=(now, RunNo::MAX)).take(room);
            proposals.extend(next.map(|(_, number)| Proposal::StartRun(*number)));
        }
        proposals.extend(self.index.backfills.iter().flat_map(|it| self.plan_backfill(it)));
        proposals.extend(self.index.settles.iter().map(|number| Proposal::SettleRun(*number)));
        let in_time = |number: &&RunNo| !self.runs[*number].timed_out(now);
        let expanding = self.index.expanding.iter().filter(in_time);
        proposals.retain(|it| self.may_be_told(it));
        let before = proposals.len();
        let expanding = expanding.map(|number| Proposal::ExpandTasks(*number));
        proposals.extend(expanding.filter(|it| self.may_be_told(it)));
        // Copies may get other numbers, or be gone: tasks are planned anew when that is done.
        if proposals.len() == before {
            self.plan_tasks(now, &mut proposals);
            proposals.retain(|it| self.may_be_told(it));
        }
        proposals
    }

    /// Leaves a proposal about a run out of all plans until the log says something of that run: it fits into no record, and
    /// whatever is planned behind it would wait. No part of the fold.
    pub fn set_aside(&mut self, proposal: &Proposal) {
        if let Some(number) = proposal.run() {
            self.aside.push((number, discriminant(proposal)));
        }
    }

    fn may_be_told(&self, proposal: &Proposal) -> bool {
        let aside = |number| self.aside.contains(&(number, discriminant(proposal)));
        self.aside.is_empty() || !proposal.run().is_some_and(aside)
    }

    /// When to plan again if nothing happens before; always later than `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, RunNo::MAX)), Bound::Unbounded);
        let timeout = self.index.timeouts.range(later).next().map(|(due, _)| *due);
        let past = (now, RunNo::MAX, InstanceNo::MAX);
        let mut retries = self.index.retries.range((Bound::Excluded(past), Bound::Unbounded));
        let retry = retries.next().map(|(due, _, _)| *due);
        let past_triggers = (Bound::Excluded(past), Bound::Unbounded);
        let trigger = self.index.triggers.range(past_triggers).next().map(|(due, _, _)| *due);
        let first_after = |dags: &BTreeSet<(Timestamp, DagId)>| {
            // What is due and stands here is seen to before anybody asks again.
            dags.iter().map(|(due, _)| *due).find(|due| *due > now)
        };
        let gives_up = self.queued.next_due(now, self.limits.task_queued_timeout);
        let promise = first_after(&self.index.promises);
        let start = first_after(&self.index.starts);
        let unbegun = self.next_unbegun(now);
        [timeout, retry, trigger, gives_up, promise, start, unbegun].into_iter().flatten().min()
    }

    pub(super) fn may_create(&self, dag_id: &DagId) -> bool {
        self.dags.get(dag_id).is_some_and(|dag| !dag.paused && !dag.gone && dag.has_room())
    }

    fn plan_tasks(&self, now: Timestamp, proposals: &mut Vec<Proposal>) {
        let mut room = Room::new(self);
        let mut pick = Pick::new(self, &mut room, now);
        let mut chosen: BTreeMap<RunNo, Vec<InstanceNo>> = BTreeMap::new();
        let mut capped: Vec<(RunNo, Vec<InstanceNo>)> = Vec::new();
        while let Some((number, no)) = pick.next(&mut room) {
            let run = &self.runs[&number];
            if !self.index.lanes.is_capped(&run.key().dag_id, &run.spec(no).task_id) {
                chosen.entry(number).or_default().push(no);
                continue;
            }
            // Versions of a DAG may differ in what they allow a task: these are to be decided as they were picked.
            match capped.last_mut().filter(|(last, _)| *last == number) {
                Some((_, tasks)) => tasks.push(no),
                None => capped.push((number, vec![no])),
            }
        }
        for (number, tasks) in chosen.into_iter().chain(capped) {
            for part in tasks.chunks(QUEUED_PER_RECORD) {
                proposals.push(Proposal::QueueTasks(number, part.to_vec()));
            }
        }
    }

    /// Those of `tasks` that may be queued now, all together.
    pub(super) fn fitting(
        &self,
        number: RunNo,
        tasks: &[InstanceNo],
        now: Timestamp,
    ) -> Vec<InstanceNo> {
        let Some(run) = self.runs.get(&number) else { return Vec::new() };
        if !run.phase().is_under_way() {
            return Vec::new();
        }
        let (mut room, mut taken) = (Room::new(self), BTreeSet::new());
        let mut fits = |no: &InstanceNo| {
            run.knows(*no)
                && run.may_queue(*no, now).is_some()
                && taken.insert(*no)
                && room.take(number, *no).is_ok()
        };
        tasks.iter().copied().filter(|no| fits(no)).collect()
    }
}
