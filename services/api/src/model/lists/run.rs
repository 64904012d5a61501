//! Lists of runs.
use dagbok_events::{DagId, RunKey, RunType, Timestamp};
use dagbok_rows::{StoreError, key};

use super::{
    super::{
        Store, keys,
        rows::{DagRow, LastRun, RunOrderRow, RunRow, RunState, TotalsRow},
    },
    COUNTED, COUNTED_READ, IN_HAND, LOOKED,
    ask::{Keep, Listed, Range, RunAsk, Scope},
    field::{NOTHING, RunField, SOMETHING, Value, part},
    given::Given,
    merge::{Hit, Merge, Stream},
    section::Section,
    walk::Walk,
};

impl Store {
    /// The runs that are wanted, those left out that `keep` says no to.
    pub fn list_runs(
        &self,
        ask: &RunAsk,
        keep: Option<Keep<'_>>,
    ) -> Result<Listed<RunRow>, StoreError> {
        let total = self.count_runs(ask)?;
        // The index of what was given has no part of a DAG or a state: it serves where it has fewer than those have.
        let few = total.min(IN_HAND);
        let fewest = self.fewest_given(ask, few);
        if let Some((count, given)) = fewest
            && count <= few
        {
            return self.in_hand(ask, keep, self.given(given, false, None));
        }
        let (names, (main, _), rest) = ask.split();
        let aside = ask.ranges.iter().any(|range| range.field != main);
        let picky = keep.is_some() || aside || fewest.is_some() || !rest.is_empty();
        if picky && total <= IN_HAND {
            return self.in_hand(ask, keep, self.hits_of(ask, RunField::Id, false, None)?);
        }
        for range in ask.ranges.iter().filter(|range| range.field != main) {
            let hits = || self.hits_of(ask, range.field, false, Some(*range));
            if hits()?.take(IN_HAND + 1).count() <= IN_HAND {
                return self.in_hand(ask, keep, hits()?);
            }
        }
        let in_its_order = names.is_empty() && main == RunField::RunAfter;
        let given = fewest.map(|(_, given)| given);
        let given = given.filter(|given| in_its_order && self.is_given_to(given, total));
        self.walk(ask, keep, total, given)
    }

    /// Whether it was given to no more runs than `total`, as far as that is counted.
    fn is_given_to(&self, given: &Given, total: usize) -> bool {
        total > COUNTED || self.given(given, false, None).take(total + 1).count() <= total
    }

    /// Reads the few that may be wanted, and sorts them.
    fn in_hand(
        &self,
        ask: &RunAsk,
        keep: Option<Keep<'_>>,
        hits: Merge,
    ) -> Result<Listed<RunRow>, StoreError> {
        let mut found = Vec::new();
        for hit in hits {
            found.extend(self.wanted_at(hit?.seq, ask, keep)?);
        }
        found.sort_by(|a, b| ask.compare(a, b));
        let total = found.len();
        let page = found.into_iter().skip(ask.skip).take(ask.take).collect();
        Ok(Listed { page, total, exact: true, complete: true, looked_to: None })
    }

    /// Walks the index in the order that is asked for until the page is full: that of all runs, or of those that were given
    /// something.
    fn walk(
        &self,
        ask: &RunAsk,
        keep: Option<Keep<'_>>,
        total: usize,
        given: Option<&Given>,
    ) -> Result<Listed<RunRow>, StoreError> {
        let (names, (main, down), rest) = ask.split();
        let range = ask.ranges.iter().find(|range| range.field == main).copied();
        let aside = ask.ranges.iter().any(|range| range.field != main);
        let picky = keep.is_some() || given.is_some() || aside;
        let counted = !picky && range.is_none();
        // Beyond this nothing more is looked at: for what no index stands for, or only to be counted.
        let most = match (picky, rest.is_empty()) {
            (true, _) => LOOKED,
            (false, false) => LOOKED.saturating_add(ask.skip),
            (false, true) => usize::MAX,
        };
        // Runs that are looked at when the page is full, only to be counted: a read each, or a key.
        let beyond = if picky { COUNTED_READ } else { COUNTED };
        let end = ask.skip.saturating_add(ask.take);
        let mut walk = Walk::new();
        let mut over = true;
        'all: for section in self.sections(ask, names) {
            let hits = match given {
                Some(given) => self.given(given, down, range),
                None => self.merged(&section?, main, down, range)?,
            };
            for hit in hits {
                let hit = hit?;
                let full = walk.passed >= end;
                if full && (counted || walk.beyond >= beyond) || walk.looked >= most {
                    over = false;
                    break 'all;
                }
                walk.looked += 1;
                walk.last = hit.number().map(Timestamp).or(walk.last);
                walk.beyond += usize::from(full);
                if !picky && rest.is_empty() && (walk.passed < ask.skip || full) {
                    walk.passed += 1;
                    continue;
                }
                if walk.group.first().is_some_and(|(value, _)| *value != hit.value) {
                    walk.flush(ask);
                }
                if let Some(run) = self.wanted_at(hit.seq, ask, keep)? {
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
        let looked_to = walk.last.filter(|_| !complete && main == RunField::RunAfter);
        Ok(Listed { page: walk.page, total, exact, complete, looked_to })
    }

    fn hits_of(
        &self,
        ask: &RunAsk,
        field: RunField,
        down: bool,
        range: Option<Range>,
    ) -> Result<Merge, StoreError> {
        self.merged(&Section::whole(ask), field, down, range)
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
                        if !field.is_sparse() {
                            none.push(by_making(self.stream(prefix, NOTHING, down, None)));
                        }
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
    pub(super) fn stream(
        &self,
        mut prefix: Vec<u8>,
        which: u8,
        down: bool,
        range: Option<Range>,
    ) -> Stream {
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
        self.named_run_at(seq, |_| true)
    }

    /// The same, read only if its names are wanted.
    fn named_run_at(
        &self,
        seq: u64,
        wanted: impl Fn(&RunOrderRow) -> bool,
    ) -> Result<Option<RunRow>, StoreError> {
        let names = self.get::<RunOrderRow>(&keys::run_order(seq))?.filter(wanted);
        let Some(RunOrderRow { dag_id, run_id }) = names else { return Ok(None) };
        self.run(&RunKey { dag_id, run_id })
    }

    /// The run that the record at `seq` made, if it is one of those that are wanted.
    fn wanted_at(
        &self,
        seq: u64,
        ask: &RunAsk,
        keep: Option<Keep<'_>>,
    ) -> Result<Option<RunRow>, StoreError> {
        let run = self.named_run_at(seq, |names| keep.is_none_or(|keep| (keep.named)(names)))?;
        let wanted = |run: &RunRow| {
            ask.has_run(run) && ask.has_ranges(run) && keep.is_none_or(|keep| (keep.row)(run))
        };
        Ok(run.filter(wanted))
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

    /// The newest run of a DAG, by the order of making.
    pub fn newest_run(&self, dag: &DagRow) -> Result<Option<RunRow>, StoreError> {
        let mut newest = match dag.last_run {
            LastRun::None => return Ok(None),
            LastRun::Is { seq, .. } => return self.run_at(seq),
            LastRun::Deleted => None,
        };
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
