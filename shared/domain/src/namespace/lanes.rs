//! Lanes: where work that waits for nothing but room stands, one for each DAG, pool and number of slots.
//!
//! A lane holds no task itself: it knows which runs have some, and how urgent the first of each is. Lanes of
//! a DAG that has no room are shut, so that nobody looks into them: what waits costs nothing until it can go.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{DagId, PoolName, Timestamp};

use super::RunNo;
use crate::run::{Line, Run, Weight};

/// Slots that each task of a lane needs.
type Slots = u32;

/// What can only go together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) dag_id: DagId,
    pub(super) pool: PoolName,
    pub(super) slots: Slots,
}

impl LaneKey {
    /// The line of a run whose tasks wait here.
    pub(super) fn line(&self) -> Line {
        (self.pool.clone(), self.slots)
    }
}

/// The runs that have work in a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// By the weight of the most urgent task that is ready.
    pub(super) ready: BTreeSet<(Weight, RunNo)>,
    /// By when the first task that waits for a time is due.
    pub(super) later: BTreeSet<(Timestamp, RunNo)>,
}

/// The open lanes of a pool.
#[derive(Clone, Debug, Default)]
struct Doors {
    ready: BTreeMap<Slots, BTreeSet<DagId>>,
    later: BTreeMap<Slots, BTreeSet<(Timestamp, DagId)>>,
}

/// What a run has in one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    key: LaneKey,
    head: Option<Weight>,
    due: Option<Timestamp>,
}

/// All lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    by_key: BTreeMap<LaneKey, Lane>,
    shares: BTreeMap<RunNo, Vec<Share>>,
    doors: BTreeMap<PoolName, Doors>,
    shut: BTreeSet<DagId>,
}

impl Lanes {
    /// Takes in what a running run has to offer now.
    pub(super) fn put(&mut self, number: RunNo, run: &Run) {
        let shares = run.lines().iter().map(|((pool, slots), queue)| Share {
            key: LaneKey { dag_id: run.key().dag_id.clone(), pool: pool.clone(), slots: *slots },
            head: queue.head(),
            due: queue.first_due(),
        });
        let shares: Vec<Share> = shares.collect();
        if self.shares.get(&number) == Some(&shares) {
            return;
        }
        self.remove(number);
        for share in &shares {
            let (head, due) = (share.head, share.due);
            self.change(&share.key, |lane| {
                lane.ready.extend(head.map(|weight| (weight, number)));
                lane.later.extend(due.map(|due| (due, number)));
            });
        }
        if !shares.is_empty() {
            self.shares.insert(number, shares);
        }
    }

    /// Forgets a run that is over, or waits for its turn.
    pub(super) fn remove(&mut self, number: RunNo) {
        for share in self.shares.remove(&number).unwrap_or_default() {
            self.change(&share.key, |lane| {
                if let Some(weight) = share.head {
                    lane.ready.remove(&(weight, number));
                }
                if let Some(due) = share.due {
                    lane.later.remove(&(due, number));
                }
            });
        }
    }

    /// Opens or shuts the lanes of a DAG.
    pub(super) fn set_open(&mut self, dag_id: &DagId, open: bool) {
        let changed =
            if open { self.shut.remove(dag_id) } else { self.shut.insert(dag_id.clone()) };
        if !changed {
            return;
        }
        let first = LaneKey {
            dag_id: dag_id.clone(),
            pool: PoolName::new(" ").expect("a constant within the rules"),
            slots: 0,
        };
        // Blanks come first of all that a name may hold.
        let lanes = self.by_key.range(first..).take_while(|(key, _)| key.dag_id == *dag_id);
        for (key, lane) in lanes {
            let doors = self.doors.entry(key.pool.clone()).or_default();
            if open { doors.open(key, lane) } else { doors.shut(key, lane) }
        }
    }

    /// Forgets a DAG that has no lane.
    pub(super) fn forget(&mut self, dag_id: &DagId) {
        self.shut.remove(dag_id);
    }

    /// The pools that open lanes are of.
    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolName> {
        self.doors.keys()
    }

    /// The open lanes of a pool that need no more than `free` slots each and have something to offer.
    pub(super) fn open(&self, pool: &PoolName, free: u64, now: Timestamp) -> BTreeSet<LaneKey> {
        let Some(doors) = self.doors.get(pool) else { return BTreeSet::new() };
        let most = u32::try_from(free).unwrap_or(u32::MAX);
        let key = |slots: &Slots, dag_id: &DagId| LaneKey {
            dag_id: dag_id.clone(),
            pool: pool.clone(),
            slots: *slots,
        };
        let ready = doors.ready.range(..=most);
        let ready = ready.flat_map(|(slots, dags)| dags.iter().map(move |dag| key(slots, dag)));
        let later = doors.later.range(..=most).flat_map(|(slots, dags)| {
            let due = dags.iter().take_while(|(due, _)| *due <= now);
            due.map(move |(_, dag)| key(slots, dag))
        });
        ready.chain(later).collect()
    }

    /// A lane that [`Lanes::open`] named.
    pub(super) fn lane(&self, key: &LaneKey) -> Option<&Lane> {
        self.by_key.get(key)
    }

    fn change(&mut self, key: &LaneKey, change: impl FnOnce(&mut Lane)) {
        let lane = self.by_key.entry(key.clone()).or_default();
        let doors = self.doors.entry(key.pool.clone()).or_default();
        doors.shut(key, lane);
        change(lane);
        if lane.ready.is_empty() && lane.later.is_empty() {
            self.by_key.remove(key);
        } else if !self.shut.contains(&key.dag_id) {
            doors.open(key, lane);
        }
        if doors.ready.is_empty() && doors.later.is_empty() {
            self.doors.remove(&key.pool);
        }
    }
}

impl Doors {
    fn open(&mut self, key: &LaneKey, lane: &Lane) {
        if !lane.ready.is_empty() {
            self.ready.entry(key.slots).or_default().insert(key.dag_id.clone());
        }
        if let Some((due, _)) = lane.later.first() {
            self.later.entry(key.slots).or_default().insert((*due, key.dag_id.clone()));
        }
    }

    fn shut(&mut self, key: &LaneKey, lane: &Lane) {
        if let Some(dags) = self.ready.get_mut(&key.slots) {
            dags.remove(&key.dag_id);
            if dags.is_empty() {
                self.ready.remove(&key.slots);
            }
        }
        let first = lane.later.first().map(|(due, _)| *due);
        if let (Some(due), Some(dags)) = (first, self.later.get_mut(&key.slots)) {
            dags.remove(&(due, key.dag_id.clone()));
            if dags.is_empty() {
                self.later.remove(&key.slots);
            }
        }
    }
}
