//! Lanes: where work that waits for nothing but room stands, one for each DAG, pool, number of slots and cap.
//!
//! A lane holds no task itself: it knows which runs have some, and how urgent the first of each is. The lanes
//! of one DAG, pool and number of slots stand on a shelf, and of each pool the shelves that may go stand in the
//! order in which they are to be served: by weight, and within a weight by [turn](super::turns). What a DAG
//! without room has, or a task that is at its cap, stands in no order: what waits costs nothing until it can go.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{DagId, PoolName, TaskId, Timestamp};

use super::{RunNo, turns::Turns};
use crate::run::{Line, LineNo, Run, Weight};

/// Slots that each task of a lane needs.
pub(super) type Slots = u32;
/// The task of a lane that has a limit over all runs, with that limit.
pub(super) type CapKey = Option<(TaskId, u32)>;
/// The place of a line in a lane: the more urgent first, then the older run, then the DAG's order.
pub(super) type Place = (Weight, RunNo, LineNo);

/// Whose lanes stand together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShelfKey {
    pub(super) dag_id: DagId,
    pub(super) pool: PoolName,
    pub(super) slots: Slots,
}

/// The lines of runs that have work in a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// By the weight of the most urgent task that is ready.
    pub(super) ready: BTreeSet<Place>,
    /// By when the first task that waits for a time is due.
    pub(super) later: BTreeSet<(Timestamp, RunNo, LineNo)>,
    /// Where it stands on its shelf.
    stands: (Option<Place>, Option<Timestamp>),
}

/// The lanes of one DAG, pool and number of slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    lanes: BTreeMap<CapKey, Lane>,
    /// The first place of each lane that is not at its cap.
    pub(super) open: BTreeSet<(Place, CapKey)>,
    /// When the first of each is due.
    pub(super) later: BTreeSet<(Timestamp, CapKey)>,
    /// Where it stands in its pool's order.
    stands: Option<(Weight, u64)>,
    due: Option<Timestamp>,
}

/// The shelves of one pool and number of slots that may go.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    pub(super) ready: BTreeSet<(Weight, u64, DagId)>,
    pub(super) later: BTreeSet<(Timestamp, DagId)>,
}

/// What a line of a run has to offer.
type Share = (Option<Weight>, Option<Timestamp>);

/// All lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    shelves: BTreeMap<ShelfKey, Shelf>,
    shares: BTreeMap<RunNo, BTreeMap<LineNo, Share>>,
    pub(super) orders: BTreeMap<PoolName, BTreeMap<Slots, Order>>,
    shut: BTreeSet<DagId>,
    /// Tries in flight of each task that some version of its DAG gives a limit over all runs.
    busy: BTreeMap<DagId, BTreeMap<TaskId, u32>>,
    /// Where the lanes of tasks with a cap stand.
    capped: BTreeMap<(DagId, TaskId), BTreeSet<(ShelfKey, u32)>>,
}

impl Lanes {
    /// Takes in what a running run has to offer now.
    pub(super) fn put(&mut self, number: RunNo, run: &mut Run, turns: &mut Turns) {
        let known = self.shares.contains_key(&number);
        let touched = run.take_touched();
        if known {
            for line in touched {
                self.put_line(number, run, line, turns);
            }
        } else {
            self.shares.insert(number, BTreeMap::new());
            for line in run.line_numbers() {
                self.put_line(number, run, line, turns);
            }
        }
    }

    fn put_line(&mut self, number: RunNo, run: &Run, line: LineNo, turns: &mut Turns) {
        let share = run.offers(line);
        let shares = self.shares.entry(number).or_default();
        let before = shares.get(&line).copied().unwrap_or_default();
        if before == share {
            return;
        }
        if share == (None, None) {
            shares.remove(&line);
        } else {
            shares.insert(line, share);
        }
        let dag_id = &run.key().dag_id;
        let place = (number, line);
        self.change(dag_id, run.version().line(line), (place, before, share), turns);
    }

    /// Forgets a run that is over, or waits for its turn.
    pub(super) fn remove(&mut self, number: RunNo, run: &Run, turns: &mut Turns) {
        for (line, share) in self.shares.remove(&number).unwrap_or_default() {
            let of = run.version().line(line);
            let moved = ((number, line), share, (None, None));
            self.change(&run.key().dag_id, of, moved, turns);
        }
    }

    fn change(
        &mut self,
        dag_id: &DagId,
        line: &Line,
        ((number, no), before, after): ((RunNo, LineNo), Share, Share),
        turns: &mut Turns,
    ) {
        let Line { pool, slots, cap } = line;
        let key = ShelfKey { dag_id: dag_id.clone(), pool: pool.clone(), slots: *slots };
        let cap: CapKey = cap.as_ref().and_then(|cap| Some((cap.task_id.clone(), cap.per_dag?)));
        let on = self.shelves.entry(key.clone()).or_default();
        let found = on.lanes.entry(cap.clone()).or_default();
        if let Some(weight) = before.0 {
            found.ready.remove(&(weight, number, no));
        }
        if let Some(due) = before.1 {
            found.later.remove(&(due, number, no));
        }
        found.ready.extend(after.0.map(|weight| (weight, number, no)));
        found.later.extend(after.1.map(|due| (due, number, no)));
        self.refresh(&key, &cap, turns);
    }

    /// Puts a lane where its shelf has it, and the shelf where its pool has it.
    fn refresh(&mut self, key: &ShelfKey, cap: &CapKey, turns: &mut Turns) {
        let room = self.cap_room(&key.dag_id, cap) > 0;
        let Some(it) = self.shelves.get_mut(key) else { return };
        let lane = it.lanes.get(cap);
        let is_gone = lane.is_none_or(|lane| lane.ready.is_empty() && lane.later.is_empty());
        let head = lane.and_then(|lane| lane.ready.first().copied()).filter(|_| room);
        let due = lane.and_then(|lane| Some(lane.later.first()?.0)).filter(|_| room);
        it.stand(cap, head, due);
        if is_gone {
            it.lanes.remove(cap);
        }
        if let Some((task_id, most)) = cap {
            let at = (key.dag_id.clone(), task_id.clone());
            let places = self.capped.entry(at.clone()).or_default();
            if is_gone {
                places.remove(&(key.clone(), *most));
            } else {
                places.insert((key.clone(), *most));
            }
            if places.is_empty() {
                self.capped.remove(&at);
            }
        }
        self.reposition(key, turns);
    }

    /// Puts a shelf where it belongs in its pool's order.
    fn reposition(&mut self, key: &ShelfKey, turns: &mut Turns) {
        let Some(it) = self.shelves.get(key) else { return };
        let is_shut = self.shut.contains(&key.dag_id);
        let head = it.open.first().map(|((weight, _, _), _)| *weight).filter(|_| !is_shut);
        let due = it.later.first().map(|(due, _)| *due).filter(|_| !is_shut);
        let (stood, was_due) = (it.stands, it.due);
        // Its turn in the pool is one for all its shelves there: while one of them stands, nothing comes anew.
        let is_new = head.is_some() && stood.is_none() && !self.stands_beside(key);
        let stands = head.map(|weight| (weight, turns.of(&key.pool, &key.dag_id, is_new)));
        let Some(it) = self.shelves.get_mut(key) else { return };
        (it.stands, it.due) = (stands, due);
        if it.lanes.is_empty() {
            self.shelves.remove(key);
        }
        if (stood, was_due) == (stands, due) {
            return;
        }
        let pool = self.orders.entry(key.pool.clone()).or_default();
        let order = pool.entry(key.slots).or_default();
        if let Some((weight, turn)) = stood {
            order.ready.remove(&(weight, turn, key.dag_id.clone()));
        }
        if let Some(due) = was_due {
            order.later.remove(&(due, key.dag_id.clone()));
        }
        order.ready.extend(stands.map(|(weight, turn)| (weight, turn, key.dag_id.clone())));
        order.later.extend(due.map(|due| (due, key.dag_id.clone())));
        if order.ready.is_empty() && order.later.is_empty() {
            pool.remove(&key.slots);
            if pool.is_empty() {
                self.orders.remove(&key.pool);
            }
        }
    }

    /// A try of a DAG took slots of a pool: its shelves there stand further back.
    pub(super) fn served(&mut self, dag_id: &DagId, pool: &PoolName, turns: &mut Turns) {
        for key in self.shelves_of(dag_id, Some(pool)) {
            self.reposition(&key, turns);
        }
    }

    /// Opens or shuts the lanes of a DAG.
    pub(super) fn set_open(&mut self, dag_id: &DagId, open: bool, turns: &mut Turns) {
        let changed =
            if open { self.shut.remove(dag_id) } else { self.shut.insert(dag_id.clone()) };
        if changed {
            for key in self.shelves_of(dag_id, None) {
                self.reposition(&key, turns);
            }
        }
    }

    /// The shelves of a DAG, of one pool or of all: as many as it has pools and numbers of slots.
    fn shelves_of(&self, dag_id: &DagId, pool: Option<&PoolName>) -> Vec<ShelfKey> {
        // Blanks come first of all that a name may hold.
        let first = || PoolName::new(" ").expect("a constant within the rules");
        let from = pool.cloned().unwrap_or_else(first);
        let from = ShelfKey { dag_id: dag_id.clone(), pool: from, slots: 0 };
        let of_dag = self.shelves.range(from..).map(|(key, _)| key);
        let of_dag = of_dag.take_while(|key| key.dag_id == *dag_id);
        of_dag.take_while(|key| pool.is_none_or(|pool| key.pool == *pool)).cloned().collect()
    }

    /// Whether another shelf of the same DAG and pool has something that may go.
    fn stands_beside(&self, key: &ShelfKey) -> bool {
        let from = ShelfKey { slots: 0, ..key.clone() };
        let of_dag = self.shelves.range(from..);
        let mut of_both =
            of_dag.take_while(|(other, _)| other.dag_id == key.dag_id && other.pool == key.pool);
        of_both.any(|(other, it)| other != key && it.stands.is_some())
    }

    /// Counts the tries of a task from now on, of which so many are in flight.
    pub(super) fn watch(&mut self, dag_id: &DagId, task_id: &TaskId, in_flight: u32) {
        self.busy.entry(dag_id.clone()).or_default().insert(task_id.clone(), in_flight);
    }

    /// Whether the tries of a task are counted.
    pub(super) fn is_watched(&self, dag_id: &DagId, task_id: &TaskId) -> bool {
        self.busy.get(dag_id).is_some_and(|busy| busy.contains_key(task_id))
    }

    /// Counts one more try of a task in flight, or one less, where that one is counted.
    pub(super) fn count(
        &mut self,
        dag_id: &DagId,
        task_id: &TaskId,
        more: bool,
        turns: &mut Turns,
    ) {
        if self.busy.is_empty() {
            return;
        }
        let busy = self.busy.get_mut(dag_id).and_then(|busy| busy.get_mut(task_id));
        let Some(count) = busy else { return };
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        let at = (dag_id.clone(), task_id.clone());
        for (key, most) in self.capped.get(&at).cloned().unwrap_or_default() {
            self.refresh(&key, &Some((task_id.clone(), most)), turns);
        }
    }

    /// Whether some run that waits has a limit for a task over all runs.
    pub(super) fn is_capped(&self, dag_id: &DagId, task_id: &TaskId) -> bool {
        !self.capped.is_empty() && self.capped.contains_key(&(dag_id.clone(), task_id.clone()))
    }

    /// How many more tries of a task its cap allows.
    pub(super) fn cap_room(&self, dag_id: &DagId, cap: &CapKey) -> u32 {
        let Some((task_id, most)) = cap else { return u32::MAX };
        let busy = self.busy.get(dag_id).and_then(|busy| busy.get(task_id));
        most.saturating_sub(busy.copied().unwrap_or(0))
    }

    /// Forgets a DAG that has no lane.
    pub(super) fn forget(&mut self, dag_id: &DagId) {
        self.shut.remove(dag_id);
        self.busy.remove(dag_id);
    }

    /// The lines of a DAG's runs that have something ready, of one pool and number of slots or of all.
    pub(super) fn lines_of(
        &self,
        dag_id: &DagId,
        of: Option<(&PoolName, Slots)>,
    ) -> impl Iterator<Item = (RunNo, LineNo)> + '_ {
        let keys = self.shelves_of(dag_id, of.map(|(pool, _)| pool)).into_iter();
        let slots = of.map(|(_, slots)| slots);
        let keys = keys.filter(move |key| slots.is_none_or(|slots| key.slots == slots));
        let lanes = keys.filter_map(|key| self.shelves.get(&key)).flat_map(|it| it.lanes.values());
        lanes.flat_map(|lane| lane.ready.iter().map(|(_, number, line)| (*number, *line)))
    }

    /// By pool and how many slots each task needs, all lines of runs that have something ready.
    pub(super) fn ready(
        &self,
    ) -> impl Iterator<Item = (&PoolName, Slots, impl Iterator<Item = (RunNo, LineNo)>)> {
        self.shelves.iter().map(|(key, shelf)| {
            let ready = shelf.lanes.values().flat_map(|lane| &lane.ready);
            (&key.pool, key.slots, ready.map(|(_, run, line)| (*run, *line)))
        })
    }

    /// Whether a DAG has something in a pool that could go.
    pub(super) fn has_work(&self, dag_id: &DagId, pool: &PoolName) -> bool {
        let shelves = self.shelves_of(dag_id, Some(pool));
        shelves.iter().any(|key| self.shelves.get(key).is_some_and(|it| it.stands.is_some()))
    }

    /// A shelf that stands in an order.
    pub(super) fn shelf(&self, dag_id: &DagId, pool: &PoolName, slots: Slots) -> Option<&Shelf> {
        let key = ShelfKey { dag_id: dag_id.clone(), pool: pool.clone(), slots };
        self.shelves.get(&key)
    }
}

impl Shelf {
    /// Where a lane stands on it.
    fn stand(&mut self, cap: &CapKey, head: Option<Place>, due: Option<Timestamp>) {
        // A lane stands once in each: it is found by what it held before.
        let Some(lane) = self.lanes.get_mut(cap) else { return };
        let (stood, was_due) = std::mem::replace(&mut lane.stands, (head, due));
        if stood != head {
            if let Some(place) = stood {
                self.open.remove(&(place, cap.clone()));
            }
            self.open.extend(head.map(|place| (place, cap.clone())));
        }
        if was_due != due {
            if let Some(due) = was_due {
                self.later.remove(&(due, cap.clone()));
            }
            self.later.extend(due.map(|due| (due, cap.clone())));
        }
    }

    /// A lane of it.
    pub(super) fn lane(&self, cap: &CapKey) -> Option<&Lane> {
        self.lanes.get(cap)
    }
}
