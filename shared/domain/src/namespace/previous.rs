//! `depends_on_past`: what a run's tasks wait for of the run before it, as Airflow's `PrevDagrunDep` judges it.
//!
//! The run before is the one with the next earlier logical date, whatever made it; of a DAG that catches up the one
//! that was not made by hand. Where it is not over its own state says. Of those that are over a DAG remembers which
//! tasks did not succeed: of the newest all, of older ones those that somebody asks for, and none where all went
//! well. So it costs what went wrong, up to [`PAST_RUNS`], and nothing that grows with history.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use dagbok_events::{DagId, DagVersion, RunKey, RunType, TaskId, Timestamp};
use dagbok_protocol::{Reason, limits::PAST_RUNS};
use serde::{Deserialize, Serialize};

use super::{Dag, Namespace, RunNo};
use crate::{
    graph::{Ix, Version},
    run::Run,
};

/// What is remembered of a run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// The version that it ran.
    version: DagVersion,
    /// Its tasks that neither succeeded nor were skipped, in the order of their names.
    bad: Vec<TaskId>,
}

/// The run before another.
enum Previous<'a> {
    Active(&'a Run),
    Over(Timestamp, Option<&'a Ended>),
}

impl Previous<'_> {
    fn date(&self) -> Option<Timestamp> {
        match self {
            Self::Active(run) => run.meta().logical_date,
            Self::Over(date, _) => Some(*date),
        }
    }
}

impl Dag {
    /// Remembers how a run ended. Returns the dates of runs that are forgotten with it.
    pub(super) fn remember_end(&mut self, run: &Run) -> Vec<Timestamp> {
        let Some(date) = run.meta().logical_date else { return Vec::new() };
        self.by_date.remove(&date);
        let version = run.version();
        let bad = (0..version.node_count()).filter(|node| !run.is_good(*node) && !run.lacks(*node));
        let mut bad: Vec<TaskId> = bad.map(|node| version.task(node).task_id.clone()).collect();
        bad.sort_unstable();
        self.ended.insert(date, Ended { version: version.number, bad });
        self.prune_ended()
    }

    /// Forgets what nobody asks for: of all but the newest, tasks that no other depends on, and runs without any.
    fn prune_ended(&mut self) -> Vec<Timestamp> {
        let newest = self.ended.keys().next_back().copied();
        // Runs that go on may ask by versions that are not the newest.
        let versions: Vec<_> = self.versions().cloned().collect();
        let is_asked = |task_id: &TaskId| versions.iter().any(|it| it.asked.contains(task_id));
        self.ended.retain(|date, ended| {
            let is_newest = Some(*date) == newest;
            if !is_newest {
                ended.bad.retain(is_asked);
            }
            is_newest || !ended.bad.is_empty()
        });
        let mut forgotten = Vec::new();
        while self.ended.len() > PAST_RUNS {
            forgotten.extend(self.ended.pop_first().map(|(date, _)| date));
        }
        forgotten
    }

    /// Whether a run that is over had a task.
    fn had(&self, ended: &Ended, task_id: &TaskId) -> bool {
        self.since.get(task_id).is_none_or(|since| ended.version >= *since)
    }

    /// Since which version each task that depends on the past is there, where it was added to the DAG later.
    pub(super) fn note_added(&mut self, old: Option<&Version>) {
        let version = Arc::clone(&self.current);
        let Some(old) = old else { return };
        let mut since = BTreeMap::new();
        for node in &version.depends_on_past {
            let task_id = &version.task(*node).task_id;
            let known = self.since.get(task_id).copied();
            let added = if old.find(task_id).is_some() { known } else { Some(version.number) };
            since.extend(added.map(|number| (task_id.clone(), number)));
        }
        self.since = since;
    }
}

impl Namespace {
    /// The run before a date; `by_hand`: manual runs count.
    fn previous<'a>(
        &'a self,
        dag: &'a Dag,
        date: Timestamp,
        by_hand: bool,
    ) -> Option<Previous<'a>> {
        let active = |number: &RunNo| self.runs.get(number).map(Arc::as_ref);
        let over = |date| Previous::Over(date, dag.ended.get(&date));
        if by_hand {
            let before = dag.dates.before(date)?;
            let run = dag.by_date.get(&before).and_then(active);
            return Some(run.map_or_else(|| over(before), Previous::Active));
        }
        let not_by_hand = |run: &&Run| run.meta().run_type != RunType::Manual;
        let runs = dag.by_date.range(..date).rev();
        let run = runs.filter_map(|(_, number)| active(number)).find(not_by_hand);
        // The id of a run by assets names when it was made: in the newer era no logical date is meant by that.
        let dated = |run_type| run_type != RunType::AssetTriggered || dag.current.spec.era < 3;
        let counts = |run_type| run_type != RunType::Manual && dated(run_type);
        let last = dag.past.dated_before(date, counts);
        match (run, last) {
            (Some(run), last) if run.meta().logical_date > last => Some(Previous::Active(run)),
            (_, last) => last.map(over),
        }
    }

    /// The logical date of the run that a task waits for; `None` where it waits for none.
    pub(super) fn waits_for_past(&self, run: &Run, node: Ix) -> Option<Timestamp> {
        let version = run.version();
        let task = version.task(node);
        if !task.depends_on_past {
            return None;
        }
        let dag = self.dags.get(&run.key().dag_id)?;
        let catchup = version.spec.catchup;
        let previous = self.previous(dag, run.meta().logical_date?, !catchup)?;
        let date = previous.date()?;
        if catchup && task.start_date.or(version.spec.start_date).is_some_and(|start| date < start)
        {
            return None;
        }
        let met = match &previous {
            Previous::Active(before) => match has(before, &task.task_id) {
                None => self.is_first(dag, run, task),
                Some(own) => {
                    let below = version.downstream(node).iter().copied();
                    let good = |ix: Ix| {
                        let there = has(before, &version.task(ix).task_id);
                        there.is_none_or(|ix| before.is_good(ix))
                    };
                    before.is_good(own)
                        && (!task.wait_for_downstream || below.into_iter().all(good))
                }
            },
            Previous::Over(_, ended) => {
                let good = |ix: Ix| {
                    let task_id = &version.task(ix).task_id;
                    ended.is_none_or(|ended| ended.bad.binary_search(task_id).is_err())
                };
                if ended.is_some_and(|ended| !dag.had(ended, &task.task_id)) {
                    self.is_first(dag, run, task)
                } else {
                    let mut below = version.downstream(node).iter();
                    good(node) && (!task.wait_for_downstream || below.all(|ix| good(*ix)))
                }
            }
        };
        (!met).then_some(date)
    }

    /// What a task that waits for the run before waits for there.
    pub(super) fn reason_of_past(&self, run: &Run, node: Ix) -> Option<Reason> {
        let logical_date = self.waits_for_past(run, node)?;
        let version = run.version();
        let dag = self.dags.get(&run.key().dag_id)?;
        let previous = self.previous(dag, run.meta().logical_date?, !version.spec.catchup)?;
        let looks_on = version.task(node).wait_for_downstream;
        let below = version.downstream(node).iter().filter(|_| looks_on);
        let looked_at = std::iter::once(&node).chain(below).map(|ix| &version.task(*ix).task_id);
        let (run_id, tasks): (_, Vec<TaskId>) = match &previous {
            Previous::Active(before) => {
                let bad =
                    |task_id: &&TaskId| has(before, task_id).is_some_and(|ix| !before.is_good(ix));
                (Some(before.key().run_id.clone()), looked_at.filter(bad).cloned().collect())
            }
            Previous::Over(_, ended) => {
                let bad = |task_id: &&TaskId| {
                    ended.is_some_and(|ended| ended.bad.binary_search(task_id).is_ok())
                };
                (None, looked_at.filter(bad).cloned().collect())
            }
        };
        let tasks = tasks.into_iter().take(10).collect();
        Some(Reason::DependsOnPast { logical_date, run_id, tasks })
    }

    /// Of a task that the run before does not have: whether it may go, being the first of its name.
    fn is_first(&self, dag: &Dag, run: &Run, task: &dagbok_events::TaskSpec) -> bool {
        let before = run.meta().logical_date.map(|date| dag.by_date.range(..date));
        let mut earlier = before.into_iter().flatten().filter_map(|(_, no)| self.runs.get(no));
        task.ignore_first_depends_on_past && earlier.all(|run| has(run, &task.task_id).is_none())
    }

    /// Whether the run before has none of the name of one of these tasks, so that earlier ones say whether it may go.
    fn goes_by_earlier(&self, run: &Run, nodes: &[Ix]) -> bool {
        let version = run.version();
        let Some(dag) = self.dags.get(&run.key().dag_id) else { return false };
        let date = run.meta().logical_date;
        let previous = date.and_then(|date| self.previous(dag, date, !version.spec.catchup));
        let mut names = nodes.iter().map(|node| &version.task(*node).task_id);
        match previous {
            Some(Previous::Active(before)) => names.any(|name| has(before, name).is_none()),
            Some(Previous::Over(_, Some(ended))) => names.any(|name| !dag.had(ended, name)),
            Some(Previous::Over(_, None)) | None => false,
        }
    }
}

/// The task of this name that a run has.
fn has(run: &Run, task_id: &TaskId) -> Option<Ix> {
    run.version().find(task_id).filter(|node| !run.lacks(*node))
}

impl Namespace {
    /// Judges anew what a run's tasks wait for of the run before it: these tasks, or all.
    fn judge_past(&mut self, number: RunNo, nodes: Option<&[Ix]>) {
        let Some(run) = self.runs.get(&number) else { return };
        if !run.phase().is_under_way() {
            return;
        }
        let version = Arc::clone(run.version());
        let all = &version.depends_on_past;
        let judged: Vec<(Ix, bool)> = nodes
            .unwrap_or(all)
            .iter()
            .map(|node| (*node, self.waits_for_past(run, *node).is_some()))
            .filter(|(node, held)| run.is_held(*node) != *held)
            .collect();
        let goes = self.goes_by_earlier(run, nodes.unwrap_or(all));
        if goes || nodes.is_none() {
            self.index.set_by_earlier(number, &run.key().dag_id, goes);
        }
        if judged.is_empty() && (nodes.is_some() || all.is_empty()) {
            return;
        }
        let Some(run) = self.runs.get_mut(&number).map(Arc::make_mut) else { return };
        for (node, held) in judged {
            run.hold(node, held, self.index.ripe_until);
        }
        if nodes.is_none() {
            // What is not held now may have been when it was to be skipped: before the run began, or in another life.
            for node in all {
                run.note_released(*node);
            }
        }
        self.index.put_run(number, run, &mut self.turns);
    }

    /// A run may look back at another one from now on, or at one that changed as a whole.
    pub(super) fn look_back(&mut self, number: RunNo) {
        self.judge_past(number, None);
    }

    /// A run of a DAG came, has other tasks or is over: those that go by it though it is not the one right before are
    /// judged anew.
    pub(super) fn look_back_further(&mut self, dag_id: &DagId) {
        let by_earlier: Vec<RunNo> =
            self.index.by_earlier.get(dag_id).into_iter().flatten().copied().collect();
        for number in by_earlier {
            self.look_back(number);
        }
    }

    /// The runs that come right after a date look back at another one from now on.
    pub(super) fn look_back_after(&mut self, dag_id: &DagId, date: Timestamp) {
        for number in self.right_after(dag_id, date) {
            self.judge_past(number, None);
        }
    }

    /// A task that is held for the run before it while that keeps it no more, or is not while it does: there is none,
    /// or the fold missed something that moved.
    pub fn misjudged_past(&self) -> Option<(RunKey, TaskId)> {
        self.runs.values().filter(|run| run.phase().is_under_way()).find_map(|run| {
            let version = run.version();
            let wrong =
                |node: &&Ix| run.is_held(**node) != self.waits_for_past(run, **node).is_some();
            let node = version.depends_on_past.iter().find(wrong)?;
            Some((run.key().clone(), version.task(*node).task_id.clone()))
        })
    }

    /// The runs right after a date that have tasks which depend on the past.
    pub(super) fn looking_back_at(&self, dag_id: &DagId, date: Timestamp) -> Vec<RunNo> {
        let mut after = self.right_after(dag_id, date);
        after.retain(|number| !self.runs[number].version().depends_on_past.is_empty());
        after
    }

    /// These tasks of a run moved: what the runs that look back at it wait for of them is judged anew.
    pub(super) fn look_back_at(&mut self, before: &Version, moved: &[Ix], lookers: &[RunNo]) {
        for &number in lookers {
            let Some(after) = self.runs.get(&number) else { continue };
            let version = after.version();
            let mut nodes = BTreeSet::new();
            for task_id in moved.iter().map(|node| &before.task(*node).task_id) {
                let Some(own) = version.find(task_id) else { continue };
                nodes.insert(own);
                let above = version.task(own).upstream.iter().copied();
                let looks =
                    |up: &Ix| *up < version.node_count() && version.task(*up).wait_for_downstream;
                nodes.extend(above.filter(looks));
            }
            let nodes: Vec<Ix> = nodes.into_iter().collect();
            self.judge_past(number, Some(&nodes));
        }
    }

    /// The runs that have one of this date before them: the next, and of those that look at no manual runs all up to
    /// the next that is none. Runs of several versions of the DAG may stand there, and each goes by its own.
    fn right_after(&self, dag_id: &DagId, date: Timestamp) -> Vec<RunNo> {
        let Some(dag) = self.dags.get(dag_id) else { return Vec::new() };
        let some_catch_up = dag.versions().any(|version| version.spec.catchup);
        let mut found = Vec::new();
        let later = (Bound::Excluded(date), Bound::Unbounded);
        for (_, number) in dag.by_date.range(later) {
            let Some(run) = self.runs.get(number) else { continue };
            if found.is_empty() || run.version().spec.catchup {
                found.push(*number);
            }
            if !some_catch_up || run.meta().run_type != RunType::Manual {
                break;
            }
        }
        found
    }
}
