//! Runs by the latest of a date, whether they go on or are over.
use std::collections::BTreeSet;

use dagbok_events::Timestamp;

use crate::model::{
    Store, StoreError,
    lists::{Range, RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{RunRow, RunState},
};

/// Runs that go on are in no index by what each of their records changes: so many are sorted here.
const RUNNING: usize = 10_000;

/// A walk from the run with the latest date down. Rows may move meanwhile: no run comes twice, and none that is over from
/// the beginning to the end is left out.
pub(super) struct Latest<'a> {
    store: &'a Store,
    field: RunField,
    /// Those that went on when it began, the latest last.
    running: Vec<(Timestamp, RunRow)>,
    /// What is asked for next of the others.
    ask: RunAsk,
    /// What came of it and was not handed out yet, the latest last.
    others: Vec<(Timestamp, RunRow)>,
    over: bool,
    seen: BTreeSet<u64>,
    /// Whether all that went on when it began are among them.
    pub(super) is_whole: bool,
}

impl<'a> Latest<'a> {
    /// Over a DAG's runs or all, by [`RunField::LatestStart`] or [`RunField::UpdatedAt`]; some `wanted` of them are
    /// likely to be looked at.
    pub(super) fn new(
        store: &'a Store,
        scope: Scope,
        field: RunField,
        wanted: usize,
    ) -> Result<Self, StoreError> {
        let running = RunAsk {
            states: vec![RunState::Running],
            orders: vec![RunOrder { by: RunBy::Field(RunField::Id), down: true }],
            take: RUNNING,
            ..RunAsk::all(scope.clone())
        };
        let running = store.list_runs(&running, None)?;
        let is_whole = running.total <= RUNNING;
        let mut running = dated(field, running.page);
        running.sort_by_key(|(date, run)| (*date, run.created_seq));
        let ask = RunAsk {
            states: vec![RunState::Queued, RunState::Success, RunState::Failed],
            orders: vec![RunOrder { by: RunBy::Field(field), down: true }],
            take: wanted.clamp(32, 1_000),
            ..RunAsk::all(scope)
        };
        let (others, seen) = (Vec::new(), BTreeSet::new());
        Ok(Self { store, field, running, ask, others, over: false, seen, is_whole })
    }

    /// The next run, with its date.
    pub(super) fn next(&mut self) -> Result<Option<(Timestamp, RunRow)>, StoreError> {
        loop {
            if self.others.is_empty() && !self.over {
                self.read_on()?;
            }
            let date = |of: &[(Timestamp, RunRow)]| of.last().map(|(date, _)| *date);
            let (running, other) = (date(&self.running), date(&self.others));
            let from = match (running, other) {
                (None, None) => return Ok(None),
                _ if running >= other => &mut self.running,
                _ => &mut self.others,
            };
            if let Some(next) = from.pop()
                && self.seen.insert(next.1.created_seq)
            {
                return Ok(Some(next));
            }
        }
    }

    fn read_on(&mut self) -> Result<(), StoreError> {
        let page = self.store.list_runs(&self.ask, None)?.page;
        self.over = page.len() < self.ask.take;
        let mut page = dated(self.field, page);
        if let Some((last, _)) = page.last() {
            // Those with that date come again, and are known: a larger page has others beyond them.
            let range = Range { field: self.field, from: i64::MIN, to: last.0, nothing: false };
            self.ask.ranges = vec![range];
            self.ask.take = self.ask.take.saturating_mul(2);
        }
        page.reverse();
        self.others = page;
        Ok(())
    }
}

fn dated(field: RunField, runs: Vec<RunRow>) -> Vec<(Timestamp, RunRow)> {
    let date = |run: &RunRow| match field {
        RunField::LatestStart => run.latest_start,
        _ => Some(run.updated_at),
    };
    runs.into_iter().filter_map(|run| Some((date(&run)?, run))).collect()
}
