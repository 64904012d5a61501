//! When something of a DAG counts as wrong unless it comes before: indices by DAG and by time.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use dagbok_events::{DagId, RunId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AlertScope, Rule};

/// A time from which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Due {
    /// From when.
    pub(super) at: Timestamp,
    /// The sequence that justifies it.
    pub(super) seq: u64,
    /// Of which run.
    pub(super) run_id: Option<RunId>,
    /// Of which task.
    pub(super) task_id: Option<TaskId>,
    /// What it is counted from, where that is a time by the scheduler's clock and no date.
    pub(super) from: Option<Timestamp>,
    /// What people call it.
    pub(super) what: String,
    /// Whether the configuration says so, not the DAG's file.
    pub(super) is_configured: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Dues {
    by_dag: BTreeMap<(Rule, DagId), BTreeSet<Due>>,
    /// How many of each, by when.
    by_time: BTreeMap<Timestamp, BTreeMap<(Rule, DagId), u32>>,
}

impl Dues {
    pub(super) fn add(&mut self, rule: Rule, dag_id: &DagId, due: Due) {
        let (key, at) = ((rule, dag_id.clone()), due.at);
        if self.by_dag.entry(key.clone()).or_default().insert(due) {
            *self.by_time.entry(at).or_default().entry(key).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, rule: Rule, dag_id: &DagId, due: &Due) {
        let key = (rule, dag_id.clone());
        let Some(dues) = self.by_dag.get_mut(&key) else { return };
        if !dues.remove(due) {
            return;
        }
        if dues.is_empty() {
            self.by_dag.remove(&key);
        }
        let Some(keys) = self.by_time.get_mut(&due.at) else { return };
        match keys.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(keys.remove(&key)),
        }
        if keys.is_empty() {
            self.by_time.remove(&due.at);
        }
    }

    /// Those of a DAG that are past, the longest first.
    pub(super) fn past(&self, rule: Rule, dag_id: &DagId, now: Timestamp) -> Vec<&Due> {
        let dues = self.by_dag.get(&(rule, dag_id.clone())).into_iter().flatten();
        dues.take_while(|due| due.at <= now).collect()
    }

    /// What came to be past in a span of time.
    pub(super) fn passed(
        &self,
        span: (Bound<Timestamp>, Bound<Timestamp>),
    ) -> impl Iterator<Item = (Rule, AlertScope)> {
        let keys = self.by_time.range(span).flat_map(|(_, keys)| keys.keys());
        keys.map(|(rule, dag_id)| (*rule, AlertScope::Dag(dag_id.clone())))
    }

    /// When the next one comes to be past, after `now`.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded(now), Bound::Unbounded);
        self.by_time.range(later).next().map(|(at, _)| *at)
    }

    /// Those that one record justifies.
    pub(super) fn by(&self, seq: u64) -> impl Iterator<Item = (Rule, &DagId, Timestamp)> {
        self.by_dag.iter().flat_map(move |((rule, dag_id), dues)| {
            let of_it = dues.iter().filter(move |due| due.seq == seq);
            of_it.map(move |due| (*rule, dag_id, due.at))
        })
    }

    /// Changes each of those: what was counted from later than `to` is counted from there.
    pub(super) fn shifted(self, to: Timestamp) -> Self {
        let mut all = Self::default();
        for ((rule, dag_id), dues) in self.by_dag {
            for due in dues {
                all.add(rule, &dag_id, shift(due, to));
            }
        }
        all
    }
}

/// The same, as it is by a clock that went back to `to`.
pub(super) fn shift(mut due: Due, to: Timestamp) -> Due {
    if let Some(from) = due.from.filter(|from| *from > to) {
        due.at = to.plus(due.at.since(from));
        due.from = Some(to);
    }
    due
}
