//! Lists of runs.
use std::cmp::Ordering;

use dagbok_events::{DagId, RunKey, RunType};
use dagbok_rows::{StoreError, key};

use super::{
    super::{
        Store, keys,
        rows::{DagRow, RunOrderRow, RunRow, RunState, TotalsRow},
    },
    COUNTED, IN_HAND, LOOKED,
    field::{NOTHING, RunField, SOMETHING, Value, part},
    merge::{Hit, Merge, Stream},
    walk::Walk,
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
}

/// What a list leaves out for reasons that no index stands for.
pub type Keep<'a> = Option<&'a dyn Fn(&RunRow) -> bool>;

/// Runs that follow one another in a list whose first orders are by names.
#[derive(Clone, Debug)]
struct Section {
    scope: Scope,
    states: Vec<RunState>,
    types: Vec<RunType>,
}

const TYPES: [RunType; 4] =
    [RunType::AssetTriggered, RunType::Backfill, RunType::Manual, RunType::Scheduled];
/// By their words.
const STATES: [RunState; 4] =
    [RunState::Failed, RunState::Queued, RunState::Running, RunState::Success];

impl RunAsk {
    /// Every run, in the order of making.
    pub const fn all(scope: Scope) -> Self {
        Self {
            scope,
            states: Vec::new(),
            types: Vec::new(),
            ranges: Vec::new(),
            orders: Vec::new(),
            skip: 0,
            take: usize::MAX,
        }
    }

    fn has_state(&self, state: RunState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    fn has_type(&self, of: RunType) -> bool {
        self.types.is_empty() || self.types.contains(&of)
    }

    fn has_ranges(&self, run: &RunRow) -> bool {
        self.ranges.iter().all(|range| match range.field.of(run) {
            Value::Number(at) => range.from <= at && at <= range.to,
            Value::Nothing => range.nothing,
            Value::Text(_) => false,
        })
    }

    /// The first orders that are by names, then the field's, then the rest.
    fn split(&self) -> (&[RunOrder], (RunField, bool), &[RunOrder]) {
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

impl Store {
    /// The runs that are wanted, those left out that `keep` says no to.
    pub fn list_runs(&self, ask: &RunAsk, keep: Keep<'_>) -> Result<Listed<RunRow>, StoreError> {
        let total = self.count_runs(ask)?;
        let (_, (main, _), rest) = ask.split();
        let aside = ask.ranges.iter().any(|range| range.field != main);
        let picky = keep.is_some() || aside || !rest.is_empty();
        if picky && total <= IN_HAND {
            return self.in_hand(ask, keep, self.hits_of(ask, RunField::Id, false, None)?);
        }
        for range in ask.ranges.iter().filter(|range| range.field != main) {
            let hits = || self.hits_of(ask, range.field, false, Some(*range));
            if hits()?.take(IN_HAND + 1).count() <= IN_HAND {
                return self.in_hand(ask, keep, hits()?);
            }
        }
        self.walk(ask, keep, total)
    }

    /// Reads the few that may be wanted, and sorts them.
    fn in_hand(
        &self,
        ask: &RunAsk,
        keep: Keep<'_>,
        hits: Merge,
    ) -> Result<Listed<RunRow>, StoreError> {
        let mut found = Vec::new();
        for hit in hits {
            if let Some(run) = self.run_at(hit?.seq)?
                && ask.has_ranges(&run)
                && keep.is_none_or(|keep| keep(&run))
            {
                found.push(run);
            }
        }
        found.sort_by(|a, b| ask.compare(a, b));
        let total = found.len();
        let page = found.into_iter().skip(ask.skip).take(ask.take).collect();
        Ok(Listed { page, total, exact: true, complete: true })
    }

    /// Walks the index in the order that is asked for until the page is full.
    fn walk(
        &self,
        ask: &RunAsk,
        keep: Keep<'_>,
        total: usize,
    ) -> Result<Listed<RunRow>, StoreError> {
        let (names, (main, down), rest) = ask.split();
        let range = ask.ranges.iter().find(|range| range.field == main).copied();
        let picky = keep.is_some() || ask.ranges.iter().any(|range| range.field != main);
        let counted = !picky && range.is_none();
        // Beyond this nothing more is looked at: for what no index stands for, or only to be counted.
        let most = match (picky, rest.is_empty()) {
            (true, _) => LOOKED,
            (false, false) => LOOKED.saturating_add(ask.skip),
            (false, true) => usize::MAX,
        };
        let end = ask.skip.saturating_add(ask.take);
        let mut walk = Walk { page: Vec::new(), passed: 0, looked: 0, group: Vec::new() };
        let mut over = true;
        'all: for section in self.sections(ask, names)? {
            for hit in self.merged(&section, main, down, range)? {
                let hit = hit?;
                let full = walk.passed >= end;
                if full && (counted || walk.looked >= COUNTED) || walk.looked >= most {
                    over = false;
                    break 'all;
                }
                walk.looked += 1;
                if !picky && rest.is_empty() && (walk.passed < ask.skip || full) {
                    walk.passed += 1;
                    continue;
                }
                if walk.group.first().is_some_and(|(value, _)| *value != hit.value) {
                    walk.flush(ask);
                }
                let Some(run) = self.run_at(hit.seq)? else { continue };
                if ask.has_ranges(&run) && keep.is_none_or(|keep| keep(&run)) {
                    walk.group.push((hit.value, run));
                }
                if rest.is_empty() {
                    walk.flush(ask);
                }
            }
            walk.flush(ask);
        }
        // Runs that are equal by the field were not all seen where looking was broken off among them.
        let complete = over || walk.passed >= end;
        walk.flush(ask);
        let (total, exact) = if counted { (total, true) } else { (walk.passed, over) };
        Ok(Listed { page: walk.page, total, exact, complete })
    }

    /// The list cut where its first orders, by names, change.
    fn sections(&self, ask: &RunAsk, names: &[RunOrder]) -> Result<Vec<Section>, StoreError> {
        let states = STATES.into_iter().filter(|it| ask.has_state(*it)).collect();
        let types = TYPES.into_iter().filter(|it| ask.has_type(*it)).collect();
        let mut sections = vec![Section { scope: ask.scope.clone(), states, types }];
        for RunOrder { by, down } in names {
            let mut cut = Vec::new();
            for section in sections {
                let mut parts: Vec<Section> = match by {
                    RunBy::Dag => {
                        let mut dags = match &section.scope {
                            Scope::All => self.dag_ids()?,
                            Scope::Dags(dags) => dags.clone(),
                        };
                        dags.sort_unstable();
                        let one =
                            |dag| Section { scope: Scope::Dags(vec![dag]), ..section.clone() };
                        dags.into_iter().map(one).collect()
                    }
                    RunBy::State => {
                        let one = |state| Section { states: vec![state], ..section.clone() };
                        section.states.iter().copied().map(one).collect()
                    }
                    RunBy::Type => {
                        let one = |of| Section { types: vec![of], ..section.clone() };
                        section.types.iter().copied().map(one).collect()
                    }
                    RunBy::Field(_) => vec![section],
                };
                if *down {
                    parts.reverse();
                }
                cut.extend(parts);
            }
            sections = cut;
        }
        Ok(sections)
    }

    fn hits_of(
        &self,
        ask: &RunAsk,
        field: RunField,
        down: bool,
        range: Option<Range>,
    ) -> Result<Merge, StoreError> {
        let section = self.sections(ask, &[])?.remove(0);
        self.merged(&section, field, down, range)
    }

    /// A section's runs in the order of a field: those with something in it, then those with nothing.
    fn merged(
        &self,
        section: &Section,
        field: RunField,
        down: bool,
        range: Option<Range>,
    ) -> Result<Merge, StoreError> {
        let (mut some, mut none): (Vec<Stream>, Vec<Stream>) = (Vec::new(), Vec::new());
        let mut add = |dag: Option<&DagId>, totals: &TotalsRow| -> Result<(), StoreError> {
            for state in &section.states {
                for of in &section.types {
                    if !totals.runs.contains_key(&(*state, *of)) {
                        continue;
                    }
                    if field.is_in_hand(*state) {
                        some.push(self.sorted(dag, field, *state, *of, down, range)?);
                    } else if field.is_never(*state) {
                        let prefix = part(dag, RunField::Id, *state, *of);
                        none.push(by_making(self.stream(prefix, SOMETHING, down, None)));
                    } else {
                        let prefix = part(dag, field, *state, *of);
                        some.push(self.stream(prefix.clone(), SOMETHING, down, range));
                        none.push(by_making(self.stream(prefix, NOTHING, down, None)));
                    }
                }
            }
            Ok(())
        };
        match &section.scope {
            Scope::All if field == RunField::RunId => {
                for dag in self.scan::<DagRow>(&keys::table::<DagRow>()) {
                    let dag = dag?.1;
                    add(Some(&dag.dag_id), &dag.totals)?;
                }
            }
            Scope::All => add(None, &self.totals()?)?,
            Scope::Dags(dags) => {
                for dag_id in dags {
                    if let Some(dag) = self.dag(dag_id)? {
                        add(Some(dag_id), &dag.totals)?;
                    }
                }
            }
        }
        if range.is_some_and(|range| !range.nothing) {
            none.clear();
        }
        let all = Merge::new(some, down).chain(Merge::new(none, down));
        Ok(Merge::new(vec![Box::new(all)], down))
    }

    /// One part of the index.
    fn stream(&self, mut prefix: Vec<u8>, which: u8, down: bool, range: Option<Range>) -> Stream {
        use key::Parts as _;
        prefix.push(which);
        let (from, to) = match range {
            Some(Range { from, to, .. }) if from > to => return Box::new(std::iter::empty()),
            Some(Range { from, to, .. }) => {
                (prefix.clone().signed(from), key::after(&prefix.clone().signed(to)))
            }
            None => (prefix.clone(), key::after(&prefix)),
        };
        let length = prefix.len();
        let hit = move |found: Result<dagbok_rows::RowKey, StoreError>| Hit::read(&found?, length);
        let keys = self.keys_between(&from, to.as_deref());
        if down { Box::new(keys.rev().map(hit)) } else { Box::new(keys.map(hit)) }
    }

    /// A part that is not in the index, sorted in hand.
    fn sorted(
        &self,
        dag: Option<&DagId>,
        field: RunField,
        state: RunState,
        of: RunType,
        down: bool,
        range: Option<Range>,
    ) -> Result<Stream, StoreError> {
        use key::Parts as _;
        let mut hits = Vec::new();
        for hit in self.stream(part(dag, RunField::Id, state, of), SOMETHING, false, None) {
            let seq = hit?.seq;
            let Some(run) = self.run_at(seq)? else { continue };
            if let Value::Number(value) = field.of(&run)
                && range.is_none_or(|it| it.from <= value && value <= it.to)
            {
                hits.push(Hit { value: Vec::new().signed(value), seq });
            }
        }
        hits.sort_unstable();
        if down {
            hits.reverse();
        }
        Ok(Box::new(hits.into_iter().map(Ok)))
    }

    /// The run that the record at `seq` made.
    pub(super) fn run_at(&self, seq: u64) -> Result<Option<RunRow>, StoreError> {
        let Some(RunOrderRow { dag_id, run_id }) = self.get(&keys::run_order(seq))? else {
            return Ok(None);
        };
        self.run(&RunKey { dag_id, run_id })
    }

    /// What there is over all DAGs.
    pub fn totals(&self) -> Result<TotalsRow, StoreError> {
        Ok(self.get(&keys::totals())?.unwrap_or_default())
    }

    /// How many runs there are of the DAGs, in the states and of the types that are asked for.
    fn count_runs(&self, ask: &RunAsk) -> Result<usize, StoreError> {
        let count = |totals: &TotalsRow| -> u64 {
            let wanted = totals.runs.iter();
            let wanted =
                wanted.filter(|((state, of), _)| ask.has_state(*state) && ask.has_type(*of));
            wanted.map(|(_, count)| count).sum()
        };
        let total = match &ask.scope {
            Scope::All => count(&self.totals()?),
            Scope::Dags(dags) => {
                let mut total = 0;
                for dag_id in dags {
                    total += self.dag(dag_id)?.map_or(0, |dag| count(&dag.totals));
                }
                total
            }
        };
        Ok(usize::try_from(total).unwrap_or(usize::MAX))
    }

    /// The ids of every DAG, in order.
    pub fn dag_ids(&self) -> Result<Vec<DagId>, StoreError> {
        let read = |key: dagbok_rows::RowKey| {
            let id = key.get(1..key.len().saturating_sub(1)).and_then(|id| str::from_utf8(id).ok());
            id.and_then(|id| DagId::new(id).ok())
                .ok_or_else(|| StoreError::Unreadable("a DAG's key".to_owned()))
        };
        self.keys(&keys::table::<DagRow>()).map(|key| read(key?)).collect()
    }

    /// The newest run of a DAG, by the order of making.
    pub fn newest_run(&self, dag: &DagRow) -> Result<Option<RunRow>, StoreError> {
        let mut newest = None;
        for (state, of) in dag.totals.runs.keys() {
            let prefix = part(Some(&dag.dag_id), RunField::Id, *state, *of);
            if let Some(key) = self.keys(&prefix).next_back() {
                newest = newest.max(Some(Hit::read(&key?, prefix.len())?.seq));
            }
        }
        newest.map_or(Ok(None), |seq| self.run_at(seq))
    }
}

/// Runs that have nothing in a field stand in the order of making, whichever index says so.
fn by_making(stream: Stream) -> Stream {
    Box::new(stream.map(|hit| hit.map(|hit| Hit { value: Vec::new(), seq: hit.seq })))
}
