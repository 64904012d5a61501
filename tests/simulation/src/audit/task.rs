//! The second opinion on one task of a run: its copies, and where each of them stands.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_domain::run::Done;
use dagbok_events::{ExecutorId, Expand, MapIndex, TaskId, TaskSpec, Timestamp};

/// Which execution of a copy: the try's number and the leg's.
pub type Execution = (u16, u32);

/// Where a copy of a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Nothing was tried yet, or not since it was cleared.
    Waiting,
    /// A leg of a try was offered.
    Queued(Execution),
    /// It was begun.
    Running(Execution, ExecutorId),
    /// To be tried again: when the try before ended, and from when on.
    Again(Timestamp, Timestamp),
    /// To go on with this leg: when the one before ended, and from when on; never by itself, where it waits for a
    /// trigger.
    Later(Execution, Timestamp, Timestamp),
    /// Over, unless somebody clears it.
    Done(Done),
}

/// When what waits for a trigger goes on by itself.
pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

/// One copy of a task; the only one, where it is not mapped.
#[derive(Clone, Debug)]
pub struct CopyModel {
    /// Which.
    pub map_index: MapIndex,
    /// Where it stands.
    pub stand: Stand,
    pub(super) tries: u16,
    pub(super) failures: u16,
    pub(super) losses: u16,
    /// When the first leg of the try in hand began.
    pub(super) began: Option<Timestamp>,
    /// When the time of the trigger that it waits for is up.
    pub(super) until: Option<Timestamp>,
    /// Tries in a row that nobody began in time.
    pub(super) not_begun: u8,
    /// When it was last offered.
    pub(super) queued_at: Timestamp,
    /// The record by which it was last offered.
    pub(super) queued_seq: u64,
    /// Every execution there ever was of it, whatever was cleared since.
    pub(super) offered: BTreeSet<Execution>,
    /// The values it handed on, and the records that have them.
    pub(super) xcoms: BTreeMap<String, u64>,
    /// How many elements it returned.
    pub(super) length: Option<u32>,
    /// What it decided against when it succeeded.
    pub(super) skips: Vec<TaskId>,
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskModel {
    /// What the DAG says of it.
    pub spec: TaskSpec,
    /// Its copies; one that stands for all, where it is mapped and not expanded.
    pub copies: Vec<CopyModel>,
    /// Over how many it was expanded since it last waited for that.
    pub(super) expanded: Option<u32>,
    /// What tries are numbered from.
    pub(super) tries: u16,
}

impl CopyModel {
    const fn new(map_index: MapIndex, tries: u16) -> Self {
        Self {
            map_index,
            stand: Stand::Waiting,
            tries,
            failures: 0,
            losses: 0,
            began: None,
            until: None,
            not_begun: 0,
            queued_at: Timestamp(0),
            queued_seq: 0,
            offered: BTreeSet::new(),
            xcoms: BTreeMap::new(),
            length: None,
            skips: Vec::new(),
        }
    }

    /// The execution that a trigger stands for.
    pub fn deferred(&self) -> Option<Execution> {
        match &self.stand {
            Stand::Later(execution, _, NEVER) => Some(*execution),
            _ => None,
        }
    }

    /// The execution in flight.
    pub fn in_flight(&self) -> Option<Execution> {
        match &self.stand {
            Stand::Queued(execution) | Stand::Running(execution, _) => Some(*execution),
            Stand::Waiting | Stand::Again(..) | Stand::Later(..) | Stand::Done(_) => None,
        }
    }

    /// Who runs it.
    pub const fn holder(&self) -> Option<&ExecutorId> {
        match &self.stand {
            Stand::Running(_, holder) => Some(holder),
            _ => None,
        }
    }

    /// How it ended.
    pub const fn done(&self) -> Option<Done> {
        match self.stand {
            Stand::Done(done) => Some(done),
            _ => None,
        }
    }

    pub(super) fn forget_values(&mut self) {
        self.xcoms.clear();
        self.length = None;
    }

    /// As if nothing had been tried, but for the numbers that were used.
    pub(super) fn forget(&mut self) {
        self.stand = Stand::Waiting;
        (self.failures, self.losses, self.began) = (0, 0, None);
        self.not_begun = 0;
        self.forget_values();
        self.skips.clear();
    }
}

impl TaskModel {
    /// A task that nothing was tried of; where its run's id was used before, numbers go on from `tries`.
    pub(super) fn new(spec: TaskSpec, tries: u16) -> Self {
        let copies = vec![CopyModel::new(MapIndex::UNMAPPED, tries)];
        Self { spec, copies, expanded: None, tries }
    }

    /// Whether it is mapped and has no copies.
    pub(super) fn lacks_copies(&self) -> bool {
        self.spec.expand.is_some() && self.copies[0].map_index.is_unmapped()
    }

    /// Whether it has no copies yet though it should from the run's start on.
    pub(super) fn should_have_copies(&self) -> bool {
        let in_file = matches!(self.spec.expand, Some(Expand::Literal { length }) if length > 0);
        in_file && self.lacks_copies()
    }

    /// Whether each of its copies goes with one of another task's.
    pub(super) fn is_together_with(&self, other: &Self) -> bool {
        let group = self.spec.mapped_group.as_ref();
        group.is_some() && group == other.spec.mapped_group.as_ref()
    }

    pub(super) fn find(&self, map_index: MapIndex) -> Option<&CopyModel> {
        self.copies.iter().find(|copy| copy.map_index == map_index)
    }

    pub(super) fn find_mut(&mut self, map_index: MapIndex) -> Option<&mut CopyModel> {
        self.copies.iter_mut().find(|copy| copy.map_index == map_index)
    }

    /// The copies that a fact names which says the same of `further` ones after the first.
    pub(super) fn stretch(&self, first: MapIndex, further: u32) -> Result<Vec<MapIndex>, String> {
        let indexes = (0..=further).map(|n| MapIndex(first.0.saturating_add_unsigned(n)));
        let unknown = |it: &MapIndex| self.find(*it).is_none();
        let all: Vec<MapIndex> = indexes.collect();
        match all.iter().find(|it| unknown(it)) {
            None => Ok(all),
            Some(it) => Err(format!("{} has no copy {it:?}", self.spec.task_id)),
        }
    }

    /// Gives it its copies, or more of them.
    pub(super) fn expand(&mut self, length: u32) {
        self.expanded = Some(length);
        if length > 0 {
            let has = if self.lacks_copies() { 0 } else { self.copies.len() };
            self.copies.truncate(has);
            let has = u32::try_from(has).expect("few");
            let indexes = (has..length).map(|n| MapIndex(i32::try_from(n).expect("short")));
            let tries = self.tries;
            self.copies.extend(indexes.map(|it| CopyModel::new(it, tries)));
        }
    }
}
