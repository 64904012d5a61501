//! What is remembered of a DAG: its versions, its schedule's promise, and its runs.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dagbok_events::{
    AssetKey, DagVersion, Digest, Interval, RunCreated, RunExpected, RunId, RunType,
    ScheduleForetold, TaskId, Timestamp, Timetable,
};
use dagbok_protocol::Ahead;

use super::{
    RunNo,
    assets::Waiting,
    backfill::Backfill,
    consecutive::Newest,
    dates::Dates,
    kept::Kept,
    partitions::Partitions,
    past::{Deleted, Past},
    previous::Ended,
    schedule,
};
use crate::graph::Version;

/// A DAG that was ever registered.
#[derive(Clone, Debug)]
pub struct Dag {
    pub(super) current: Arc<Version>,
    /// Older versions that runs not yet over still use.
    pub(super) older: BTreeMap<DagVersion, Arc<Version>>,
    /// How many runs not yet over use each version.
    pub(super) uses: BTreeMap<DagVersion, u32>,
    pub(super) bundle: Digest,
    pub(super) file: String,
    pub(super) paused: bool,
    pub(super) gone: bool,
    /// The promise that stands.
    pub(super) expected: Option<RunExpected>,
    /// What is promised beyond that.
    pub(super) ahead: Ahead,
    /// What it waits with for its next run by assets.
    pub(super) waiting: Waiting,
    /// The same by partitions, where it is scheduled on such.
    pub(super) partitions: Partitions,
    /// The interval of the last automatic run.
    pub(super) last_interval: Option<Interval>,
    /// When it was last unpaused, to tell why a promised run did not happen.
    pub(super) unpaused_at: Option<Timestamp>,
    /// When it last had as many runs as it may have.
    pub(super) full_until: Option<Timestamp>,
    /// Runs that are not over.
    pub(super) active: BTreeSet<RunNo>,
    /// Those of them that belong to a backfill, and do not count for the DAG's own limit.
    pub(super) apart: u32,
    /// Runs under way that belong to none.
    pub(super) running: u32,
    /// Tries in flight over all runs.
    pub(super) in_flight: u32,
    /// Runs of no backfill that wait for their turn, in the order in which it comes.
    pub(super) queued: BTreeSet<(Timestamp, RunNo)>,
    /// The backfill that is not over.
    pub(super) backfill: Option<Backfill>,
    /// Queued runs of a backfill that is over: they are to be ended.
    pub(super) left: BTreeSet<RunNo>,
    /// Runs that are over.
    pub(super) past: Past,
    /// What is kept of these beyond that, for whoever deletes one.
    pub(super) kept: Kept,
    /// Runs that were deleted.
    pub(super) deleted: Deleted,
    /// The logical dates of all runs there are.
    pub(super) dates: Dates,
    /// Runs that are over and whose ids do not tell their logical dates, by these.
    pub(super) named_dates: BTreeMap<Timestamp, RunId>,
    /// Runs that are not over, by their logical date.
    pub(super) by_date: BTreeMap<Timestamp, RunNo>,
    /// What is remembered of runs that are over, by their logical date.
    pub(super) ended: BTreeMap<Timestamp, Ended>,
    /// Its newest runs, where it is to be paused once they fail.
    pub(super) newest: Newest,
    /// Whether they have, and it is to be paused.
    pub(super) pause_due: bool,
    /// Since which version tasks that depend on the past are there, which were added later.
    pub(super) since: BTreeMap<TaskId, DagVersion>,
}

impl Dag {
    /// A DAG registered for the first time.
    pub(super) fn new(current: Arc<Version>, bundle: Digest, paused: bool) -> Self {
        Self {
            file: current.spec.source.file.clone(),
            current,
            older: BTreeMap::new(),
            uses: BTreeMap::new(),
            bundle,
            paused,
            gone: false,
            expected: None,
            ahead: Ahead::default(),
            waiting: Waiting::default(),
            partitions: Partitions::default(),
            last_interval: None,
            unpaused_at: None,
            full_until: None,
            active: BTreeSet::new(),
            apart: 0,
            running: 0,
            in_flight: 0,
            queued: BTreeSet::new(),
            backfill: None,
            left: BTreeSet::new(),
            past: Past::default(),
            kept: Kept::default(),
            deleted: Deleted::default(),
            dates: Dates::default(),
            named_dates: BTreeMap::new(),
            by_date: BTreeMap::new(),
            ended: BTreeMap::new(),
            newest: Newest::default(),
            pause_due: false,
            since: BTreeMap::new(),
        }
    }

    /// A run of it was made: what its schedule, or what waits for assets, goes on after.
    pub(super) fn note_made(&mut self, f: &RunCreated) {
        match f.run_type {
            RunType::Scheduled if f.data_interval.is_none() && f.partition.is_some() => {
                // The ticks of partitions are nobody's data; the schedule goes on after them all the same.
                self.last_interval = Some(Interval { start: f.run_after, end: f.run_after });
            }
            RunType::Scheduled => self.last_interval = f.data_interval,
            RunType::AssetTriggered if f.partition.is_some() => self.partitions.consume(f),
            RunType::AssetTriggered => self.waiting.consume(f),
            RunType::Manual | RunType::Backfill => {}
        }
    }

    /// Its version now.
    pub fn current(&self) -> &Arc<Version> {
        &self.current
    }

    /// Whether it makes no runs and starts none.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether its file no longer defines it.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// The run that its schedule promises next.
    pub const fn expected(&self) -> Option<&RunExpected> {
        self.expected.as_ref()
    }

    /// The data intervals of the runs that it promises after that.
    pub fn ahead(&self) -> impl Iterator<Item = Interval> + '_ {
        self.ahead.intervals()
    }

    /// Its timetable, written in Python, answered.
    pub(super) fn foretell(&mut self, answer: &ScheduleForetold) {
        if let Some(foretold) = self.current.foretold().map(|old| old.renewed(answer)) {
            Arc::make_mut(&mut self.current).foretell(&foretold);
        }
    }

    /// What a timetable answered stands for as long as the schedule is the same.
    pub(super) fn keep_foretold(&mut self, old: &Version) {
        if let Some(foretold) = old.foretold()
            && schedule::same_schedule(&old.spec, &self.current.spec)
        {
            Arc::make_mut(&mut self.current).foretell(foretold);
        }
    }

    /// Every version that is still in use.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        std::iter::once(&self.current).chain(self.older.values())
    }

    /// A version that is still in use.
    pub fn version(&self, number: DagVersion) -> Option<&Arc<Version>> {
        if self.current.number == number { Some(&self.current) } else { self.older.get(&number) }
    }

    /// When the promised run is due, where one is and may be made.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.paused || self.gone { None } else { self.expected.as_ref().and_then(|run| run.due) }
    }

    /// Whether the assets that it waits for are all up to date, and a run may be made for that.
    pub(super) fn is_ready_by_assets(&self) -> bool {
        if self.is_partitioned() {
            // Each stands for another part of the data: they are made at once, and wait for their turns as runs.
            return !self.paused && !self.gone && self.partitions.ready() > 0;
        }
        let enough = |condition| self.waiting.is_enough(condition);
        let condition = self.current.spec.asset_condition.as_ref();
        !self.paused && !self.gone && condition.is_some_and(enough) && self.has_room()
    }

    /// Whether it makes a run for each partition of its assets.
    pub(super) fn is_partitioned(&self) -> bool {
        matches!(self.current.spec.schedule.timetable, Timetable::PartitionedAsset { .. })
    }

    /// The assets that were brought up to date and wait for the others that it needs, each since when.
    pub fn queued_assets(&self) -> impl Iterator<Item = (&AssetKey, Timestamp)> {
        self.waiting.queued()
    }

    /// Whether another run may be made by schedule.
    pub(super) fn has_room(&self) -> bool {
        let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        active.saturating_sub(self.apart) < self.max_active_runs()
    }

    /// A run that is not over uses this version.
    pub(super) fn use_version(&mut self, version: &Arc<Version>) {
        *self.uses.entry(version.number).or_default() += 1;
        if version.number != self.current.number {
            self.older.insert(version.number, Arc::clone(version));
        }
    }

    /// A run that used this version is over.
    pub(super) fn release_version(&mut self, number: DagVersion) {
        let Some(uses) = self.uses.get_mut(&number) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&number);
            self.older.remove(&number);
        }
    }

    /// How many more tries may be in flight.
    pub(super) fn room(&self) -> u32 {
        let most = if self.paused { 0 } else { self.current.spec.max_active_tasks };
        most.saturating_sub(self.in_flight)
    }

    /// Whether another run of no backfill may start.
    pub(super) fn may_start(&self) -> bool {
        !self.paused && self.running < self.max_active_runs()
    }

    /// Runs that may be running at once; as in Airflow, 0 is no limit.
    pub(super) fn max_active_runs(&self) -> u32 {
        match self.current.spec.max_active_runs {
            0 => u32::MAX,
            most => most,
        }
    }
}
