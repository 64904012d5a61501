//! Instances of a run that wait for nothing but room, or only for a time and room.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use dagbok_events::{PoolName, TaskId, TaskSpec, Timestamp};

use super::InstanceNo;

/// A line's place in its version of a DAG.
pub type LineNo = u32;

/// Tasks that can only go together or not at all: of the same pool, each in need of so many slots, under the
/// same cap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Whose slots.
    pub pool: PoolName,
    /// How many each needs.
    pub slots: u32,
    /// A task that has a limit of its own stands alone.
    pub cap: Option<Cap>,
}

/// How many tries of one task may be in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cap {
    /// Which task.
    pub task_id: TaskId,
    /// Over all runs of the DAG: `max_active_tis_per_dag`.
    pub per_dag: Option<u32>,
    /// In one run: `max_active_tis_per_dagrun`.
    pub per_run: Option<u32>,
}

/// The more urgent, the lower.
pub type Weight = Reverse<i32>;

impl Line {
    /// Where instances of this task wait.
    pub fn of(spec: &TaskSpec) -> Self {
        let (per_dag, per_run) = (spec.max_active_tis_per_dag, spec.max_active_tis_per_dagrun);
        let task_id = || spec.task_id.clone();
        let cap = (per_dag.is_some() || per_run.is_some()).then(|| Cap {
            task_id: task_id(),
            per_dag,
            per_run,
        });
        Self { pool: spec.pool.clone(), slots: spec.pool_slots, cap }
    }

    /// How many tries of its task one run may have in flight.
    pub fn per_run(&self) -> Option<u32> {
        self.cap.as_ref()?.per_run
    }
}

/// The instances of one line. Those that are ready stand in stretches: a task's copies mostly have numbers that
/// follow each other.
#[derive(Clone, Debug, Default)]
pub struct LineQueue {
    /// By weight and first number, the number after the last. No two of a weight overlap or touch.
    ready: BTreeMap<(Weight, InstanceNo), InstanceNo>,
    later: BTreeSet<(Timestamp, Weight, InstanceNo)>,
}

impl LineQueue {
    pub(super) fn add(&mut self, weight: i32, due: Option<Timestamp>, no: InstanceNo) {
        match due {
            // What is ripe stays so when it is put in its place again.
            Some(_) if self.is_ready(weight, no) => {}
            Some(due) => {
                self.later.insert((due, Reverse(weight), no));
            }
            None => self.add_ready(weight, no..no + 1),
        }
    }

    /// Takes out what waits, until `due` where it waits for a time: what is ripe stands with those that do not.
    pub(super) fn remove(&mut self, weight: i32, due: Option<Timestamp>, no: InstanceNo) {
        let later = due.is_some_and(|due| self.later.remove(&(due, Reverse(weight), no)));
        if !later {
            self.remove_ready(weight, no..no + 1);
        }
    }

    /// What waited until `due` waits for nothing but room from now on.
    pub(super) fn ripen(&mut self, weight: i32, due: Timestamp, no: InstanceNo) {
        if self.later.remove(&(due, Reverse(weight), no)) {
            self.add_ready(weight, no..no + 1);
        }
    }

    /// The stretch that stands at or before a number.
    fn before(&self, weight: i32, no: InstanceNo) -> Option<Range<InstanceNo>> {
        let key = (Reverse(weight), no);
        let ((of, first), end) = self.ready.range(..=key).next_back()?;
        (*of == Reverse(weight)).then_some(*first..*end)
    }

    fn is_ready(&self, weight: i32, no: InstanceNo) -> bool {
        self.before(weight, no).is_some_and(|stretch| stretch.contains(&no))
    }

    /// These wait for nothing but room.
    pub(super) fn add_ready(&mut self, weight: i32, mut copies: Range<InstanceNo>) {
        let of = Reverse(weight);
        if let Some(last) = self.before(weight, copies.start).filter(|it| it.end >= copies.start) {
            self.ready.remove(&(of, last.start));
            copies = last.start..last.end.max(copies.end);
        }
        while let Some((&(_, first), &end)) =
            self.ready.range((of, copies.start)..=(of, copies.end)).next()
        {
            self.ready.remove(&(of, first));
            copies.end = copies.end.max(end);
        }
        self.ready.insert((of, copies.start), copies.end);
    }

    /// These wait for something else.
    pub(super) fn remove_ready(&mut self, weight: i32, copies: Range<InstanceNo>) {
        let of = Reverse(weight);
        if let Some(first) = self.before(weight, copies.start).filter(|it| it.end > copies.start) {
            self.ready.remove(&(of, first.start));
            if first.start < copies.start {
                self.ready.insert((of, first.start), copies.start);
            }
            if first.end > copies.end {
                self.ready.insert((of, copies.end), first.end);
            }
        }
        while let Some((&(_, first), &end)) =
            self.ready.range((of, copies.start)..(of, copies.end)).next()
        {
            self.ready.remove(&(of, first));
            if end > copies.end {
                self.ready.insert((of, copies.end), end);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.later.is_empty()
    }

    /// The weight of the most urgent one that is ready.
    pub fn head(&self) -> Option<Weight> {
        self.ready.first_key_value().map(|((weight, _), _)| *weight)
    }

    /// When the first of those that wait for a time is due.
    pub fn first_due(&self) -> Option<Timestamp> {
        self.later.first().map(|(due, _, _)| *due)
    }

    /// The first of those that wait for a time.
    pub fn first_later(&self) -> Option<InstanceNo> {
        self.later.first().map(|(_, _, no)| *no)
    }

    /// How many are ready and stand before one of this weight and number.
    pub fn ready_before(&self, weight: Weight, no: InstanceNo) -> u32 {
        let before = self.ready.range(..(weight, no));
        before
            .map(|((of, first), end)| if *of == weight { (*end).min(no) } else { *end } - first)
            .sum()
    }

    /// How many are ready.
    pub fn ready_count(&self) -> u32 {
        self.ready.iter().map(|((_, first), end)| end - first).sum()
    }

    /// Those that are ready, most urgent first.
    pub fn ready(&self) -> impl Iterator<Item = (Weight, InstanceNo)> {
        self.ready.iter().flat_map(|((weight, first), end)| (*first..*end).map(|no| (*weight, no)))
    }

    /// Those whose time has come, and that are not ripe yet.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (Weight, InstanceNo)> {
        let due = self.later.iter().take_while(move |(due, _, _)| *due <= now);
        due.map(|(_, weight, no)| (*weight, *no))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by numbers alone.
    fn assert_same(queue: &LineQueue, plain: &BTreeSet<(Weight, InstanceNo)>) {
        assert_eq!(queue.ready().collect::<BTreeSet<_>>(), *plain);
        let mut last = None;
        for ((weight, first), end) in &queue.ready {
            assert!(first < end, "an empty stretch");
            assert!(last.is_none_or(|last| last < (*weight, *first)), "stretches touch");
            last = Some((*weight, *end));
        }
        assert_eq!(queue.head(), plain.first().map(|(weight, _)| *weight));
    }

    #[test]
    fn stretches_hold_what_single_numbers_would() {
        let (mut queue, mut plain) = (LineQueue::default(), BTreeSet::new());
        let mut state = 0x9e37_79b9_u32;
        let mut roll = move |below: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % below
        };
        for _ in 0..20_000 {
            let weight = i32::try_from(roll(2)).unwrap();
            let first = roll(60);
            let copies = first..first + 1 + roll(4) * roll(8);
            let of = copies.clone().map(|no| (Reverse(weight), no));
            if roll(2) == 0 {
                queue.add_ready(weight, copies);
                plain.extend(of);
            } else {
                queue.remove_ready(weight, copies);
                of.for_each(|one| {
                    plain.remove(&one);
                });
            }
            assert_same(&queue, &plain);
        }
    }
}
