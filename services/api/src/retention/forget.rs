//! What is forgotten beside runs, by the rules: DAGs that vanished, versions that no run has, executors that left,
//! reports that were refused, backfills that are over; and of runs that stay, logs and what tasks handed on. What the
//! scheduler's state says is a fact each time; the log keeps its records.
use std::{collections::HashSet, time::Duration};

use dagbok_events::{DagId, DagVersion, HistoryForgotten, RunKey, Timestamp};
use dagbok_protocol::{CommandBody, Lapses};
use dagbok_rows::key::table;

use super::{
    Going, Rules,
    plan::{COUNTED, Seen, each_over, log_bytes, oldest, xcom_bytes},
};
use crate::model::{
    Store, StoreError,
    lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{BackfillRow, DagRow, ExecutorRow, Lapsed, RefusedRow, RunRow},
};

/// Runs that are looked at, the last ones first, where a clock that was ahead has told of more than is due.
const LOOKED_AT: usize = 1_000;

/// Versions of a DAG that are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldVersions {
    /// Whose.
    pub dag_id: DagId,
    /// All before this one.
    pub below: DagVersion,
    /// How many those are.
    pub count: u64,
}

/// Runs of which something goes before they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lapsing {
    /// How many.
    pub runs: u64,
    /// What it takes beside the log, in bytes.
    pub bytes: u64,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// How much is said of what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Whether there is any.
    Whether,
    /// How much there is.
    All,
}

/// What is to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgetting {
    /// DAGs that no file defines any more, and that have no run left.
    pub dags: Vec<DagId>,
    /// Versions that no run has.
    pub versions: Vec<OldVersions>,
    /// Executors that left before so many.
    pub executors: u64,
    /// Reports that were refused.
    pub reports: u64,
    /// Backfills that were over.
    pub backfills: u64,
    /// Runs that were over for so long that what their tries wrote goes.
    pub logs: Lapsing,
    /// Runs that were over for so long that what their tasks handed on goes.
    pub xcoms: Lapsing,
    /// Before when those were.
    before: HistoryForgotten,
}

impl Forgetting {
    /// What goes by `rules` at `now`, of one DAG or of all; executors, reports, backfills, logs and XComs go for all.
    /// What is of runs that are `going` themselves is not counted.
    pub fn plan(
        store: &Store,
        rules: Rules,
        (now, dag, going): (Timestamp, Option<&DagId>, &[Going]),
        telling: Telling,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let since = |age: Option<Duration>| age.map(|age| before(now, age));
        for row in store.dags()?.iter().filter(|row| dag.is_none_or(|dag| *dag == row.dag_id)) {
            if let Some(before) = since(rules.dags)
                && row.disappeared_at.is_some_and(|at| at < before)
                && row.totals.runs.values().all(|count| *count == 0)
            {
                plan.dags.push(row.dag_id.clone());
            } else if let Some(before) = since(rules.versions) {
                plan.versions.extend(old_versions(store, row, before)?);
            }
        }
        if dag.is_some() {
            return Ok(plan);
        }
        if let Some(before) = since(rules.executors) {
            for row in store.scan::<ExecutorRow>(&table::<ExecutorRow>()) {
                let left = row?.1.left_at;
                plan.executors += u64::from(left.is_some_and(|left| left < before));
            }
            plan.before.executors_left_before = (plan.executors > 0).then_some(before);
        }
        if let Some(before) = since(rules.reports) {
            for row in store.scan::<RefusedRow>(&table::<RefusedRow>()) {
                plan.reports += u64::from(row?.1.at < before);
            }
            plan.before.reports_refused_before = (plan.reports > 0).then_some(before);
        }
        if let Some(before) = since(rules.backfills) {
            for row in store.scan::<BackfillRow>(&table::<BackfillRow>()) {
                let is_old = row?.1.end.is_some_and(|end| end.at < before);
                plan.backfills += u64::from(is_old);
            }
            plan.before.backfills_over_before = (plan.backfills > 0).then_some(before);
        }
        let lapses = store.lapses()?;
        let going: HashSet<&RunKey> = going.iter().map(|going| &going.run).collect();
        let ask = |lapses, before| Ask { store, lapses, before, going: &going, telling };
        if let Some(before) = since(rules.logs) {
            let logs = ask(&lapses.logs, before);
            plan.logs = logs.lapsing(|run| run.logs_lapsed, log_bytes)?;
            plan.before.logs_of_runs_over_before = (plan.logs.runs > 0).then_some(before);
        }
        if let Some(before) = since(rules.xcoms) {
            let xcoms = ask(&lapses.xcoms, before);
            plan.xcoms = xcoms.lapsing(|run| run.xcoms_lapsed, xcom_bytes)?;
            plan.before.xcoms_of_runs_over_before = (plan.xcoms.runs > 0).then_some(before);
        }
        Ok(plan)
    }

    /// What the scheduler is asked for.
    pub(super) fn commands(self) -> Vec<CommandBody> {
        let dags = self.dags.into_iter().map(|dag_id| CommandBody::ForgetDag { dag_id });
        let versions = self
            .versions
            .into_iter()
            .map(|OldVersions { dag_id, below, .. }| CommandBody::ForgetVersions { dag_id, below });
        let history = self.before != HistoryForgotten::default();
        let history = history.then_some(CommandBody::ForgetHistory(self.before));
        dags.chain(versions).chain(history).collect()
    }
}

/// Of which runs something is to be forgotten.
struct Ask<'a> {
    store: &'a Store,
    /// What was forgotten of them before.
    lapses: &'a Lapses,
    /// Of those that were over before this.
    before: Timestamp,
    going: &'a HashSet<&'a RunKey>,
    telling: Telling,
}

impl Ask<'_> {
    /// Counts them, those left out of which it is forgotten already.
    fn lapsing(
        &self,
        lapsed: fn(&RunRow) -> Option<Lapsed>,
        bytes_of: fn(&Store, &RunRow) -> Result<u64, StoreError>,
    ) -> Result<Lapsing, StoreError> {
        let mut found = Lapsing::default();
        let mut look = |run: RunRow| {
            if lapsed(&run).is_some_and(Lapsed::is_whole) || self.going.contains(&run.key()) {
                return Ok(Seen::More);
            }
            if found.runs >= COUNTED as u64 {
                found.more = true;
                return Ok(Seen::Enough);
            }
            found.runs += 1;
            if self.telling == Telling::Whether {
                return Ok(Seen::Enough);
            }
            found.bytes += bytes_of(self.store, &run)?;
            Ok(Seen::More)
        };
        let newest = self.lapses.newest();
        if newest.is_none_or(|newest| newest < self.before) {
            let from = newest.map_or(i64::MIN, |newest| newest.0);
            each_over(self.store, (from, self.before.0), look)?;
            return Ok(found);
        }
        // A clock that was ahead, or a shorter age, has told of runs up to a time that is yet to come: of what was over
        // since, nothing is forgotten. The next fact is about it again, and is the newest.
        let mut ask = oldest(Scope::All, Some(self.before.0.saturating_sub(1)), LOOKED_AT);
        ask.orders.iter_mut().for_each(|order| order.down = true);
        for run in self.store.list_runs(&ask, None)?.page {
            if look(run)? == Seen::Enough {
                break;
            }
        }
        Ok(found)
    }
}

/// Versions only rise, so none is older in use than that of the run which was made first of those there are.
fn old_versions(
    store: &Store,
    dag: &DagRow,
    before: Timestamp,
) -> Result<Option<OldVersions>, StoreError> {
    let dag_id = dag.dag_id.clone();
    let mut below = dag.version;
    if below <= 1 {
        return Ok(None);
    }
    let by_making = RunOrder { by: RunBy::Field(RunField::Id), down: false };
    let scope = Scope::Dags(vec![dag_id.clone()]);
    let ask = RunAsk { orders: vec![by_making], take: 1, ..RunAsk::all(scope) };
    if let Some(first) = store.list_runs(&ask, None)?.page.first() {
        below = below.min(first.version);
    }
    let older = store.versions_below(&dag_id, below)?;
    if let Some((number, _)) = older.iter().find(|(_, made)| *made >= before) {
        below = below.min(*number);
    }
    let count = older.iter().filter(|(number, _)| *number < below).count() as u64;
    Ok((count > 0).then_some(OldVersions { dag_id, below, count }))
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
}
