//! One DAG run: what its log adds up to, and what the rules make of that.
//!
//! A [`Run`] is changed by `evolve` alone, which also keeps its indexes (ready tasks, retries due,
//! upstream tallies), so that no question costs a scan. What may happen is decided in
//! [`crate::namespace`], because limits span runs.
mod arena;
mod change;
mod checkpoint;
mod clear;
mod consequences;
mod dates;
mod deferral;
mod evolve;
mod expand;
mod held;
mod mark;
mod queue;
mod saved;
mod settle;
mod skips;
mod state;
mod values;
mod version;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use arena::{Instance, InstanceNo};
pub use change::{Change, Handed};
pub use clear::Clearing;
pub use consequences::EndedBy;
use dagbok_events::{
    AssetEvent, BackfillId, Checkpoint, Digest, Interval, Leg, MapIndex, Partition, Payload,
    RuledOut, RunBackfilled, RunCleared, RunKey, RunType, TaskId, TaskSpec, Timestamp, TryNumber,
};
use dagbok_protocol::Lapses;
pub use deferral::Deferral;
pub(crate) use mark::ending_of;
pub use mark::{Marked, Marking};
pub use queue::{Cap, Line, LineNo, LineQueue, Weight};
pub use saved::SavedRun;
use serde::{Deserialize, Serialize};
pub use state::{Done, Hold, Parked, TaskState, Token};
pub use version::Moved;

use crate::{
    graph::{Ix, Version},
    trigger_rule::Standing,
};
use arena::Arena;
use values::Values;
pub(crate) use why::Seen;

/// What a run was created with, unchanged for as long as it lives, but for a backfill that takes it up, and for
/// another version of its DAG that it goes on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// How it came about.
    pub run_type: RunType,
    /// What it stands for.
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// Its code.
    pub bundle: Digest,
    /// What came with the trigger.
    pub conf: Option<Payload>,
    /// What whoever triggered it wrote.
    pub note: Option<String>,
    /// Who triggered it.
    pub triggered_by: Option<String>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Events of assets that made it.
    pub asset_events: Vec<AssetEvent>,
    /// The backfill that it belongs to.
    pub backfill_id: Option<BackfillId>,
    /// The partition that it stands for.
    #[serde(default)]
    pub partition: Option<Partition>,
}

impl RunMeta {
    /// The logical date of a run that somebody triggered for a day to come: it does not begin before. One without a date has
    /// the moment of its trigger, which a clock that was ahead may have made of any.
    pub fn given_date(&self) -> Option<Timestamp> {
        let is_ahead = self.run_type == RunType::Manual && self.run_after > self.created_at;
        self.logical_date.filter(|_| is_ahead)
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Created, waiting for its turn.
    Queued,
    /// Its tasks may go.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It was cancelled or timed out, and its teardowns are yet to run: no other task may go.
    Ending {
        /// Since when it ran.
        since: Timestamp,
        /// How it is over then.
        to: Ending,
    },
    /// Over, until somebody clears tasks of it.
    Over(Ending),
}

impl Phase {
    /// Whether tasks of it may go, be it only teardowns.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Ending { .. })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Every leaf succeeded or was skipped.
    Success,
    /// A leaf failed, it took too long, or somebody ended it.
    Failed,
}

/// A run that is not over, or was just ended or taken up again.
#[derive(Clone, Debug)]
pub struct Run {
    key: RunKey,
    meta: RunMeta,
    version: Arc<Version>,
    phase: Phase,
    /// The number of its last end, from 1; where it was made again under the id of a run that was deleted, from there.
    ends: u16,
    arena: Arena,
    lines: BTreeMap<LineNo, LineQueue>,
    /// Tries in flight of the lines whose task has a limit in each run.
    busy: BTreeMap<LineNo, u32>,
    /// Lines that changed since somebody last took note.
    touched: BTreeSet<LineNo>,
    /// Tasks that wait for the run before, as whoever knows that one said last.
    held: BTreeSet<Ix>,
    /// Tasks that were to be skipped when their wait for the run before was over: one of them that still is must be.
    released: BTreeSet<Ix>,
    in_flight: BTreeSet<InstanceNo>,
    /// Those that wait for a trigger.
    deferred: BTreeSet<InstanceNo>,
    /// Instances that are not done.
    open: usize,
    /// Leaves that ended in a way that fails the run.
    failed_leaves: u32,
    /// What copies handed on.
    xcoms: Values,
    /// Since which record it is over, and when that was decided.
    over_since: Option<(u64, Timestamp)>,
    /// Where what its copies handed on is forgotten by now: until when it was kept.
    lapsed: Option<Timestamp>,
    /// Of what was handed on before this record it is forgotten, and how long it was kept.
    forgotten: Option<(u64, Timestamp)>,
    /// By instance, how many elements it returned, where others are mapped over it.
    lengths: BTreeMap<InstanceNo, u32>,
    /// Mapped tasks that wait for nothing but their copies, or for other ones than they have.
    to_expand: BTreeSet<Ix>,
    /// By instance that succeeded, the tasks that it decided against, in order.
    skips: BTreeMap<InstanceNo, Vec<Ix>>,
    /// Of tasks that were in the run, and were taken out or had copies of another kind: how many tries were made.
    tried: BTreeMap<TaskId, u16>,
    /// What people noted of copies of its tasks.
    notes: BTreeMap<(TaskId, MapIndex), String>,
    /// What copies keep for their next try.
    checkpoints: BTreeMap<(TaskId, MapIndex), Arc<Checkpoint>>,
    /// Tries that were in flight while something before them was made anew: what they keep counts for nothing.
    stale: BTreeMap<(TaskId, MapIndex), Token>,
}

impl Run {
    /// A run just created.
    pub fn new(key: RunKey, meta: RunMeta, version: Arc<Version>) -> Self {
        let mut run = Self {
            key,
            meta,
            phase: Phase::Queued,
            ends: 0,
            arena: Arena::new(&version),
            lines: BTreeMap::new(),
            busy: BTreeMap::new(),
            touched: BTreeSet::new(),
            held: BTreeSet::new(),
            released: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            deferred: BTreeSet::new(),
            open: version.len(),
            failed_leaves: 0,
            xcoms: Values::default(),
            over_since: None,
            lapsed: None,
            forgotten: None,
            lengths: BTreeMap::new(),
            to_expand: BTreeSet::new(),
            skips: BTreeMap::new(),
            tried: BTreeMap::new(),
            notes: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            stale: BTreeMap::new(),
            version,
        };
        for node in 0..run.version.node_count() {
            run.index_node(node);
        }
        run
    }

    /// Whose run it is, and which.
    pub const fn key(&self) -> &RunKey {
        &self.key
    }

    /// The number of its last end: a run that is cleared ends again.
    pub const fn ends(&self) -> u16 {
        self.ends
    }

    /// What it was created with.
    pub const fn meta(&self) -> &RunMeta {
        &self.meta
    }

    /// Its tries and its ends go on from these numbers, which those of a deleted run of the same id had.
    pub(crate) fn numbered_from(mut self, tries: u16, ends: u16) -> Self {
        self.number_from(tries);
        self.ends = self.ends.max(ends);
        self
    }

    /// That it goes on though it was over, or nearly.
    fn goes_on(&self) -> RunCleared {
        let ended = matches!(self.phase, Phase::Ending { .. });
        RunCleared { was: Some(self.phase.was()), ended, xcoms_kept_until: self.lapsed }
    }

    /// What its copies handed on is forgotten, where one of these is about it.
    pub(crate) fn lapse_by(&mut self, lapses: &Lapses) {
        self.lapsed = self.over_since.and_then(|(seq, at)| lapses.kept_until(seq, at));
    }

    /// Until when what was handed on by that record was kept, where it is forgotten.
    pub fn kept_until(&self, seq: u64) -> Option<Timestamp> {
        self.forgotten.filter(|(before, _)| seq < *before).map(|(_, until)| until)
    }

    /// It may go on from now on, whatever a clock that was ahead said of it when it was made; not before the date that
    /// somebody gave it.
    pub(crate) fn is_due_by(&mut self, now: Timestamp) {
        let due = now.max(self.meta.given_date().unwrap_or(now));
        self.meta.run_after = self.meta.run_after.min(due);
    }

    /// It belongs to a backfill from now on, as in Airflow in its type too, and finds the conf of that.
    pub(crate) fn join_backfill(&mut self, fact: &RunBackfilled) {
        (self.meta.backfill_id, self.meta.run_type) = (Some(fact.backfill_id), RunType::Backfill);
        if fact.conf.is_some() {
            self.meta.conf.clone_from(&fact.conf);
        }
    }

    /// It belongs to no backfill any more.
    pub(crate) fn leave_backfill(&mut self) {
        self.meta.backfill_id = None;
    }

    /// What people noted of a copy of a task.
    pub fn note_of(&self, task_id: &TaskId, map_index: MapIndex) -> Option<&str> {
        self.notes.get(&(task_id.clone(), map_index)).map(String::as_str)
    }

    /// The DAG as it runs it.
    pub const fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// How far it has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// An instance by number.
    pub fn instance(&self, no: InstanceNo) -> &Instance {
        self.arena.get(no)
    }

    /// What the file says of an instance's task.
    pub fn spec(&self, no: InstanceNo) -> &TaskSpec {
        self.version.task(self.arena.get(no).node)
    }

    /// An instance by name.
    pub fn find(&self, task_id: &TaskId, map_index: MapIndex) -> Option<InstanceNo> {
        self.arena.find(self.version.find(task_id)?, map_index)
    }

    /// Whether an instance has this number.
    pub fn knows(&self, no: InstanceNo) -> bool {
        self.arena.knows(no)
    }

    /// The numbers of a task's copies.
    pub fn copies(&self, node: Ix) -> std::ops::Range<InstanceNo> {
        self.arena.numbers(node)
    }

    /// Every instance, in the DAG's order.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceNo, &Instance)> {
        self.arena.iter()
    }

    /// How many instances there are.
    pub fn instance_count(&self) -> usize {
        self.arena.len()
    }

    /// The instances with a try in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = InstanceNo> {
        self.in_flight.iter().copied()
    }

    /// How many tries are in flight.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// The values handed on so far: whose, under which name, and the record that has them.
    pub fn xcoms(&self) -> impl Iterator<Item = (InstanceNo, &str, u64)> {
        self.xcoms.iter()
    }

    /// The names of the values that one instance handed on.
    pub fn xcoms_of(&self, no: InstanceNo) -> impl Iterator<Item = &str> {
        self.xcoms.names_of(no)
    }

    /// Of a mapped task that is done, the copies that returned something, in order; `None` of any other.
    pub fn returned_by(&self, task_id: &TaskId) -> Option<impl Iterator<Item = MapIndex> + '_> {
        let node = self.version.find(task_id)?;
        let is_over = self.arena.is_expanded(node) && self.arena.open(node) == 0;
        let copies = is_over.then(|| self.arena.numbers(node))?;
        Some(self.xcoms.returned_by(copies).map(|no| self.arena.get(no).map_index))
    }

    /// How many copies a task has; nothing of one that has none.
    pub fn copies_named(&self, node: Ix) -> Option<usize> {
        self.arena.is_expanded(node).then(|| self.arena.numbers(node).len())
    }

    /// Tasks that have copies.
    pub fn expanded_tasks(&self) -> impl Iterator<Item = &TaskId> {
        let expanded = (0..self.version.node_count()).filter(|node| self.arena.is_expanded(*node));
        expanded.map(|node| &self.version.task(node).task_id)
    }

    /// The lines that instances wait in, for room or for a time and room.
    pub fn line_numbers(&self) -> Vec<LineNo> {
        self.lines.keys().copied().collect()
    }

    /// Where an instance waits.
    pub fn line_of(&self, no: InstanceNo) -> (LineNo, &Line) {
        let line = self.version.line_of(self.arena.get(no).node);
        (line, self.version.line(line))
    }

    /// What waits in a line; where the first finds no room, none behind it does.
    pub fn waiting_in(&self, line: LineNo) -> Option<&LineQueue> {
        self.lines.get(&line)
    }

    /// How many more tries of a line the run may have in flight.
    pub fn room_of_line(&self, line: LineNo) -> u32 {
        let most = self.version.line(line).per_run().unwrap_or(u32::MAX);
        most.saturating_sub(self.busy.get(&line).copied().unwrap_or(0))
    }

    /// The weight of the first that may go of a line, and when the first that waits for a time is due; neither
    /// while as many are in flight as may be.
    pub fn offers(&self, line: LineNo) -> (Option<Weight>, Option<Timestamp>) {
        let queue = self.lines.get(&line).filter(|_| self.room_of_line(line) > 0);
        queue.map_or((None, None), |queue| (queue.head(), queue.first_due()))
    }

    /// The lines that changed since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<LineNo> {
        std::mem::take(&mut self.touched)
    }

    /// What waits for a time after this does so, and what was ripe already is so no longer. What waits for the run
    /// before stands nowhere until that is over.
    pub fn ripen_until(&mut self, until: Timestamp) {
        let due = |(no, it): (InstanceNo, &Instance)| {
            it.state.due().filter(|_| !self.held.contains(&it.node)).map(|due| (no, due))
        };
        let waiting: Vec<_> = self.instances().filter_map(due).collect();
        for (no, due) in waiting {
            self.in_line(no, |queue, weight| {
                queue.remove(weight, Some(due), no);
                queue.add(weight, (due > until).then_some(due), no);
            });
        }
    }

    /// What waited for a time that has come waits for nothing but room.
    pub fn ripen(&mut self, no: InstanceNo) {
        let Some(due) = self.arena.get(no).state.due() else { return };
        self.in_line(no, |queue, weight| queue.ripen(weight, due, no));
    }

    /// When `dagrun_timeout` ends it.
    pub fn times_out_at(&self) -> Option<Timestamp> {
        match (self.phase, self.version.spec.dagrun_timeout) {
            (Phase::Running { since }, Some(timeout)) => Some(since.plus(timeout)),
            _ => None,
        }
    }

    /// Whether this run is over at `now` by its own timeout.
    pub fn timed_out(&self, now: Timestamp) -> bool {
        self.times_out_at().is_some_and(|due| due <= now)
    }

    /// Whether this instance may be queued now, and as which execution.
    pub fn may_queue(&self, no: InstanceNo, now: Timestamp) -> Option<Token> {
        let instance = self.arena.get(no);
        if self.held.contains(&instance.node) {
            return None;
        }
        let next_try = || {
            let try_number = TryNumber::new(instance.tries.checked_add(1)?)?;
            Some(Token { try_number, leg: Leg::FIRST })
        };
        let token = match instance.state {
            TaskState::Waiting if self.standing(no) == Standing::Ready => {
                if self.lacks_copies(instance.node) { None } else { next_try() }
            }
            TaskState::UpForRetry { due, .. } if due <= now => next_try(),
            TaskState::UpForReschedule { token, due, .. } if due <= now => Some(token),
            TaskState::Waiting
            | TaskState::UpForRetry { .. }
            | TaskState::UpForReschedule { .. }
            | TaskState::Queued { .. }
            | TaskState::Running { .. }
            | TaskState::Deferred { .. }
            | TaskState::Done(_) => None,
        };
        token.filter(|_| self.phase.is_under_way())
    }

    /// Whether every copy of a task succeeded, was skipped, or is there no more.
    pub fn is_good(&self, node: Ix) -> bool {
        self.arena.is_good(node)
    }

    /// What the upstreams of an instance let it do.
    pub fn standing(&self, no: InstanceNo) -> Standing {
        if self.is_skipped(no) {
            return Standing::Never(RuledOut::Skipped);
        }
        let node = self.arena.get(no).node;
        if !self.goes_by_copy(node) {
            return self.arena.standing(node);
        }
        let done_of = |copy| self.arena.get(copy).state.done();
        self.arena.standing_of(&self.version, no, self.arena.tallies(node), done_of)
    }

    /// Whether what a task waits for is another thing for each of its copies.
    fn goes_by_copy(&self, node: Ix) -> bool {
        self.version.goes_by_copy(node) && self.arena.is_expanded(node)
    }

    /// Whether the instance's tries can be counted further.
    pub fn has_another_try(&self, no: InstanceNo) -> bool {
        self.arena.get(no).tries < u16::MAX
    }
}
