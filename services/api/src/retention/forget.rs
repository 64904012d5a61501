//! What is forgotten beside runs, by the rules: DAGs that vanished, versions that no run has, executors that left,
//! reports that were refused, backfills that are over. What the scheduler's state says is a fact each time; the log keeps its records.
use std::time::Duration;

use dagbok_events::{DagId, DagVersion, HistoryForgotten, Timestamp};
use dagbok_protocol::CommandBody;
use dagbok_rows::key::table;

use super::Rules;
use crate::model::{
    Store, StoreError,
    lists::{RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{BackfillRow, DagRow, ExecutorRow, RefusedRow},
};

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
    /// Before when those were.
    before: HistoryForgotten,
}

impl Forgetting {
    /// What goes by `rules` at `now`, of one DAG or of all; executors, reports and backfills go for all.
    pub fn plan(
        store: &Store,
        rules: Rules,
        (now, dag): (Timestamp, Option<&DagId>),
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
        Ok(plan)
    }

    /// What the scheduler is asked for.
    pub(super) fn commands(self) -> Vec<CommandBody> {
        let dags = self.dags.into_iter().map(|dag_id| CommandBody::ForgetDag { dag_id });
        let versions = self
            .versions
            .into_iter()
            .map(|OldVersions { dag_id, below, .. }| CommandBody::ForgetVersions { dag_id, below });
        let history = self.executors + self.reports + self.backfills > 0;
        let history = history.then_some(CommandBody::ForgetHistory(self.before));
        dags.chain(versions).chain(history).collect()
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
