//! Where a run stands in indexes and counts, before a record and after it. What differs is changed, once
//! for each record.
use std::collections::BTreeSet;

use dagbok_events::{DagId, RunKey, RunType, Timestamp};
use dagbok_rows::{Has, Key, Row, StoreError};

use super::{
    super::{
        Overlay, keys,
        rows::{
            DagRow, LastRun, RunHavingRow, RunIndexRow, RunOrderRow, RunRow, RunState, Tables,
            TaskInstanceState, TotalsRow,
        },
    },
    field::{RunField, Value, part, place},
};

/// What the indexes and counts have of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Standing {
    seq: u64,
    state: RunState,
    run_type: RunType,
    values: [Value; RunField::ALL.len()],
    /// Tasks by state, and last those without one.
    tasks: [u32; TASK_STATES],
}

const TASK_STATES: usize = TaskInstanceState::ALL.len() + 1;

impl Standing {
    /// Where `run` stands now.
    pub(in super::super) fn of(run: &RunRow) -> Self {
        let value = |field: RunField| match field {
            // It changes with each record, and is not in the index.
            field if field.is_in_hand(run.state) => Value::Nothing,
            field => field.of(run),
        };
        let mut tasks = [0; TASK_STATES];
        for (state, count) in &run.counts {
            tasks[*state as usize] = *count;
        }
        tasks[TASK_STATES - 1] = run.stateless();
        Self {
            seq: run.created_seq,
            state: run.state,
            run_type: run.run_type,
            values: RunField::ALL.map(value),
            tasks,
        }
    }

    /// What its DAG's row has of it, where it is the last one.
    fn last(&self) -> LastRun {
        let start =
            RunField::ALL.iter().zip(&self.values).find(|(it, _)| **it == RunField::StartDate);
        let start_date = match start {
            Some((_, Value::Number(at))) => Some(Timestamp(*at)),
            _ => None,
        };
        LastRun::Is { seq: self.seq, state: self.state, start_date }
    }

    /// Its keys in the index.
    fn places(&self, dag_id: &DagId) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (field, value) in RunField::ALL.into_iter().zip(&self.values) {
            let left_out = field.is_sparse() && *value == Value::Nothing;
            if left_out || field.is_never(self.state) || field.is_in_hand(self.state) {
                continue;
            }
            let mut put = |dag| {
                let part = part(dag, field, self.state, self.run_type);
                keys.insert(place(part, value, self.seq));
            };
            put(Some(dag_id));
            if field != RunField::RunId {
                put(None);
            }
        }
        keys
    }

    /// Its keys among runs that have a task in a state.
    fn having(&self, dag_id: &DagId) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (state, count) in (0_u8..).zip(self.tasks) {
            if count > 0 {
                keys.insert(keys::run_having(None, state, self.seq));
                keys.insert(keys::run_having(Some(dag_id), state, self.seq));
            }
        }
        keys
    }
}

/// Brings indexes and counts from where a run stood to where it stands; `None` for no such run.
pub(in super::super) fn moved(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    before: Option<&Standing>,
    after: Option<&Standing>,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    let dag_id = &run.dag_id;
    let both = |keys: fn(&Standing, &DagId) -> BTreeSet<Key>| {
        let of = |standing: Option<&Standing>| {
            standing.map(|standing| keys(standing, dag_id)).unwrap_or_default()
        };
        (of(before), of(after))
    };
    change_keys::<RunIndexRow>(rows, both(Standing::places));
    let tasks_differ = before.map(|it| it.tasks) != after.map(|it| it.tasks);
    if tasks_differ {
        change_keys::<RunHavingRow>(rows, both(Standing::having));
    }
    // One that is deleted and made anew by the same record has another place.
    let (left, taken) = (before.map(|it| it.seq), after.map(|it| it.seq));
    if left != taken {
        if let Some(seq) = left {
            rows.put::<RunOrderRow>(keys::run_order(seq), None);
        }
        if let Some(seq) = taken {
            let order = RunOrderRow { dag_id: dag_id.clone(), run_id: run.run_id.clone() };
            rows.add(keys::run_order(seq), order);
        }
    }
    let of = |standing: Option<&Standing>| standing.map(|it| (it.state, it.run_type));
    let last = |standing: Option<&Standing>| standing.map(Standing::last);
    if of(before) == of(after) && last(before) == last(after) && !tasks_differ {
        return Ok(());
    }
    let totals = rows.edit::<TotalsRow>(keys::totals())?.get_or_insert_default();
    totals.count(before, after);
    if let Some(dag) = rows.edit::<DagRow>(keys::dag(dag_id))? {
        dag.totals.count(before, after);
        dag.last_run = dag.last_run.followed(before, after);
    }
    Ok(())
}

pub(super) fn change_keys<R: Row + Default>(
    rows: &mut Overlay<'_>,
    (before, after): (BTreeSet<Key>, BTreeSet<Key>),
) where
    Tables: Has<R>,
{
    for key in before.difference(&after) {
        rows.put::<R>(key.clone(), None);
    }
    for key in after.difference(&before) {
        rows.add(key.clone(), R::default());
    }
}

impl LastRun {
    /// What it is once a run has come from where it stood to where it stands.
    fn followed(self, before: Option<&Standing>, after: Option<&Standing>) -> Self {
        match (self, before, after) {
            (Self::Is { seq, .. }, _, Some(now)) if now.seq < seq => self,
            // What was deleted may have been the only one: a run that is older than it is none of ours to judge.
            (Self::Deleted, Some(then), Some(now)) if then.seq == now.seq => self,
            (_, _, Some(now)) => now.last(),
            (Self::Is { seq, .. }, Some(then), None) if then.seq == seq => Self::Deleted,
            (_, _, None) => self,
        }
    }
}

impl TotalsRow {
    fn count(&mut self, before: Option<&Standing>, after: Option<&Standing>) {
        if let Some(old) = before {
            let runs = self.runs.entry((old.state, old.run_type)).or_default();
            *runs = runs.saturating_sub(1);
        }
        if let Some(new) = after {
            *self.runs.entry((new.state, new.run_type)).or_default() += 1;
        }
        self.runs.retain(|_, count| *count > 0);
        for (standing, add) in [(before, false), (after, true)] {
            let Some(standing) = standing else { continue };
            for (state, count) in (0_u8..).zip(standing.tasks).filter(|(_, count)| *count > 0) {
                let state = TaskInstanceState::ALL.get(usize::from(state)).copied();
                let (tasks, count) = (self.tasks.entry(state).or_default(), u64::from(count));
                *tasks = if add { *tasks + count } else { tasks.saturating_sub(count) };
            }
        }
        self.tasks.retain(|_, count| *count > 0);
    }
}
