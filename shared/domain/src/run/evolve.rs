//! Folding facts into a run. Total: history is never refused, and what names an unknown task is
//! passed over.
use dagbok_events::{
    Fact, Leg, LostWhy, MapIndex, Micros, RuledOut, RunCleared, RunMarked, RunNoted, TaskId,
    TaskNoted, TaskQueued, Timestamp, TryNumber, TryRescheduled, TryReturned, TryStarted,
    TrySucceeded, XComPushed,
};

use super::{
    Change, Done, Ending, Handed, Hold, InstanceNo, Phase, Run, TaskState, Token, ending_of,
    expand::RETURN_VALUE,
};
use crate::retry;

impl Run {
    /// Folds one fact of the record `seq`, decided `at`.
    pub fn evolve(&mut self, seq: u64, at: Timestamp, fact: &Fact) -> Vec<Change> {
        let mut changes = Vec::new();
        self.evolve_into(&mut changes, seq, at, fact);
        changes
    }

    /// The same, with what it changed added to `changes`.
    #[deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]
    #[expect(clippy::too_many_lines, reason = "one arm a fact, and none may be forgotten")]
    pub fn evolve_into(&mut self, changes: &mut Vec<Change>, seq: u64, at: Timestamp, fact: &Fact) {
        if fact.ends_run() {
            self.over_since.get_or_insert((seq, at));
        }
        let change = match fact {
            Fact::RunStarted(_) => self.begin(at),
            Fact::RunSucceeded(_) => self.end_as(Ending::Success),
            Fact::RunFailed(_) => self.end_as(Ending::Failed),
            Fact::RunTimedOut(f) => self.end_by(at, f.teardowns_left, Ending::Failed),
            Fact::RunCancelled(f) => self.end_by(at, f.teardowns_left, Ending::Failed),
            Fact::RunCleared(f) => self.go_on(seq, at, *f),
            Fact::RunBackfilled(f) => {
                self.join_backfill(f);
                None
            }
            Fact::TaskExpanded(f) => return changes.extend(self.expand(&f.task_id, f.length)),
            Fact::TaskCleared(f) => {
                return changes.extend(self.clear(&f.task_id, f.map_index, f.further));
            }
            Fact::TaskMarked(f) => return changes.extend(self.mark(f)),
            Fact::RunMarked(f) => self.mark_end(at, *f),
            Fact::RunNoted(f) => self.note(f),
            Fact::TaskNoted(f) => self.note_task(f),
            Fact::TaskQueued(f) => self.queue(seq, at, f),
            Fact::TaskRuledOut(f) => {
                return changes.extend(self.rule_out(&f.task_id, f.map_index, f.further, f.why));
            }
            Fact::TryStarted(f) => self.start(f),
            Fact::TrySucceeded(_)
            | Fact::TrySkipped(_)
            | Fact::TryFailed(_)
            | Fact::TryLost(_)
            | Fact::TryCancelled(_) => self.end_try(at, fact),
            Fact::TryReturned(f) => self.hand_back(at, f),
            Fact::TryRescheduled(f) => self.reschedule(at, f),
            Fact::TryDeferred(_)
            | Fact::TriggerFired(_)
            | Fact::TriggerFailed(_)
            | Fact::HitlAnswered(_) => {
                self.evolve_deferral(seq, at, fact)
            }
            Fact::XComPushed(f) => self.keep_xcom(seq, f),
            Fact::CheckpointKept(f) => self.keep_checkpoint(f),
            Fact::CheckpointDropped(f) => self.drop_checkpoint(f),
            Fact::DagRegistered(_)
            | Fact::BundlePublished(_)
            | Fact::DagImportFailed(_)
            | Fact::DagImportRecovered(_)
            | Fact::DagDisappeared(_)
            | Fact::DagPaused(_)
            | Fact::DagUnpaused(_)
            | Fact::RunExpected(_)
            | Fact::RunMissed(_)
            | Fact::RunCreated(_)
            // Whoever has the version folds this in, before the run goes on.
            | Fact::RunVersionChanged(_)
            | Fact::RunDeleted(_)
            | Fact::ReportRefused(_)
            | Fact::DagCallbackOrdered(_)
            | Fact::DagCallbackStarted(_)
            | Fact::DagCallbackSucceeded(_)
            | Fact::DagCallbackFailed(_)
            | Fact::DagCallbackLost(_)
            | Fact::DagCallbackUnbegun(_)
            | Fact::TaskCallbackFailed(_)
            | Fact::TryNamed(_)
            | Fact::TryProgressed(_)
            | Fact::LineageTold(_)
            | Fact::PoolSet(_)
            | Fact::PoolDeleted(_)
            | Fact::VariableSet(_)
            | Fact::VariableDeleted(_)
            | Fact::ConnectionSet(_)
            | Fact::ConnectionDeleted(_)
            | Fact::SecretsRewrapped(_)
            | Fact::LimitsSet(_)
            | Fact::ExecutorJoined(_)
            | Fact::ExecutorCordoned(_)
            | Fact::ExecutorUncordoned(_)
            | Fact::ExecutorFull(_)
            | Fact::ExecutorLeft(_)
            | Fact::ClockWentBack(_)
            | Fact::ForeignEntrySkipped(_)
            | Fact::DagForgotten(_)
            | Fact::DagVersionsForgotten(_)
            | Fact::HistoryForgotten(_)
            | Fact::AssetUpdated(_)
            | Fact::QueuedAssetsDropped(_)
            | Fact::ScheduleForetold(_)
            | Fact::BackfillCreated(_)
            | Fact::BackfillPaused(_)
            | Fact::BackfillUnpaused(_)
            | Fact::BackfillCancelled(_)
            | Fact::BackfillCompleted(_)
            | Fact::BackfillSkipped(_) => None,
        };
        changes.extend(change);
    }

    /// A try is over.
    fn end_try(&mut self, at: Timestamp, fact: &Fact) -> Option<Change> {
        match fact {
            Fact::TrySucceeded(f) => self.succeed(f),
            Fact::TrySkipped(f) => {
                self.drop_checkpoints(&f.task_id, f.map_index, 0);
                let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg);
                self.finish(no, Done::RuledOut(RuledOut::Skipped))
            }
            Fact::TryFailed(f) => {
                let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg);
                self.fail(no, at, retry::is_loss(&f.failure), f.retry_at)
            }
            Fact::TryLost(f) => {
                let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg);
                self.lose(no, at, f.why, f.retry_at)
            }
            Fact::TryCancelled(f) => {
                let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg);
                let skipped = Done::RuledOut(RuledOut::Skipped);
                self.finish(no, if f.skipped { skipped } else { Done::Failed })
            }
            _ => None,
        }
    }

    /// The clock was ahead when what it now calls later than `to` was written: that began at `to`, and waits as
    /// long from there.
    pub fn clock_back(&mut self, to: Timestamp) -> Vec<Change> {
        if self.meta.created_at > to {
            let wait = Micros(self.meta.run_after.since(self.meta.created_at).0.max(0));
            let due = self.meta.given_date().map_or(to.plus(wait), |date| date.max(to));
            self.meta.run_after = self.meta.run_after.min(due);
            self.meta.created_at = to;
        }
        if let Phase::Running { since } | Phase::Ending { since, .. } = &mut self.phase {
            *since = to.min(*since);
        }
        let wrong: Vec<(InstanceNo, TaskState)> = self
            .instances()
            .filter_map(|(no, instance)| match instance.state {
                TaskState::UpForRetry { since, due } if since > to => {
                    let due = to.plus(due.since(since));
                    Some((no, TaskState::UpForRetry { since: to, due }))
                }
                TaskState::UpForReschedule { token, since, due } if since > to => {
                    let due = to.plus(due.since(since));
                    Some((no, TaskState::UpForReschedule { token, since: to, due }))
                }
                TaskState::Deferred { token, since, seq, ref hold, until } if since > to => {
                    let until = until.map(|until| to.plus(until.since(since)));
                    let hold = hold.clone();
                    Some((no, TaskState::Deferred { token, since: to, seq, hold, until }))
                }
                TaskState::Queued { token, at, seq, ref hold } if at > to => {
                    Some((no, TaskState::Queued { token, at: to, seq, hold: hold.clone() }))
                }
                _ => None,
            })
            .collect();
        wrong.into_iter().map(|(no, state)| self.set(no, state)).collect()
    }

    /// What a run that is over still held, where its history does not say how each of its tries ended.
    pub fn left_behind(&self) -> impl Iterator<Item = Change> {
        self.instances().filter_map(|(no, instance)| {
            let state = &instance.state;
            let from = state.executor().cloned();
            let handed = from.is_some().then_some(Handed { instance: no, from, to: None });
            let (freed, waited) = (state.hold().cloned(), state.due());
            let unparked = state.parked();
            let left = freed.is_some() || waited.is_some() || unparked.is_some();
            let was_queued = state.queued_since();
            left.then_some(Change {
                taken: None,
                freed,
                handed,
                waited,
                waits: None,
                queued: None,
                was_queued,
                parked: None,
                unparked,
                no,
            })
        })
    }

    fn begin(&mut self, at: Timestamp) -> Option<Change> {
        if self.phase == Phase::Queued {
            self.phase = Phase::Running { since: at };
        }
        None
    }

    fn end_as(&mut self, ending: Ending) -> Option<Change> {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(ending);
            self.ends = self.ends.saturating_add(1);
        }
        None
    }

    /// It was ended from outside: at once, or once its teardowns have run.
    fn end_by(&mut self, at: Timestamp, teardowns_left: bool, to: Ending) -> Option<Change> {
        match self.phase {
            Phase::Running { since } if teardowns_left => self.phase = Phase::Ending { since, to },
            Phase::Queued if teardowns_left => self.phase = Phase::Ending { since: at, to },
            _ => return self.end_as(to),
        }
        None
    }

    /// Somebody says how it ended, be it over or not.
    fn mark_end(&mut self, at: Timestamp, f: RunMarked) -> Option<Change> {
        let ending = ending_of(f.state);
        if let Phase::Over(before) = &mut self.phase {
            *before = ending;
        }
        self.end_by(at, f.teardowns_left, ending)
    }

    fn note(&mut self, f: &RunNoted) -> Option<Change> {
        self.meta.note.clone_from(&f.note);
        None
    }

    fn note_task(&mut self, f: &TaskNoted) -> Option<Change> {
        let of = (f.task_id.clone(), f.map_index);
        match &f.note {
            Some(note) => self.notes.insert(of, note.clone()),
            None => self.notes.remove(&of),
        };
        None
    }

    fn succeed(&mut self, f: &TrySucceeded) -> Option<Change> {
        // Nothing follows that needs what it kept.
        self.drop_checkpoints(&f.task_id, f.map_index, 0);
        let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg);
        if let Some(no) = no {
            self.keep_skips(no, &f.skips);
        }
        self.finish(no, Done::Success)
    }

    /// It waits for its turn again where it was over; where only its teardowns were left, all of it goes on.
    fn go_on(&mut self, seq: u64, at: Timestamp, f: RunCleared) -> Option<Change> {
        (self.over_since, self.lapsed) = (None, None);
        if let Some(until) = f.xcoms_kept_until {
            self.forgotten = Some((seq, until));
        }
        match self.phase {
            Phase::Over(_) => self.phase = Phase::Queued,
            Phase::Ending { .. } => {
                // That end may have been told of already: the next one is another. Older logs don't say so, and the
                // facts that follow in them name the next end by the same number.
                self.ends = self.ends.saturating_add(u16::from(f.ended));
                self.phase = Phase::Running { since: at };
            }
            Phase::Queued | Phase::Running { .. } => {}
        }
        None
    }

    fn expand(&mut self, task_id: &TaskId, length: u32) -> Vec<Change> {
        let node = self.version.find(task_id);
        node.map(|node| self.expand_node(node, length)).unwrap_or_default()
    }

    /// The instances that a fact names which says the same of `further` copies.
    pub(super) fn range(
        &self,
        task_id: &TaskId,
        map_index: MapIndex,
        further: u32,
    ) -> std::ops::Range<InstanceNo> {
        let Some(node) = self.version.find(task_id) else { return 0..0 };
        let Some(first) = self.arena.find(node, map_index) else { return 0..0 };
        let past = first.saturating_add(further).saturating_add(1);
        first..past.min(self.arena.numbers(node).end)
    }

    fn rule_out(
        &mut self,
        task_id: &TaskId,
        map_index: MapIndex,
        further: u32,
        why: RuledOut,
    ) -> Vec<Change> {
        let numbers = self.range(task_id, map_index, further);
        let changes = if why == RuledOut::Removed {
            // What is no longer in the DAG may have run before.
            numbers.map(|no| self.set(no, TaskState::Done(Done::RuledOut(why)))).collect()
        } else {
            let finished = |no| self.finish(Some(no), Done::RuledOut(why));
            numbers.filter_map(finished).collect()
        };
        if !self.to_expand.is_empty()
            && let Some(node) = self.version.find(task_id)
        {
            self.look_at_length(node);
        }
        changes
    }

    fn clear(&mut self, task_id: &TaskId, map_index: MapIndex, further: u32) -> Vec<Change> {
        let mut changes = Vec::new();
        for no in self.range(task_id, map_index, further) {
            let instance = self.arena.get_mut(no);
            if instance.state.done().is_some() || instance.state.is_between() {
                (instance.failures, instance.losses, instance.began) = (0, 0, None);
                (instance.not_begun, instance.deferral) = (0, None);
                self.forget_values(no);
                changes.push(self.set(no, TaskState::Waiting));
            }
        }
        if let Some(node) = self.version.find(task_id) {
            self.look_at_length(node);
        }
        changes
    }

    fn queue(&mut self, seq: u64, at: Timestamp, f: &TaskQueued) -> Option<Change> {
        let no = self.find(&f.task_id, f.map_index)?;
        let instance = self.arena.get_mut(no);
        if instance.state.done().is_some() {
            return None;
        }
        let hold = Hold { pool: f.pool.clone(), slots: f.pool_slots, queue: f.queue.clone() };
        instance.tries = instance.tries.max(f.try_number.get());
        if f.leg.is_first() {
            (instance.began, instance.deferral) = (None, None);
            self.forget_values(no);
        }
        let token = Token { try_number: f.try_number, leg: f.leg };
        Some(self.set(no, TaskState::Queued { token, at, seq, hold }))
    }

    fn start(&mut self, f: &TryStarted) -> Option<Change> {
        let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg)?;
        let instance = self.arena.get_mut(no);
        // Of what waits for a trigger no more is begun, whatever order its records come in.
        let hold = instance.state.hold().cloned()?;
        instance.began.get_or_insert(f.started_at);
        instance.not_begun = 0;
        let (token, executor) =
            (Token { try_number: f.try_number, leg: f.leg }, f.executor.clone());
        Some(self.set(no, TaskState::Running { token, executor, hold }))
    }

    /// Counts a try that was lost, where it counts.
    fn lose(
        &mut self,
        no: Option<InstanceNo>,
        at: Timestamp,
        why: LostWhy,
        retry_at: Option<Timestamp>,
    ) -> Option<Change> {
        if retry::counts(why) {
            return self.fail(no, at, true, retry_at);
        }
        let no = no?;
        if why == LostWhy::QueuedTooLong {
            let count = &mut self.arena.get_mut(no).not_begun;
            *count = count.saturating_add(1);
        }
        Some(self.set(no, retry_or_failed(at, retry_at)))
    }

    /// Counts a try that ended badly: as a loss, or against the user's retries.
    fn fail(
        &mut self,
        no: Option<InstanceNo>,
        at: Timestamp,
        is_loss: bool,
        retry_at: Option<Timestamp>,
    ) -> Option<Change> {
        let no = no?;
        let instance = self.arena.get_mut(no);
        let count = if is_loss { &mut instance.losses } else { &mut instance.failures };
        *count = count.saturating_add(1);
        Some(self.set(no, retry_or_failed(at, retry_at)))
    }

    /// A try that was not begun is followed by another; a leg that was not, by another of the same try.
    fn hand_back(&mut self, at: Timestamp, f: &TryReturned) -> Option<Change> {
        let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg)?;
        let next = if f.leg.is_first() { None } else { f.leg.next() };
        let state = match next {
            None => TaskState::UpForRetry { since: at, due: at },
            Some(leg) => TaskState::UpForReschedule {
                token: Token { try_number: f.try_number, leg },
                since: at,
                due: at,
            },
        };
        Some(self.set(no, state))
    }

    fn reschedule(&mut self, since: Timestamp, f: &TryRescheduled) -> Option<Change> {
        let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg)?;
        // It looks again from the beginning.
        self.arena.get_mut(no).deferral = None;
        let state = match f.leg.next() {
            Some(leg) => TaskState::UpForReschedule {
                token: Token { try_number: f.try_number, leg },
                since,
                due: f.due,
            },
            None => TaskState::UpForRetry { since, due: f.due },
        };
        Some(self.set(no, state))
    }

    fn keep_xcom(&mut self, seq: u64, f: &XComPushed) -> Option<Change> {
        let no = self.find(&f.task_id, f.map_index)?;
        let of = (self.arena.get(no).node, no);
        self.xcoms.push(of, &f.key, f.value.is_some().then_some(seq));
        if f.key == RETURN_VALUE {
            match f.length.filter(|_| f.value.is_some()) {
                Some(length) => self.lengths.insert(no, length),
                None => self.lengths.remove(&no),
            };
        }
        None
    }

    fn forget_values(&mut self, no: InstanceNo) {
        self.xcoms.forget(self.arena.get(no).node, no);
        self.lengths.remove(&no);
    }

    /// The instance, if that execution of it is in flight, or a trigger stands for it.
    pub(super) fn current(
        &self,
        task_id: &TaskId,
        map: MapIndex,
        try_number: TryNumber,
        leg: Leg,
    ) -> Option<InstanceNo> {
        let token = Token { try_number, leg };
        self.find(task_id, map).filter(|no| {
            let state = &self.arena.get(*no).state;
            state.in_flight().or(state.deferred()) == Some(token)
        })
    }

    fn finish(&mut self, no: Option<InstanceNo>, done: Done) -> Option<Change> {
        let no = no.filter(|no| self.arena.get(*no).state.done().is_none())?;
        Some(self.set(no, TaskState::Done(done)))
    }
}

const fn retry_or_failed(since: Timestamp, retry_at: Option<Timestamp>) -> TaskState {
    match retry_at {
        Some(due) => TaskState::UpForRetry { since, due },
        None => TaskState::Done(Done::Failed),
    }
}
