//! The page of a run's task instances, where what is asked for is decided by the DAG's spec, by map indexes and by
//! states: then only the rows of the page are read, however many copies the run has.
use std::{cmp::Reverse, ops::Range, sync::Arc};

use dagbok_events::MapIndex;

use super::{
    super::{
        errors::ApiError,
        page::Order,
        view::{InstanceView, copies_of},
    },
    InstanceQuery,
};
use crate::model::{
    Store, StoreError,
    rows::{RunRow, TaskInstanceState, VersionRow},
};

/// Of which task.
#[derive(Clone, Copy)]
enum Of {
    /// The one at this place of the DAG's meaning.
    Place(usize),
    /// The one at this place of those that are gone from the run.
    Gone(usize),
}

/// What of one task is wanted, in the order of the list.
struct Segment {
    of: Of,
    copies: Vec<Range<i32>>,
    down: bool,
}

impl Segment {
    fn len(&self) -> usize {
        self.copies.iter().map(ExactSizeIterator::len).sum()
    }

    /// The copy that is the `nth` of them.
    fn nth(&self, nth: usize) -> Option<MapIndex> {
        let mut rest = if self.down { self.len().checked_sub(nth + 1)? } else { nth };
        for stretch in &self.copies {
            if rest < stretch.len() {
                return stretch.clone().nth(rest).map(MapIndex);
            }
            rest -= stretch.len();
        }
        None
    }
}

/// The instances of a run that are wanted, in order.
pub(super) struct Window {
    run: Arc<RunRow>,
    version: Arc<VersionRow>,
    segments: Vec<Segment>,
}

impl Window {
    /// What `query` wants of a run, where rows need not be read to know it.
    pub(super) fn of(
        store: &Store,
        run: &Arc<RunRow>,
        query: &InstanceQuery,
        orders: &[Order],
    ) -> Result<Option<Self>, ApiError> {
        let version = store.version_shared(&run.dag_id, run.version)?;
        let Some(version) = version.filter(|_| query.needs_no_row()) else { return Ok(None) };
        let tasks = version.spec.tasks.iter().enumerate();
        let wanted = tasks.filter(|(_, task)| query.wants_task(task)).map(|(place, _)| place);
        let run = Arc::clone(run);
        let mut it = Self { run, segments: Vec::new(), version: Arc::clone(&version) };
        let wanted: Vec<usize> = wanted.collect();
        let Some((wanted, down)) = ordered(wanted, &version, orders) else { return Ok(None) };
        for place in wanted {
            let copies = it.copies(store, place, query)?;
            if !copies.is_empty() {
                it.segments.push(Segment { of: Of::Place(place), copies, down });
            }
        }
        let gone = it.gone(store, query)?;
        // Where an order is asked for they would stand between the others.
        if !gone.is_empty() && !orders.is_empty() {
            return Ok(None);
        }
        it.segments.extend(gone);
        Ok(Some(it))
    }

    /// What is wanted of tasks that are gone from the run: they come last, and are all `removed`.
    fn gone(&self, store: &Store, query: &InstanceQuery) -> Result<Vec<Segment>, StoreError> {
        let mut found = Vec::new();
        for (at, gone) in self.run.gone.iter().enumerate() {
            let first = MapIndex(gone.first);
            let one = InstanceView::of(store, &self.run, &gone.task_id, first, None)?;
            let by_name =
                || query.operator.is_empty() && query.wants_name(gone.task_id.as_str(), None);
            let wanted = one.spec().map_or_else(by_name, |task| query.wants_task(task));
            let removed =
                query.state.is_empty() || query.wants_state(Some(TaskInstanceState::Removed));
            if !wanted || !removed || self.run.is_hidden(gone) {
                continue;
            }
            let all = gone.first..gone.first.saturating_add_unsigned(gone.count);
            let copies = if query.map_index.is_empty() { vec![all] } else { named(query, &all) };
            if !copies.is_empty() {
                found.push(Segment { of: Of::Gone(at), copies, down: false });
            }
        }
        Ok(found)
    }

    /// From the other end.
    pub(super) fn reversed(mut self) -> Self {
        self.segments.reverse();
        self.segments.iter_mut().for_each(|segment| segment.down = !segment.down);
        self
    }

    /// Of a task, the copies that are wanted, in stretches.
    fn copies(
        &self,
        store: &Store,
        place: usize,
        query: &InstanceQuery,
    ) -> Result<Vec<Range<i32>>, StoreError> {
        let task_id = &self.version.spec.tasks[place].task_id;
        let key = self.run.key();
        let all = copies_of(&self.run, task_id);
        let by_index = |at: i32| query.map_index.is_empty() || query.map_index.contains(&at);
        if query.state.is_empty() && query.map_index.is_empty() {
            return Ok(vec![all]);
        }
        if query.state.is_empty() {
            return Ok(named(query, &all));
        }
        if all.start < 0 {
            let row = store.task(&key, task_id, MapIndex::UNMAPPED)?;
            let state = row.map(|row| row.state);
            let wanted = by_index(-1) && query.wants_state(state);
            return Ok(if wanted { vec![all] } else { Vec::new() });
        }
        let marks = store.marks(&key, task_id)?;
        let marked = |mark: u8| {
            let is_it = |state: &TaskInstanceState| state.mark() == mark;
            query.wants_state(TaskInstanceState::ALL.into_iter().find(is_it))
        };
        let wanted: Vec<bool> = (0..=u8::MAX).map(marked).collect();
        let mut found: Vec<Range<i32>> = Vec::new();
        for at in all {
            let mark = usize::try_from(at).ok().and_then(|at| marks.get(at)).copied().unwrap_or(0);
            if !wanted[usize::from(mark)] || !by_index(at) {
                continue;
            }
            match found.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end += 1,
                None => found.push(at..at + 1),
            }
        }
        Ok(found)
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.segments.iter().map(Segment::len).sum()
    }

    /// A stretch of them.
    pub(super) fn page(
        &self,
        store: &Store,
        skip: usize,
        take: usize,
    ) -> Result<Vec<InstanceView>, StoreError> {
        let (key, mut found, mut passed) = (self.run.key(), Vec::new(), 0);
        for segment in &self.segments {
            let here = segment.len();
            let from = skip.saturating_sub(passed).min(here);
            passed += here;
            for nth in from..here {
                if found.len() >= take {
                    return Ok(found);
                }
                let Some(map_index) = segment.nth(nth) else { break };
                let task_id = match segment.of {
                    Of::Place(place) => &self.version.spec.tasks[place].task_id,
                    Of::Gone(at) => &self.run.gone[at].task_id,
                };
                let row = store.task(&key, task_id, map_index)?;
                found.push(match segment.of {
                    Of::Place(place) => InstanceView {
                        run: Arc::clone(&self.run),
                        version: Some(Arc::clone(&self.version)),
                        number: self.run.version,
                        place: Some(place),
                        map_index,
                        row,
                    },
                    Of::Gone(_) => InstanceView::of(store, &self.run, task_id, map_index, row)?,
                });
            }
        }
        Ok(found)
    }
}

/// Of these map indexes, those that are asked for by name.
fn named(query: &InstanceQuery, all: &Range<i32>) -> Vec<Range<i32>> {
    let mut named = query.map_index.clone();
    named.sort_unstable();
    named.dedup();
    let there = named.into_iter().filter(|at| all.contains(at));
    there.map(|at| at..at + 1).collect()
}

/// These tasks in the order that is asked for, and whether their copies come from the highest down; nothing where
/// rows decide about the order.
fn ordered(
    mut places: Vec<usize>,
    version: &VersionRow,
    orders: &[Order],
) -> Option<(Vec<usize>, bool)> {
    let one = places.len() <= 1;
    let is_same = |order: &&Order| match order.field {
        "run_after" | "logical_date" => true,
        "id" | "task_id" | "operator" => one,
        _ => false,
    };
    let deciding: Vec<&Order> = orders.iter().filter(|order| !is_same(order)).collect();
    let (of_tasks, of_copies) = match deciding.as_slice() {
        [] => (None, false),
        [copies, ..] if one && copies.field == "map_index" => (None, copies.down),
        [tasks] if matches!(tasks.field, "id" | "task_id") => (Some(tasks.down), false),
        [tasks, copies, ..]
            if matches!(tasks.field, "id" | "task_id") && copies.field == "map_index" =>
        {
            (Some(tasks.down), copies.down)
        }
        _ => return None,
    };
    let name = |place: &usize| version.spec.tasks[*place].task_id.as_str();
    match of_tasks {
        Some(true) => places.sort_by_key(|place| Reverse(name(place).to_owned())),
        Some(false) => places.sort_by_key(|place| name(place).to_owned()),
        None => {}
    }
    Some((places, of_copies))
}
