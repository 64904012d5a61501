//! Folding records into the namespace. Total: history is never refused.
use std::sync::Arc;

use dagbok_events::{
    DagId, DagRegistered, Fact, LostWhy, PoolName, Record, RunCreated, RunDeleted, RunExpected,
    RunKey, Scope, Timestamp,
};
use dagbok_protocol::limits::COMMANDS_REMEMBERED;

use super::{Dag, Namespace, RunNo, Seen, backfill::Part, past::Deleted, with_head};
use crate::{
    graph::Version,
    run::{Change, Ending, Handed, Hold, Phase, Run, RunMeta},
};

impl Namespace {
    /// Folds in the record at `seq`.
    pub fn evolve(&mut self, seq: u64, record: &Record) {
        self.last_seq = seq;
        self.last_at = self.last_at.max(record.at);
        self.clock = self.clock.max(record.decided_at());
        self.remember(seq, record);
        self.ripen(record.decided_at());
        if record.facts.iter().any(|fact| matches!(fact, Fact::AssetUpdated(_))) {
            self.evolve_assets(seq, record);
        }
        match &record.scope {
            Scope::Run(key) => self.evolve_run(seq, key, record),
            Scope::Dag(dag_id) => {
                self.evolve_backfills(dag_id, record);
                for fact in &record.facts {
                    self.evolve_dag(dag_id, record.decided_at(), fact);
                }
            }
            Scope::File(file) => self.evolve_file(file, record),
            Scope::Executor(id) => {
                for fact in &record.facts {
                    match fact {
                        Fact::ExecutorJoined(f) => self.join(id, f),
                        Fact::ExecutorFull(f) if self.executors.contains_key(id) => {
                            self.change_executor(id, |executor| executor.full = f.full);
                        }
                        Fact::ExecutorLeft(_) => self.leave(id),
                        _ => {}
                    }
                }
            }
            Scope::Namespace => {
                self.evolve_cordons(seq, record);
                record.facts.iter().for_each(|fact| self.evolve_shared(fact));
                self.let_lapse(seq, record);
            }
        }
    }

    fn remember(&mut self, seq: u64, record: &Record) {
        let Some(cause) = &record.cause else { return };
        let file = match (&record.scope, record.facts.first()) {
            (Scope::File(file), _) => Some(file),
            (Scope::Dag(_), Some(Fact::DagRegistered(f))) => Some(&f.spec.source.file),
            (Scope::Dag(_), Some(Fact::DagDisappeared(f))) => Some(&f.file),
            _ => None,
        };
        if let Some(file) = file {
            self.told.insert(file.clone(), cause.command.clone());
        }
        let run_id = match (&record.scope, record.facts.first()) {
            (Scope::Run(key), Some(Fact::RunCreated(_))) => Some(key.run_id.clone()),
            _ => None,
        };
        let refused = match record.facts.first() {
            Some(Fact::ReportRefused(_)) => true,
            // The beginning was refused, and the number used up: nobody may begin under it.
            Some(Fact::TryLost(f)) => f.why == LostWhy::MayHaveBegun,
            _ => false,
        };
        let seen = Seen { seq, run_id, refused };
        if self.seen.insert(with_head(&cause.command), seen).is_none() {
            self.seen_order.push_back(cause.command.clone());
            if self.seen_order.len() > COMMANDS_REMEMBERED
                && let Some(oldest) = self.seen_order.pop_front()
            {
                self.seen.remove(&with_head(&oldest));
            }
        }
    }

    pub(super) fn evolve_dag(&mut self, dag_id: &DagId, at: Timestamp, fact: &Fact) {
        if let Fact::DagRegistered(f) = fact {
            self.leave_file(dag_id);
            self.keep_version(dag_id, f);
            self.by_file.entry(f.spec.source.file.clone()).or_default().insert(dag_id.clone());
        } else if matches!(fact, Fact::DagDisappeared(_)) {
            self.leave_file(dag_id);
        }
        if matches!(fact, Fact::DagForgotten(_)) {
            self.forget_dag(dag_id);
        }
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        match fact {
            Fact::DagDisappeared(_) => dag.gone = true,
            Fact::DagPaused(_) => (dag.paused, dag.pause_due) = (true, false),
            Fact::DagUnpaused(_) => {
                (dag.paused, dag.pause_due) = (false, false);
                dag.unpaused_at = Some(at);
            }
            Fact::RunExpected(f) => {
                dag.ahead.take_in(f);
                let alone = || RunExpected { further: Vec::new(), keeps: false, ..f.clone() };
                dag.expected = f.logical_date.is_some().then(alone);
            }
            Fact::QueuedAssetsDropped(f) => {
                dag.waiting.drop(&f.assets);
                dag.partitions.drop(&f.assets);
            }
            Fact::ScheduleForetold(f) => dag.foretell(f),
            _ => {}
        }
        self.index_dag(dag_id);
    }

    /// Its file does not define it any more.
    fn leave_file(&mut self, dag_id: &DagId) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        if let Some(beside) = self.by_file.get_mut(&dag.file) {
            beside.remove(dag_id);
            if beside.is_empty() {
                self.by_file.remove(&dag.file);
            }
        }
    }

    /// Forgets a DAG but for what its next life must not use again. One that has a run is not, whoever said so.
    fn forget_dag(&mut self, dag_id: &DagId) {
        if self.dags.get(dag_id).is_none_or(|dag| !dag.active.is_empty()) {
            return;
        }
        self.leave_file(dag_id);
        let Some(dag) = self.dags.remove(dag_id) else { return };
        self.index.remove_dag(dag_id);
        self.turns.forget(dag_id);
        self.backfills.retain(|_, of| of != dag_id);
        self.revived.retain(|run| run.key().dag_id != *dag_id);
        if !self.by_file.contains_key(&dag.file) && !self.files.contains_key(&dag.file) {
            self.told.remove(&dag.file);
        }
        let last = dag.deleted.left_of(dag.current.number);
        self.forgotten.insert(dag_id.clone(), last);
    }

    fn keep_version(&mut self, dag_id: &DagId, f: &DagRegistered) {
        let version = Arc::new(Version::new(f.version, f.spec_digest.clone(), f.spec.clone()));
        self.watch_caps(dag_id, &version);
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else {
            let mut dag = Dag::new(version, f.bundle.clone(), f.paused.unwrap_or(false));
            let before = self.forgotten.remove(dag_id);
            dag.deleted = Deleted::after(before);
            self.dags.insert(dag_id.clone(), Arc::new(dag));
            return;
        };
        dag.file.clone_from(&version.spec.source.file);
        let old = std::mem::replace(&mut dag.current, version);
        dag.keep_foretold(&old);
        let since = dag.since.clone();
        dag.note_added(Some(&old));
        // Which runs have a date by their ids is another matter in each era.
        let has_new = dag.since != since || dag.current.spec.era != old.spec.era;
        dag.partitions.renew(&old.spec, &dag.current.spec);
        let condition = &dag.current.spec.asset_condition;
        if *condition != old.spec.asset_condition {
            dag.waiting.keep_named(condition.as_ref());
        }
        if dag.uses.contains_key(&old.number) {
            dag.older.insert(old.number, old);
        }
        dag.bundle = f.bundle.clone();
        dag.gone = false;
        if has_new {
            let active: Vec<RunNo> = dag.active.iter().copied().collect();
            for number in active {
                self.look_back(number);
            }
        }
    }

    fn evolve_run(&mut self, seq: u64, key: &RunKey, record: &Record) {
        for fact in &record.facts {
            match fact {
                Fact::RunCreated(f) => self.create_run(key, record, f),
                Fact::RunExpected(_) | Fact::RunMissed(_) => {
                    self.evolve_dag(&key.dag_id, record.decided_at(), fact);
                }
                Fact::RunCleared(_) => self.take_up(key, record),
                Fact::RunDeleted(f) => self.delete_run(key, *f),
                _ => self.evolve_callback(seq, key, record.decided_at(), fact),
            }
        }
        let Some(&number) = self.numbers.get(key) else {
            self.change_past(key, record);
            return;
        };
        self.aside.retain(|(aside, _)| *aside != number);
        let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) else { return };
        let (before, part) = (run.phase(), run.part());
        let mut changes: Vec<Change> = Vec::with_capacity(record.facts.len());
        for fact in &record.facts {
            run.evolve_into(&mut changes, seq, record.decided_at(), fact);
        }
        let (after, part_after) = (run.phase(), run.part());
        if matches!(after, Phase::Over(_)) {
            changes.extend(run.left_behind());
        }
        let moved = self.moved_by(number, record, &changes);
        let mut served: Vec<PoolName> = Vec::new();
        for change in changes {
            served.extend(self.keep_turn(number, &key.dag_id, &change));
            self.keep_count(number, &key.dag_id, change);
        }
        served.dedup();
        self.keep_part(number, &key.dag_id, part, part_after);
        self.keep_backfill_place(key, record);
        self.keep_phase(number, &key.dag_id, (before, part), (after, part_after));
        self.call_for_callback(number, before, record);
        if let Phase::Over(ending) = after {
            let by_tasks = matches!(before, Phase::Running { .. })
                && record.facts.iter().any(|fact| matches!(fact, Fact::RunFailed(_)));
            self.note_ending(key, ending, by_tasks);
        }
        match after {
            Phase::Over(ending) => self.let_go(number, key, ending, record.decided_at()),
            Phase::Queued | Phase::Running { .. } | Phase::Ending { .. } => {
                if let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) {
                    self.index.put_run(number, run, &mut self.turns);
                }
            }
        }
        for pool in &served {
            self.index.lanes.served(&key.dag_id, pool, &mut self.turns);
        }
        if before == Phase::Queued {
            self.look_back(number);
        }
        if let Some(moved) = moved {
            self.look_back_by(number, &key.dag_id, &moved, matches!(after, Phase::Over(_)));
        }
        self.index_dag(&key.dag_id);
    }

    fn create_run(&mut self, key: &RunKey, record: &Record, f: &RunCreated) {
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        let Some(version) = dag.version(f.version).cloned() else { return };
        if self.numbers.contains_key(key) {
            return;
        }
        dag.note_made(f);
        if let Some(date) = f.logical_date {
            dag.dates.insert(date);
        }
        let run = Run::new(key.clone(), meta_of(record, f), version);
        let (tries, ends) = dag.deleted.numbers(&key.run_id);
        let run = Arc::new(run.numbered_from(tries, ends));
        self.enqueue(key, run);
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        if !dag.has_room() {
            dag.full_until = Some(record.decided_at());
        }
    }

    /// A run that is over goes on.
    fn take_up(&mut self, key: &RunKey, record: &Record) {
        if self.numbers.contains_key(key) {
            return;
        }
        let Some(mut run) = self.forget_revived(key) else { return };
        self.join_or_leave_backfill(Arc::make_mut(&mut run), record);
        self.move_to_version(Arc::make_mut(&mut run), record);
        Arc::make_mut(&mut run).is_due_by(record.decided_at());
        // Its version may be one that no other run uses any more.
        self.watch_caps(&key.dag_id, run.version());
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        dag.past.remove(&key.run_id);
        dag.kept.forget(&key.run_id);
        self.enqueue(key, run);
    }

    /// A run that goes on does so with the version of its DAG that the record names.
    fn move_to_version(&self, run: &mut Run, record: &Record) {
        for fact in &record.facts {
            let Fact::RunVersionChanged(f) = fact else { continue };
            let dag = self.dags.get(&run.key().dag_id);
            if let Some(version) = dag.and_then(|dag| dag.version(f.version)).cloned() {
                run.change_version(&version, f);
            }
        }
    }

    /// Counts the tries of tasks that have a limit over all runs: those in flight by a version that gives none
    /// count as well.
    fn watch_caps(&mut self, dag_id: &DagId, version: &Version) {
        for task_id in version.capped() {
            if self.index.lanes.is_watched(dag_id, task_id) {
                continue;
            }
            let active = self.dags.get(dag_id).into_iter().flat_map(|dag| &dag.active);
            let runs = active.filter_map(|number| self.runs.get(number));
            let of_task = |run: &Arc<Run>| {
                run.in_flight().filter(|no| run.spec(*no).task_id == *task_id).count()
            };
            let in_flight = u32::try_from(runs.map(of_task).sum::<usize>()).unwrap_or(u32::MAX);
            self.index.lanes.watch(dag_id, task_id, in_flight);
        }
    }

    /// Takes in a run that waits for its turn.
    fn enqueue(&mut self, key: &RunKey, run: Arc<Run>) {
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        let number = self.next_number;
        self.next_number += 1;
        dag.active.insert(number);
        dag.use_version(run.version());
        let part = run.part();
        if part.is_none() {
            dag.queued.insert((run.meta().run_after, number));
        }
        let date = run.meta().logical_date;
        if let Some(date) = date {
            dag.by_date.insert(date, number);
            dag.ended.remove(&date);
            dag.named_dates.remove(&date);
        }
        self.keep_part(number, &key.dag_id, None, part);
        self.numbers.insert(key.clone(), number);
        self.runs.insert(number, run);
        self.note_newest(number);
        if let Some(date) = date {
            self.look_back_after(&key.dag_id, date);
            self.look_back_further(&key.dag_id);
        }
    }

    fn delete_run(&mut self, key: &RunKey, f: RunDeleted) {
        self.forget_revived(key);
        if self.numbers.contains_key(key) {
            return;
        }
        self.callbacks.forget(key);
        let Some(dag) = self.dags.get_mut(&key.dag_id).map(Arc::make_mut) else { return };
        dag.newest.forget(&key.run_id);
        dag.past.remove(&key.run_id);
        dag.kept.forget(&key.run_id);
        dag.deleted.insert(&key.run_id, f.tries, f.ends);
        if let Some(date) = f.logical_date {
            dag.dates.remove(date);
            dag.ended.remove(&date);
            dag.named_dates.remove(&date);
            self.look_back_after(&key.dag_id, date);
        }
    }

    /// Slots, tries in flight, who holds which, and what waits for a time, as one fact of a run moved them. A
    /// move from queued to running takes and frees the same slots.
    pub(super) fn keep_count(&mut self, number: RunNo, dag_id: &DagId, change: Change) {
        self.queued.note(number, &change);
        if change.taken != change.freed {
            self.keep_slots(dag_id, change.taken, change.freed);
        }
        if change.parked != change.unparked {
            self.keep_parked(number, change.no, change.parked, change.unparked);
        }
        if let Some(due) = change.waited {
            self.index.retries.remove(&(due, number, change.no));
        }
        if let Some(due) = change.waits {
            self.index.retries.insert((due, number, change.no));
            if self.index.ripe_until.is_some_and(|until| due <= until)
                && let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut)
            {
                run.ripen(change.no);
            }
        }
        let Some(Handed { instance, from, to }) = change.handed else { return };
        if let Some(id) = from.filter(|id| self.executors.contains_key(id)) {
            self.change_executor(&id, |held| {
                held.holds.remove(&(number, instance));
            });
        }
        if let Some(id) = to {
            self.change_executor(&id, |held| {
                held.holds.insert((number, instance));
            });
        }
    }

    fn keep_slots(&mut self, dag_id: &DagId, taken: Option<Hold>, freed: Option<Hold>) {
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        if let Some(hold) = taken {
            self.pools.entry(hold.pool).or_default().used += u64::from(hold.slots);
            self.in_flight += 1;
            dag.in_flight += 1;
        }
        let Some(hold) = freed else { return };
        self.in_flight -= 1;
        dag.in_flight -= 1;
        let Some(pool) = self.pools.get_mut(&hold.pool) else { return };
        pool.used -= u64::from(hold.slots);
        if pool.used == 0 && pool.deferred == 0 && pool.set.is_none() {
            self.pools.remove(&hold.pool);
        }
    }

    /// Whose turn is next, and how many tries of the task are in flight: by a try that takes slots, or gives
    /// them back. Returns the pool in which its DAG was served, whose order is to follow.
    fn keep_turn(&mut self, number: RunNo, dag_id: &DagId, change: &Change) -> Option<PoolName> {
        let (taken, freed) = (&change.taken, &change.freed);
        if taken.is_some() == freed.is_some() {
            return None;
        }
        let task_id = &self.runs.get(&number)?.spec(change.no).task_id;
        self.index.lanes.count(dag_id, task_id, taken.is_some(), &mut self.turns);
        let hold = taken.as_ref()?;
        self.turns.serve(&hold.pool, dag_id, hold.slots);
        Some(hold.pool.clone())
    }

    fn keep_phase(
        &mut self,
        number: RunNo,
        dag_id: &DagId,
        before: (Phase, Option<Part>),
        after: (Phase, Option<Part>),
    ) {
        let Some(dag) = self.dags.get_mut(dag_id).map(Arc::make_mut) else { return };
        let running = |(phase, part): (Phase, Option<Part>)| phase.is_under_way() && part.is_none();
        match (running(before), running(after)) {
            (false, true) => dag.running += 1,
            (true, false) => dag.running -= 1,
            (false, false) | (true, true) => {}
        }
        let Some(run) = self.runs.get(&number).filter(|_| after.0 != Phase::Queued) else { return };
        dag.queued.remove(&(run.meta().run_after, number));
    }

    /// Whether the DAG has this run.
    pub(super) fn knows_run(&self, key: &RunKey) -> bool {
        self.numbers.contains_key(key) || self.past_ending(key).is_some()
    }

    pub(super) fn past_ending(&self, key: &RunKey) -> Option<Ending> {
        self.dags.get(&key.dag_id)?.past.ending(&key.run_id)
    }
}

/// What a run was created with, by the record that created it.
pub(super) fn meta_of(record: &Record, f: &RunCreated) -> RunMeta {
    RunMeta {
        run_type: f.run_type,
        logical_date: f.logical_date,
        data_interval: f.data_interval,
        run_after: f.run_after,
        bundle: f.bundle.clone(),
        conf: f.conf.clone(),
        note: f.note.clone(),
        triggered_by: super::views::person(&record.by),
        traceparent: record.trace.as_ref().map(|trace| trace.traceparent.clone()),
        created_at: record.decided_at(),
        asset_events: f.asset_events.clone(),
        backfill_id: f.backfill_id,
        partition: f.partition.clone(),
    }
}
