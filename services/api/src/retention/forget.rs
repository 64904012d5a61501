//! What is forgotten beside runs, by the rules: DAGs that vanished, versions that no run has, executors that left,
//! reports that were refused, backfills that are over; and of runs that stay, logs and what tasks handed on. What the scheduler's state says is a fact each time; the log keeps its records.
use std::time::Duration;

use dagbok_events::{DagId, DagVersion, HistoryForgotten, Timestamp};
use dagbok_protocol::CommandBody;
use dagbok_rows::key::table;

use super::{
    Rules,
    plan::{log_bytes, oldest, xcom_bytes},
};
use crate::model::{
    Store, StoreError,
    lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{BackfillRow, DagRow, ExecutorRow, RefusedRow, RunRow},
};

/// Runs that are counted, and what they take.
const COUNTED: usize = 1_000_000;

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
    /// What goes by `rules` at `now`, of one DAG or of all; executors, reports and backfills go for all.
    pub fn plan(
        store: &Store,
        rules: Rules,
        (now, dag): (Timestamp, Option<&DagId>),
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
        if let Some(before) = since(rules.logs) {
            plan.logs = lapsing(store, (lapses.logs.newest(), before), telling, log_bytes)?;
            plan.before.logs_of_runs_over_before = (plan.logs.runs > 0).then_some(before);
        }
        if let Some(before) = since(rules.xcoms) {
            plan.xcoms = lapsing(store, (lapses.xcoms.newest(), before), telling, xcom_bytes)?;
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

/// Runs that were over before a time, and not before the one up to which that was forgotten. Those between whose end a
/// clock that was wrong has told go with the next ones.
fn lapsing(
    store: &Store,
    (after, before): (Option<Timestamp>, Timestamp),
    telling: Telling,
    bytes_of: fn(&Store, &RunRow) -> Result<u64, StoreError>,
) -> Result<Lapsing, StoreError> {
    let most = if telling == Telling::All { COUNTED } else { 1 };
    let mut ask = oldest(Scope::All, Some(before.0.saturating_sub(1)), most);
    for range in &mut ask.ranges {
        range.from = after.map_or(range.from, |after| after.0);
    }
    let mut found = Lapsing::default();
    for run in store.list_runs(&ask, None)?.page {
        found.runs += 1;
        found.bytes += if telling == Telling::All { bytes_of(store, &run)? } else { 0 };
    }
    Ok(found)
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
