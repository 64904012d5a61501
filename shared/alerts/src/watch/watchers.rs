//! Watchers of assets that fail: what a DAG is scheduled on is not seen.
use dagbok_events::{AssetKey, DagId, Fault, RunKey, Timestamp, TriggerFailed};
use serde::{Deserialize, Serialize};

use super::{Condition, Watch, dag_labels};
use crate::{AlertScope, Rule, Severity, limits, text::cut};

/// How a watcher fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FailingWatcher {
    /// How often in a row.
    count: u32,
    since: Timestamp,
    last_at: Timestamp,
    /// Where each of them is told: the first and the newest.
    causes: Vec<u64>,
    /// The last line of what was raised last.
    error: String,
    /// What it watches; older logs don't say it.
    asset: Option<AssetKey>,
}

impl FailingWatcher {
    /// What was later by a clock that was ahead is of now.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        self.since = self.since.min(to);
        self.last_at = self.last_at.min(to);
    }
}

impl Watch {
    /// One of them failed; its triggerer begins it anew after a while.
    pub(super) fn watcher_failed(
        &mut self,
        seq: u64,
        at: Timestamp,
        run: &RunKey,
        fact: &TriggerFailed,
    ) {
        let fresh = FailingWatcher {
            count: 0,
            since: at,
            last_at: at,
            causes: Vec::new(),
            error: String::new(),
            asset: fact.asset.clone(),
        };
        let key = (run.dag_id.clone(), fact.task_id.clone());
        let failing = self.watchers.entry(key).or_insert_with(|| fresh.clone());
        if at.since(failing.last_at) >= limits::WATCHER_QUIET {
            *failing = fresh;
        }
        failing.count = failing.count.saturating_add(1);
        failing.last_at = at;
        failing.causes.push(seq);
        if failing.causes.len() > limits::CAUSES {
            failing.causes.remove(1);
        }
        failing.error = cut(fact.traceback.trim_end().lines().last().unwrap_or_default());
        self.touched.note(|| (Rule::WatcherFailing, AlertScope::Dag(run.dag_id.clone())));
    }

    /// They are others from now on, or run no more.
    pub(super) fn watchers_are_well(&mut self, seq: u64, dag_id: &DagId) {
        self.forget_watchers(seq, dag_id, |_| true);
    }

    /// One saw something of an asset: that says nothing of those that watch others.
    pub(super) fn watcher_is_well(&mut self, seq: u64, dag_id: &DagId, asset: &AssetKey) {
        self.forget_watchers(seq, dag_id, |it| it.asset.as_ref().is_none_or(|of| of == asset));
    }

    fn forget_watchers(
        &mut self,
        seq: u64,
        dag_id: &DagId,
        is_well: impl Fn(&FailingWatcher) -> bool,
    ) {
        let before = self.watchers.len();
        self.watchers.retain(|(of, _), it| of != dag_id || !is_well(it));
        if self.watchers.len() < before {
            let key = (Rule::WatcherFailing, AlertScope::Dag(dag_id.clone()));
            self.touched.note(|| key.clone());
            self.cleared.insert(key, seq);
        }
    }

    /// Those that came to have been quiet for long enough in a span of time.
    pub(super) fn quiet_watchers(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (Rule, AlertScope)> {
        let quiet = self.watchers.iter().filter(move |(_, it)| {
            let at = it.last_at.plus(limits::WATCHER_QUIET);
            since < at && at <= until
        });
        quiet.map(|((dag_id, _), _)| (Rule::WatcherFailing, AlertScope::Dag(dag_id.clone())))
    }

    /// When the next of them has been quiet for long enough, after `now`.
    pub(super) fn next_quiet(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.watchers.values().map(|it| it.last_at.plus(limits::WATCHER_QUIET));
        times.filter(|at| *at > now).min()
    }

    pub(super) fn failing_watcher(&self, dag_id: &DagId, now: Timestamp) -> Option<Condition> {
        let of_it = self.watchers.iter().filter(|((of, _), _)| of == dag_id).map(|(_, it)| it);
        let failing = of_it.filter(|it| {
            it.count >= limits::WATCHER_FAILURES && now < it.last_at.plus(limits::WATCHER_QUIET)
        });
        let it = failing.min_by_key(|it| it.since)?;
        let dag = self.dags.get(dag_id)?;
        Some(Condition {
            rule: Rule::WatcherFailing,
            scope: AlertScope::Dag(dag_id.clone()),
            severity: Severity::Critical,
            fault: Some(Fault::User),
            since: it.since,
            causes: it.causes.clone(),
            due: None,
            run: None,
            labels: dag_labels(dag_id, dag),
            summary: cut(&format!(
                "{dag_id}: a watcher of an asset that it is scheduled on fails again and again: {}",
                it.error
            )),
            details: it
                .asset
                .iter()
                .map(|asset| ("asset".to_owned(), asset.name.clone()))
                .chain([
                    ("failures in a row".to_owned(), it.count.to_string()),
                    ("error".to_owned(), it.error.clone()),
                ])
                .collect(),
        })
    }
}
