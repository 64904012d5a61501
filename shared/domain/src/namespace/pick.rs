//! Which tasks go next: the most urgent first, DAGs of the same weight by turns, and within one the older run. No
//! more is looked at than is picked, and no limit that is reached stands before what it does not hold for.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, btree_set},
};

use dagbok_events::{DagId, PoolName, Timestamp};

use super::{
    Namespace, RunNo,
    lanes::{CapKey, Place, Shelf, Slots},
    room::{Full, Room},
    turns::cost,
};
use crate::run::{InstanceNo, LineNo, Weight};

/// The pools that have room and work, in the order of what each has to offer first.
pub(super) struct Pick<'a> {
    namespace: &'a Namespace,
    now: Timestamp,
    pools: Vec<PoolPick<'a>>,
    /// By weight and the pools' turns.
    heap: BinaryHeap<Reverse<(Weight, u64, usize)>>,
}

/// Shelves in the order in which they are served.
type Shelves<'a> = btree_set::Iter<'a, (Weight, u64, DagId)>;

/// One pool.
struct PoolPick<'a> {
    pool: &'a PoolName,
    turn: u64,
    /// The orders of shelves that are yet to be looked at.
    orders: Vec<(Slots, Shelves<'a>)>,
    shelves: Vec<ShelfPick<'a>>,
    /// Of DAGs that were picked from: where they stand since.
    turns: BTreeMap<&'a DagId, u64>,
    heap: BinaryHeap<Reverse<Offer<'a>>>,
}

/// By weight, then turn, then DAG; of one DAG what is not looked at yet, then the older run and the DAG's order.
type Offer<'a> = (Weight, u64, &'a DagId, Option<(RunNo, InstanceNo)>, From);

/// Where the next task of a pool is to be looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Order(usize),
    Shelf(usize),
}

/// One shelf that was opened.
struct ShelfPick<'a> {
    dag_id: &'a DagId,
    slots: Slots,
    shelf: &'a Shelf,
    /// Lanes that are yet to be opened.
    closed: Option<btree_set::Iter<'a, (Place, CapKey)>>,
    lanes: Vec<OpenLane<'a>>,
    streams: Vec<Stream<'a>>,
    heap: BinaryHeap<Reverse<(Weight, RunNo, Node)>>,
}

/// A lane's lines that are yet to be looked at.
struct OpenLane<'a> {
    /// Its cap is reached.
    full: bool,
    lines: Option<btree_set::Iter<'a, Place>>,
}

/// Tasks of a run's line that are yet to be looked at.
struct Stream<'a> {
    lane: usize,
    /// The cap of its run is reached.
    full: bool,
    tasks: Option<Box<dyn Iterator<Item = (Weight, InstanceNo)> + 'a>>,
}

/// What stands on an open shelf: containers before what is in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Lane(usize),
    Line { lane: usize, line: LineNo },
    Task { no: InstanceNo, stream: usize },
}

impl<'a> Pick<'a> {
    /// What may go by the pools' slots.
    pub(super) fn new(namespace: &'a Namespace, room: &mut Room<'a>, now: Timestamp) -> Self {
        let mut it = Self { namespace, now, pools: Vec::new(), heap: BinaryHeap::new() };
        if room.is_full() {
            return it;
        }
        for (pool, orders) in &namespace.index.lanes.orders {
            let Some(free) = room.in_pool(pool) else { continue };
            let most = Slots::try_from(free).unwrap_or(Slots::MAX);
            let mut of_pool = PoolPick::new(pool, namespace.turns.of_pool(pool));
            for (slots, order) in orders.range(..=most) {
                for (_, dag_id) in order.later.iter().take_while(|(due, _)| *due <= now) {
                    of_pool.open(namespace, (dag_id, *slots), now, true);
                }
                of_pool.orders.push((*slots, order.ready.iter()));
                of_pool.next_of_order(of_pool.orders.len() - 1);
            }
            let at = it.pools.len();
            it.pools.push(of_pool);
            it.push(at);
        }
        it
    }

    fn push(&mut self, at: usize) {
        let pool = &self.pools[at];
        if let Some(Reverse((weight, ..))) = pool.heap.peek() {
            self.heap.push(Reverse((*weight, pool.turn, at)));
        }
    }

    /// Takes room for the next task; `None` once there is none left for any.
    pub(super) fn next(&mut self, room: &mut Room<'a>) -> Option<(RunNo, InstanceNo)> {
        while let Some(Reverse((_, _, at))) = self.heap.pop() {
            if room.is_full() {
                return None;
            }
            let picked = self.pools[at].next(self.namespace, room, self.now);
            self.push(at);
            if picked.is_some() {
                return picked;
            }
        }
        None
    }
}

impl<'a> PoolPick<'a> {
    fn new(pool: &'a PoolName, turn: u64) -> Self {
        let (orders, shelves) = (Vec::new(), Vec::new());
        Self { pool, turn, orders, shelves, turns: BTreeMap::new(), heap: BinaryHeap::new() }
    }

    fn next_of_order(&mut self, at: usize) {
        if let Some((weight, turn, dag_id)) = self.orders[at].1.next() {
            self.heap.push(Reverse((*weight, *turn, dag_id, None, From::Order(at))));
        }
    }

    /// Opens a shelf; `due`: for what is due and not ripe, or else for what is ready.
    fn open(
        &mut self,
        namespace: &'a Namespace,
        (dag_id, slots): (&'a DagId, Slots),
        now: Timestamp,
        due: bool,
    ) {
        let Some(found) = namespace.index.lanes.shelf(dag_id, self.pool, slots) else { return };
        let mut opened = ShelfPick::new(dag_id, slots, found);
        if due {
            opened.open_due(namespace, now);
        } else {
            opened.closed = Some(found.open.iter());
            opened.next_lane();
        }
        self.shelves.push(opened);
        let turn = namespace.turns.peek(self.pool, dag_id);
        self.put_back(namespace, (self.shelves.len() - 1, turn), now);
    }

    /// Puts a shelf back into the order, where its DAG stands.
    fn put_back(&mut self, namespace: &'a Namespace, (at, turn): (usize, u64), now: Timestamp) {
        let found = &mut self.shelves[at];
        let turn = self.turns.get(found.dag_id).copied().unwrap_or(turn);
        if let Some((weight, number, no)) = found.head(namespace, now) {
            let offer = (weight, turn, found.dag_id, Some((number, no)), From::Shelf(at));
            self.heap.push(Reverse(offer));
        }
    }

    /// One step: picks a task where the first in the order is one.
    fn next(
        &mut self,
        namespace: &'a Namespace,
        room: &mut Room<'a>,
        now: Timestamp,
    ) -> Option<(RunNo, InstanceNo)> {
        let Reverse((_, turn, dag_id, _, from)) = self.heap.pop()?;
        let slots = match from {
            From::Order(at) => self.orders[at].0,
            From::Shelf(at) => self.shelves[at].slots,
        };
        if u64::from(slots) > room.in_pool(self.pool).unwrap_or(0) {
            // Nothing that needs as many goes any more: the rest of the order is left where it is.
            return None;
        }
        let dag_has_room = room.in_dag(dag_id) > 0;
        match from {
            From::Order(at) => {
                self.next_of_order(at);
                if dag_has_room {
                    self.open(namespace, (dag_id, slots), now, false);
                }
                None
            }
            From::Shelf(_) if !dag_has_room => None,
            From::Shelf(at) => {
                // Where the DAG was served from another shelf meanwhile, it stands further back.
                let stands = self.turns.get(dag_id).copied().unwrap_or(turn);
                let first = stands <= turn;
                let picked = first.then(|| self.shelves[at].next(namespace, room, now)).flatten();
                if picked.is_some() {
                    self.turns.insert(dag_id, stands.saturating_add(cost(slots)));
                    self.turn = self.turn.saturating_add(cost(slots));
                }
                self.put_back(namespace, (at, stands), now);
                picked
            }
        }
    }
}

impl<'a> ShelfPick<'a> {
    fn new(dag_id: &'a DagId, slots: Slots, shelf: &'a Shelf) -> Self {
        let (lanes, streams, heap) = (Vec::new(), Vec::new(), BinaryHeap::new());
        Self { dag_id, slots, shelf, closed: None, lanes, streams, heap }
    }

    /// The most urgent task that is left: opens what stands before it.
    fn head(
        &mut self,
        namespace: &'a Namespace,
        now: Timestamp,
    ) -> Option<(Weight, RunNo, InstanceNo)> {
        loop {
            let Reverse((weight, number, node)) = *self.heap.peek()?;
            let run = &namespace.runs[&number];
            match node {
                Node::Task { no, stream } if !self.is_full(stream) => {
                    return Some((weight, number, no));
                }
                Node::Task { .. } => {
                    self.heap.pop();
                }
                Node::Lane(lane) => {
                    self.heap.pop();
                    self.next_lane();
                    self.next_line(lane);
                }
                Node::Line { lane, line } => {
                    self.heap.pop();
                    self.next_line(lane);
                    let queue = run.waiting_in(line).filter(|_| !run.timed_out(now));
                    if let Some(queue) = queue.filter(|_| !self.lanes[lane].full) {
                        let tasks: Box<dyn Iterator<Item = _> + 'a> = Box::new(queue.ready());
                        self.streams.push(Stream { lane, full: false, tasks: Some(tasks) });
                        self.next_task(self.streams.len() - 1, number);
                    }
                }
            }
        }
    }

    fn is_full(&self, stream: usize) -> bool {
        let Stream { lane, full, .. } = self.streams[stream];
        full || self.lanes[lane].full
    }

    /// What is due and does not stand with what is ready yet: what came due since the last record.
    fn open_due(&mut self, namespace: &'a Namespace, now: Timestamp) {
        for (_, cap) in self.shelf.later.iter().take_while(|(due, _)| *due <= now) {
            let Some(lane) = self.shelf.lane(cap) else { continue };
            let at = self.lanes.len();
            self.lanes.push(OpenLane { full: false, lines: None });
            for (_, number, line) in lane.later.iter().take_while(|(due, ..)| *due <= now) {
                let Some(run) = namespace.runs.get(number) else { continue };
                let Some(queue) = run.waiting_in(*line).filter(|_| !run.timed_out(now)) else {
                    continue;
                };
                let stream = self.streams.len();
                self.streams.push(Stream { lane: at, full: false, tasks: None });
                for (weight, no) in queue.due(now) {
                    self.heap.push(Reverse((weight, *number, Node::Task { no, stream })));
                }
            }
        }
    }

    fn next_lane(&mut self) {
        let Some(((weight, number, _), cap)) = self.closed.as_mut().and_then(Iterator::next) else {
            return;
        };
        let Some(lane) = self.shelf.lane(cap) else { return };
        self.heap.push(Reverse((*weight, *number, Node::Lane(self.lanes.len()))));
        self.lanes.push(OpenLane { full: false, lines: Some(lane.ready.iter()) });
    }

    fn next_line(&mut self, lane: usize) {
        let lines = self.lanes[lane].lines.as_mut();
        if let Some((weight, number, line)) = lines.and_then(Iterator::next) {
            self.heap.push(Reverse((*weight, *number, Node::Line { lane, line: *line })));
        }
    }

    fn next_task(&mut self, stream: usize, number: RunNo) {
        let tasks = self.streams[stream].tasks.as_mut();
        if let Some((weight, no)) = tasks.and_then(Iterator::next) {
            self.heap.push(Reverse((weight, number, Node::Task { no, stream })));
        }
    }

    /// Takes room for the most urgent task; `None` where that one may not go.
    fn next(
        &mut self,
        namespace: &'a Namespace,
        room: &mut Room<'a>,
        now: Timestamp,
    ) -> Option<(RunNo, InstanceNo)> {
        self.head(namespace, now)?;
        let Reverse((_, number, Node::Task { no, stream })) = self.heap.pop()? else { return None };
        self.next_task(stream, number);
        // A clock that went back makes late again what was ripe.
        namespace.runs[&number].may_queue(no, now)?;
        match room.take(number, no) {
            Ok(()) => return Some((number, no)),
            Err(Full::Task) => {
                let lane = self.streams[stream].lane;
                self.lanes[lane].full = true;
            }
            Err(Full::Run) => self.streams[stream].full = true,
            Err(Full::All | Full::Dag | Full::Pool) => {}
        }
        None
    }
}
