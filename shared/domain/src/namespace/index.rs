//! What the next decision starts from, so that it costs nothing that grows with what waits or is over: DAGs
//! and runs by when they next need a look, and the lanes. Made of the rest of the state alone, and kept in
//! step by `evolve`.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use dagbok_events::{DagId, Timestamp};

use super::{
    Dag, Namespace, RunNo, asset_index::AssetIndex, lanes::Lanes, turns::Turns, watchers::Watched,
};
use crate::run::{InstanceNo, Run};

/// The indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Running runs by when they time out.
    pub(super) timeouts: BTreeSet<(Timestamp, RunNo)>,
    /// Instances by when they may be queued again.
    pub(super) retries: BTreeSet<(Timestamp, RunNo, InstanceNo)>,
    /// Instances by when the time of the trigger that they wait for is up.
    pub(super) triggers: BTreeSet<(Timestamp, RunNo, InstanceNo)>,
    /// DAGs to be paused, since their newest runs have failed.
    pub(super) failing: BTreeSet<DagId>,
    /// DAGs that may make the run that they promised, by when it is due.
    pub(super) promises: BTreeSet<(Timestamp, DagId)>,
    /// DAGs that may start a run, by the time from which their first may.
    pub(super) starts: BTreeSet<(Timestamp, DagId)>,
    /// What DAGs name, by the assets.
    pub(super) assets: AssetIndex,
    /// DAGs that are scheduled on assets and may make a run now.
    pub(super) ready_by_assets: BTreeSet<DagId>,
    /// DAGs that have watchers of assets, with the keys of these.
    pub(super) watching: BTreeMap<DagId, Watched>,
    /// DAGs whose backfill has a step to take, and those with runs that one left behind.
    pub(super) backfills: BTreeSet<DagId>,
    /// What stands of a DAG in `promises` and `starts`.
    marks: BTreeMap<DagId, (Option<Timestamp>, Option<Timestamp>)>,
    timeout_of: BTreeMap<RunNo, Timestamp>,
    /// Runs with a task that waited for the run before and is to be skipped now.
    pub(super) settles: BTreeSet<RunNo>,
    /// Runs with a task that the run before has not, so that earlier ones say whether it may go; by DAG.
    pub(super) by_earlier: BTreeMap<DagId, BTreeSet<RunNo>>,
    /// Up to when what waited for a time stands with what waits for none.
    pub(super) ripe_until: Option<Timestamp>,
    /// Running runs with mapped tasks that wait for nothing but their copies.
    pub(super) expanding: BTreeSet<RunNo>,
    pub(super) lanes: Lanes,
}

impl Index {
    /// Takes in how a run stands now.
    pub(super) fn put_run(&mut self, number: RunNo, run: &mut Run, turns: &mut Turns) {
        let due = run.times_out_at();
        if self.timeout_of.get(&number).copied() != due {
            self.forget_timeout(number);
            if let Some(due) = due {
                self.timeouts.insert((due, number));
                self.timeout_of.insert(number, due);
            }
        }
        let running = run.phase().is_under_way();
        if running {
            self.lanes.put(number, run, turns);
        } else {
            self.lanes.remove(number, run, turns);
        }
        if running && run.has_to_expand() {
            self.expanding.insert(number);
        } else {
            self.expanding.remove(&number);
        }
        if running && run.has_to_settle() {
            self.settles.insert(number);
        } else {
            self.settles.remove(&number);
        }
    }

    /// Whether earlier runs than the one before say what a run's tasks wait for.
    pub(super) fn set_by_earlier(&mut self, number: RunNo, dag_id: &DagId, goes: bool) {
        if goes {
            self.by_earlier.entry(dag_id.clone()).or_default().insert(number);
        } else if let Some(runs) = self.by_earlier.get_mut(dag_id) {
            runs.remove(&number);
            if runs.is_empty() {
                self.by_earlier.remove(dag_id);
            }
        }
    }

    /// Forgets a run.
    pub(super) fn remove_run(&mut self, number: RunNo, run: &Run, turns: &mut Turns) {
        self.forget_timeout(number);
        self.settles.remove(&number);
        self.set_by_earlier(number, &run.key().dag_id, false);
        self.lanes.remove(number, run, turns);
        self.expanding.remove(&number);
    }

    fn forget_timeout(&mut self, number: RunNo) {
        if let Some(due) = self.timeout_of.remove(&number) {
            self.timeouts.remove(&(due, number));
        }
    }

    /// Forgets a DAG that has no run.
    pub(super) fn remove_dag(&mut self, dag_id: &DagId) {
        let (promise, start) = self.marks.remove(dag_id).unwrap_or_default();
        for (set, at) in [(&mut self.promises, promise), (&mut self.starts, start)] {
            if let Some(at) = at {
                set.remove(&(at, dag_id.clone()));
            }
        }
        self.failing.remove(dag_id);
        self.assets.remove(dag_id);
        self.ready_by_assets.remove(dag_id);
        self.watching.remove(dag_id);
        self.backfills.remove(dag_id);
        self.lanes.forget(dag_id);
    }

    /// Notes which watchers a DAG has. Their keys are made once for each of its versions with each code.
    pub(super) fn put_watchers(&mut self, dag_id: &DagId, dag: &Dag) {
        if dag.gone || dag.current.spec.watchers.is_empty() {
            self.watching.remove(dag_id);
        } else if !self.watching.get(dag_id).is_some_and(|it| it.is_of(dag)) {
            self.watching.insert(dag_id.clone(), Watched::new(dag));
        }
    }

    fn put_assets(&mut self, dag_id: &DagId, dag: &Dag) {
        if dag.gone {
            self.assets.remove(dag_id);
        } else {
            self.assets.put(dag_id, &dag.current);
        }
        self.put_watchers(dag_id, dag);
        let ready = !dag.gone && dag.is_ready_by_assets();
        if !ready {
            self.ready_by_assets.remove(dag_id);
        } else if !self.ready_by_assets.contains(dag_id) {
            self.ready_by_assets.insert(dag_id.clone());
        }
    }

    fn put_dag(&mut self, dag_id: &DagId, dag: &Dag, turns: &mut Turns) {
        let promise = dag.due().filter(|_| dag.has_room());
        let start = dag.queued.first().map(|(from, _)| *from).filter(|_| dag.may_start());
        let marks = self.marks.entry(dag_id.clone()).or_default();
        for (set, old, new) in
            [(&mut self.promises, &mut marks.0, promise), (&mut self.starts, &mut marks.1, start)]
        {
            if *old == new {
                continue;
            }
            if let Some(old) = old.take() {
                set.remove(&(old, dag_id.clone()));
            }
            if let Some(new) = new {
                set.insert((new, dag_id.clone()));
            }
            *old = new;
        }
        if dag.pause_due {
            self.failing.insert(dag_id.clone());
        } else {
            self.failing.remove(dag_id);
        }
        if !dag.has_backfill_step() {
            self.backfills.remove(dag_id);
        } else if !self.backfills.contains(dag_id) {
            self.backfills.insert(dag_id.clone());
        }
        self.put_assets(dag_id, dag);
        self.lanes.set_open(dag_id, dag.room() > 0, turns);
    }
}

impl Namespace {
    /// What waited for a time that has come stands with what waits for nothing but room, so that no plan has to
    /// look at all of it.
    pub(super) fn ripen(&mut self, now: Timestamp) {
        let from = match self.index.ripe_until {
            Some(until) if until >= now => return,
            Some(until) => Bound::Excluded((until, RunNo::MAX, InstanceNo::MAX)),
            None => Bound::Unbounded,
        };
        self.index.ripe_until = Some(now);
        let ripe = (from, Bound::Included((now, RunNo::MAX, InstanceNo::MAX)));
        let ripe: Vec<_> = self.index.retries.range(ripe).map(|(_, run, no)| (*run, *no)).collect();
        for (number, no) in ripe {
            let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) else { continue };
            run.ripen(no);
            self.index.put_run(number, run, &mut self.turns);
        }
    }

    /// Puts a DAG where its state belongs.
    pub(super) fn index_dag(&mut self, dag_id: &DagId) {
        if let Some(dag) = self.dags.get(dag_id) {
            self.index.put_dag(dag_id, dag, &mut self.turns);
        }
    }
}
