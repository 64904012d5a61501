//! What is asked of a list of runs, and what comes of it.
use std::cmp::Ordering;

use dagbok_events::{DagId, RunType, Timestamp};

use super::{
    super::rows::{RunOrderRow, RunRow, RunState},
    field::{RunField, Value},
    given::Given,
};

/// Which DAGs' runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every DAG's.
    All,
    /// Those of these DAGs.
    Dags(Vec<DagId>),
}

/// What runs can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunBy {
    /// Their DAG's id.
    Dag,
    /// Their state's word.
    State,
    /// Their type's word.
    Type,
    /// A field.
    Field(RunField),
}

/// One wish for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOrder {
    /// By what.
    pub by: RunBy,
    /// From the highest down.
    pub down: bool,
}

/// Values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which field.
    pub field: RunField,
    /// The lowest.
    pub from: i64,
    /// The highest.
    pub to: i64,
    /// Whether runs with nothing in the field are within.
    pub nothing: bool,
}

/// Which runs are wanted.
#[derive(Clone, Debug)]
pub struct RunAsk {
    /// Whose.
    pub scope: Scope,
    /// In any of these states; in any where empty.
    pub states: Vec<RunState>,
    /// Of any of these types; of any where empty.
    pub types: Vec<RunType>,
    /// With what they have in a field within these.
    pub ranges: Vec<Range>,
    /// What they were given, each as the parts of the index that may have it; see [`Given`](super::Given).
    pub given: Vec<Given>,
    /// In which order; that of making where empty.
    pub orders: Vec<RunOrder>,
    /// Runs of the list before the page.
    pub skip: usize,
    /// Runs of the page.
    pub take: usize,
}

/// A page, and how much it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The page.
    pub page: Vec<T>,
    /// How long the list is, or as far as it was counted.
    pub total: usize,
    /// Whether `total` is the whole; it is at least that much where not.
    pub exact: bool,
    /// Whether the page has all that belongs on it: false where looking was broken off at [`LOOKED`].
    pub complete: bool,
    /// The [`RunField::RunAfter`](super::RunField) of the last that was looked at, where looking was broken off in its order.
    pub looked_to: Option<Timestamp>,
}

/// What a list keeps, by what no index stands for.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    /// By its names alone: what this says no to is not even read.
    pub named: &'a dyn Fn(&RunOrderRow) -> bool,
    /// By the whole of it.
    pub row: &'a dyn Fn(&RunRow) -> bool,
}

impl<'a> Keep<'a> {
    /// Runs by whatever they are called.
    pub const fn rows(row: &'a dyn Fn(&RunRow) -> bool) -> Self {
        Self { named: &|_| true, row }
    }
}

pub(super) const TYPES: [RunType; 4] =
    [RunType::AssetTriggered, RunType::Backfill, RunType::Manual, RunType::Scheduled];
/// By their words.
pub(super) const STATES: [RunState; 4] =
    [RunState::Failed, RunState::Queued, RunState::Running, RunState::Success];

impl RunAsk {
    /// Every run, in the order of making.
    pub const fn all(scope: Scope) -> Self {
        Self {
            scope,
            states: Vec::new(),
            types: Vec::new(),
            ranges: Vec::new(),
            given: Vec::new(),
            orders: Vec::new(),
            skip: 0,
            take: usize::MAX,
        }
    }

    pub(super) fn has_state(&self, state: RunState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    pub(super) fn has_type(&self, of: RunType) -> bool {
        self.types.is_empty() || self.types.contains(&of)
    }

    /// Whether a run is one of those whose they are, in these states and of these types: an index of something else has all.
    pub(super) fn has_run(&self, run: &RunRow) -> bool {
        let is_within = match &self.scope {
            Scope::All => true,
            Scope::Dags(dags) => dags.contains(&run.dag_id),
        };
        is_within && self.has_state(run.state) && self.has_type(run.run_type)
    }

    pub(super) fn has_ranges(&self, run: &RunRow) -> bool {
        self.ranges.iter().all(|range| match range.field.of(run) {
            Value::Number(at) => range.from <= at && at <= range.to,
            Value::Nothing => range.nothing,
            Value::Text(_) => false,
        })
    }

    /// The first orders that are by names, then the field's, then the rest.
    pub(super) fn split(&self) -> (&[RunOrder], (RunField, bool), &[RunOrder]) {
        let names = self.orders.iter().take_while(|it| !matches!(it.by, RunBy::Field(_))).count();
        let (names, rest) = self.orders.split_at(names);
        let last_down = names.last().is_some_and(|order| order.down);
        match rest {
            [RunOrder { by: RunBy::Field(field), down }, rest @ ..] => {
                (names, (*field, *down), rest)
            }
            _ => (names, (RunField::Id, last_down), rest),
        }
    }

    /// What of two runs comes first; those that are equal by that come in the order of making.
    pub(super) fn compare(&self, a: &RunRow, b: &RunRow) -> Ordering {
        for order in &self.orders {
            let found = compare_by(*order, a, b);
            if found != Ordering::Equal {
                return found;
            }
        }
        let (_, (_, down), _) = self.split();
        let order = a.created_seq.cmp(&b.created_seq);
        if down { order.reverse() } else { order }
    }
}

fn compare_by(RunOrder { by, down }: RunOrder, a: &RunRow, b: &RunRow) -> Ordering {
    let turn = |order: Ordering| if down { order.reverse() } else { order };
    match by {
        RunBy::Dag => turn(a.dag_id.cmp(&b.dag_id)),
        RunBy::State => turn(a.state.word().cmp(b.state.word())),
        RunBy::Type => {
            let place = |of: RunType| TYPES.iter().position(|it| *it == of);
            turn(place(a.run_type).cmp(&place(b.run_type)))
        }
        RunBy::Field(field) => match (field.of(a), field.of(b)) {
            (Value::Nothing, Value::Nothing) => Ordering::Equal,
            (Value::Nothing, _) => Ordering::Greater,
            (_, Value::Nothing) => Ordering::Less,
            (a, b) => turn(a.cmp(&b)),
        },
    }
}
