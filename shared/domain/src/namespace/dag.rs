//! What is remembered of a DAG: its meanings, its schedule's promise, and its runs' names.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dagbok_events::{DagVersion, Digest, Interval, Micros, RunExpected, RunId, Timestamp};

use crate::{graph::Version, run::Ending};

use super::RunNo;

/// A DAG that was ever registered.
#[derive(Clone, Debug)]
pub struct Dag {
    pub(super) current: Arc<Version>,
    /// Older meanings that runs not yet over still use.
    pub(super) older: BTreeMap<DagVersion, Arc<Version>>,
    pub(super) bundle: Digest,
    pub(super) file: String,
    pub(super) paused: bool,
    pub(super) gone: bool,
    /// The promise that stands.
    pub(super) expected: Option<RunExpected>,
    /// The interval of the last automatic run.
    pub(super) last_interval: Option<Interval>,
    /// When it was last unpaused, to tell why a promised run did not happen.
    pub(super) unpaused_at: Option<Timestamp>,
    /// When it last had as many runs as it may have.
    pub(super) full_until: Option<Timestamp>,
    pub(super) active: BTreeSet<RunNo>,
    pub(super) running: u32,
    /// Tries in flight over all runs.
    pub(super) in_flight: u32,
    pub(super) past: BTreeMap<RunId, Ending>,
    pub(super) dates: BTreeSet<Timestamp>,
}

impl Dag {
    /// A DAG registered for the first time.
    pub(super) fn new(current: Arc<Version>, bundle: Digest, paused: bool) -> Self {
        Self {
            file: current.spec.source.file.clone(),
            current,
            older: BTreeMap::new(),
            bundle,
            paused,
            gone: false,
            expected: None,
            last_interval: None,
            unpaused_at: None,
            full_until: None,
            active: BTreeSet::new(),
            running: 0,
            in_flight: 0,
            past: BTreeMap::new(),
            dates: BTreeSet::new(),
        }
    }

    /// Its meaning now.
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

    /// A meaning that is still in use.
    pub fn version(&self, number: DagVersion) -> Option<&Arc<Version>> {
        if self.current.number == number { Some(&self.current) } else { self.older.get(&number) }
    }

    /// When the promised run is due, where one is and may be made.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.paused || self.gone { None } else { self.expected.as_ref().and_then(|run| run.due) }
    }

    /// Whether another run may be made by schedule.
    pub(super) fn has_room(&self) -> bool {
        u32::try_from(self.active.len()).unwrap_or(u32::MAX) < self.max_active_runs()
    }

    /// Whether another run may start.
    pub(super) fn may_start(&self) -> bool {
        !self.paused && self.running < self.max_active_runs()
    }

    /// The first instant from `from` on that no run has for its logical date.
    pub(super) fn free_date(&self, from: Timestamp) -> Timestamp {
        let mut free = from;
        for taken in self.dates.range(from..) {
            if *taken > free {
                break;
            }
            free = taken.plus(Micros(1));
        }
        free
    }

    /// Runs that may be running at once; as in Airflow, 0 is no limit.
    pub(super) fn max_active_runs(&self) -> u32 {
        match self.current.spec.max_active_runs {
            0 => u32::MAX,
            most => most,
        }
    }
}
