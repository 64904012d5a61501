//! The second opinion on runs that go on with another version of their DAG: what stays, what comes, what goes.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_domain::run::Done;
use dagbok_events::{
    DagSpec, Expand, Fact, MapIndex, Record, RuledOut, RunVersionChanged, TaskId, TaskSpec,
};
use dagbok_protocol::{ClearTasks, VersionChange};

use super::{
    Audit, Finding,
    clearing::{Copies, one_by_one},
    run::{RunModel, Stage},
    task::{Stand, TaskModel},
};

/// A run as another version would have it.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) run: RunModel,
    /// Tasks that come anew.
    pub(super) added: BTreeSet<TaskId>,
    /// Copies that go, by whole tasks.
    pub(super) removed: Copies,
    /// Tasks that get further copies, with how many there are then.
    pub(super) grown: BTreeMap<TaskId, u32>,
    /// Copies that are too many by what stands in the file.
    pub(super) lost: Copies,
    /// Copies that were, and are not any more.
    pub(super) restored: Copies,
}

const REMOVED: Stand = Stand::Done(Done::RuledOut(RuledOut::Removed));

/// Whether a task may keep what it has of copies.
fn keeps(old: &TaskModel, new: &TaskSpec) -> bool {
    let single = old.copies[0].map_index.is_unmapped();
    match &new.expand {
        None => single,
        Some(_) if single => old.spec.expand.is_some(),
        Some(Expand::Literal { length }) => *length > 0,
        Some(Expand::Product { .. }) => true,
    }
}

impl RunModel {
    /// What becomes of it with this version.
    pub(super) fn moved_to(&self, version: u32, dag: &DagSpec) -> Move {
        let mut to = Move {
            run: self.clone(),
            added: BTreeSet::new(),
            removed: Copies::new(),
            grown: BTreeMap::new(),
            lost: Copies::new(),
            restored: Copies::new(),
        };
        if version != self.version {
            to.take(self, version, dag);
        }
        for ix in 0..to.run.tasks.len() {
            to.fit(ix);
        }
        to
    }
}

impl Move {
    fn take(&mut self, old: &RunModel, version: u32, dag: &DagSpec) {
        (self.run.version, self.run.timeout) = (version, dag.dagrun_timeout);
        self.run.fail_fast = dag.fail_fast;
        (self.run.catchup, self.run.dates) = (dag.catchup, (dag.start_date, dag.end_date));
        let of = |spec: &TaskSpec| old.tasks.iter().find(|it| it.spec.task_id == spec.task_id);
        let kept = |spec: &TaskSpec| of(spec).filter(|task| keeps(task, spec));
        for task in &old.tasks {
            let new = dag.tasks.iter().find(|spec| spec.task_id == task.spec.task_id);
            if new.is_some_and(|spec| keeps(task, spec)) {
                continue;
            }
            let tries = task.copies.iter().map(|copy| copy.tries).max().unwrap_or(0);
            let gone = self.run.gone.entry(task.spec.task_id.clone()).or_default();
            *gone = tries.max(*gone);
            let copies = task.copies.iter();
            self.removed.extend(copies.map(|it| (task.spec.task_id.clone(), it.map_index)));
        }
        let mut tasks = Vec::new();
        for spec in &dag.tasks {
            let tries = self.run.gone.get(&spec.task_id).copied().unwrap_or(0);
            let fresh = TaskModel::new(spec.clone(), tries.max(old.tries_before));
            tasks.push(if let Some(task) = kept(spec) {
                let expanded = task.expanded.filter(|_| spec.expand.is_some());
                TaskModel { copies: task.copies.clone(), expanded, ..fresh }
            } else {
                self.added.insert(spec.task_id.clone());
                fresh
            });
        }
        // What was decided against a task that is gone is gone with it.
        let known = |name: &TaskId| dag.tasks.iter().any(|spec| spec.task_id == *name);
        for copy in tasks.iter_mut().flat_map(|task: &mut TaskModel| &mut task.copies) {
            copy.skips.retain(known);
        }
        self.run.tasks = tasks;
    }

    /// A task that has copies has those that stand in the file.
    fn fit(&mut self, ix: usize) {
        let task = &mut self.run.tasks[ix];
        let Some(Expand::Literal { length }) = task.spec.expand else { return };
        if task.lacks_copies() {
            return;
        }
        let task_id = task.spec.task_id.clone();
        for copy in &mut task.copies {
            let there = u32::try_from(copy.map_index.0).is_ok_and(|at| at < length);
            if there && copy.stand == REMOVED {
                self.restored.insert((task_id.clone(), copy.map_index));
            } else if !there && copy.stand != REMOVED {
                copy.stand = REMOVED;
                copy.skips.clear();
                self.lost.insert((task_id.clone(), copy.map_index));
            }
        }
        if length as usize > task.copies.len() {
            task.expand(length);
            self.grown.insert(task_id, length);
        }
    }

    /// What is cleared with it: what is asked for, what is there again, and what was ruled out below something new.
    pub(super) fn taken_by(&self, ask: &ClearTasks) -> Copies {
        let back = self.restored.iter().map(|(task_id, _)| task_id);
        let new = self.added.iter().chain(self.grown.keys()).chain(back);
        let new: BTreeSet<&TaskId> = new.collect();
        let mut taken = self.run.taken_with(ask, &new);
        taken.extend(self.restored.clone());
        taken
    }

    pub(super) fn adds(&self) -> bool {
        !self.added.is_empty() || !self.grown.is_empty()
    }

    /// Whether what is told of it in a preview is so.
    pub(super) fn is_told_as(&self, from: u32, told: &VersionChange) -> bool {
        let added = one_by_one(&told.added);
        let whole = |task_id: &TaskId| (task_id.clone(), MapIndex::UNMAPPED);
        let mut wanted: Copies = self.added.iter().map(whole).collect();
        for task in self.run.tasks.iter().filter(|it| self.grown.contains_key(&it.spec.task_id)) {
            // What was tried before is none of those that came.
            let new = task.copies.iter().filter(|it| {
                it.stand == Stand::Waiting && !self.has_before(&task.spec.task_id, it.map_index)
            });
            wanted.extend(new.map(|it| (task.spec.task_id.clone(), it.map_index)));
        }
        let removed: Copies = self.removed.union(&self.lost).cloned().collect();
        (told.from, told.to) == (from, self.run.version)
            && added == wanted
            && one_by_one(&told.removed) == removed
    }

    fn has_before(&self, task_id: &TaskId, map_index: MapIndex) -> bool {
        let task = self.run.tasks.iter().find(|it| it.spec.task_id == *task_id);
        task.and_then(|task| task.find(map_index)).is_some_and(|copy| !copy.offered.is_empty())
    }

    /// Whether the fact says what it comes to.
    fn is_said_by(&self, f: &RunVersionChanged, of: &RunModel) -> Finding {
        let added: BTreeSet<TaskId> = f.added.iter().cloned().collect();
        let mut removed = Copies::new();
        for gone in &f.removed {
            let task = of.tasks.iter().find(|it| it.spec.task_id == gone.task_id);
            let task = task.ok_or_else(|| format!("{} is removed, and never was", gone.task_id))?;
            for map_index in task.stretch(gone.map_index, gone.further)? {
                removed.insert((gone.task_id.clone(), map_index));
            }
        }
        if f.was != of.version || f.added.len() != added.len() {
            return Err(format!("{f:?} is said of a run of version {}", of.version));
        }
        if added == self.added && removed == self.removed {
            return Ok(());
        }
        Err(format!("{f:?}, and not {:?} and {:?}", self.added, self.removed))
    }
}

impl Audit {
    /// The run that a record lets go on, as the newest version has it; nothing where it keeps its own.
    pub(super) fn moved_by(&self, record: &Record, run: &RunModel) -> Result<Option<Move>, String> {
        let moves = record.facts.iter().find_map(|fact| match fact {
            Fact::RunVersionChanged(f) => Some(f),
            _ => None,
        });
        let Some(f) = moves else { return Ok(None) };
        if run.stage != Stage::Over {
            return Err("a run that is not over has another version".to_owned());
        }
        let dagbok_events::Scope::Run(key) = &record.scope else {
            return Err("no run is named".to_owned());
        };
        let dag = self.dags.get(&key.dag_id).ok_or("there is no such DAG")?;
        if f.version != dag.current {
            return Err(format!("it goes on with version {}, not {}", f.version, dag.current));
        }
        let to = run.moved_to(f.version, &dag.versions[&f.version]);
        to.is_said_by(f, run)?;
        Ok(Some(to))
    }

    /// Folds in that a run has another version: as is said of it, which was checked.
    pub(super) fn change_version(
        &mut self,
        key: &dagbok_events::RunKey,
        f: &RunVersionChanged,
    ) -> Finding {
        let dag = self.dags.get(&key.dag_id).ok_or("there is no such DAG")?;
        let spec = dag.versions[&f.version].clone();
        let run = self.runs.get_mut(key).ok_or("there is no such run")?;
        let same = run.version == f.version;
        let to = run.moved_to(f.version, &spec);
        *run = to.run;
        for what in [
            (same, "newer code taken"),
            (!to.added.is_empty(), "a version adds tasks"),
            (!to.removed.is_empty(), "a version removes tasks"),
            (!to.grown.is_empty(), "a version adds copies"),
            (!to.lost.is_empty(), "a version removes copies"),
            (!to.restored.is_empty(), "a version restores copies"),
        ] {
            if what.0 {
                self.note(what.1);
            }
        }
        Ok(())
    }
}
