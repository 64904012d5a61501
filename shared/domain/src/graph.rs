//! A DAG version made ready for the rules: its tasks with their edges both ways. Shared by its runs.
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use dagbok_events::{DagSpec, DagVersion, Digest, Expand, Extent, TaskId, TaskSpec, Timestamp};

use crate::{
    names::Names,
    run::{Line, LineNo},
    scope::{self, Scopes},
    timetable::{self, CompiledSchedule, Foretold},
};

/// A task's place in its DAG.
pub type Ix = u32;

/// One version of a DAG.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its number.
    pub number: DagVersion,
    /// Hash of the canonical form.
    pub digest: Digest,
    /// The DAG as it was registered.
    pub spec: DagSpec,
    /// Its schedule, compiled; `None` where history holds one that can't be, which then never fires.
    pub schedule: Option<CompiledSchedule>,
    names: Names,
    downstream: Vec<Vec<Ix>>,
    /// Those whose ends say how a run ends.
    leaves: Vec<bool>,
    scopes: Scopes,
    /// Where tasks wait for room, each once.
    lines: Vec<Line>,
    /// The line of each task.
    line_of: Vec<LineNo>,
    /// Of each task the mapped group that it stands in, numbered from 1; empty where there is none.
    groups: Vec<u32>,
    /// By task, those whose number of copies follows from what it returns; empty where there is none.
    mapped_over: BTreeMap<Ix, Vec<Ix>>,
    /// The tasks that wait for the run before.
    pub depends_on_past: Vec<Ix>,
    /// The tasks that these look at there, in the order of their names.
    pub asked: BTreeSet<TaskId>,
}

impl Version {
    /// Indexes a spec. Edges that lead nowhere are left out: history is never refused.
    pub fn new(number: DagVersion, digest: Digest, spec: DagSpec) -> Self {
        let schedule = timetable::compile(&spec.schedule).ok().map(|it| it.of_era(spec.era));
        let names = Names::of(&spec.tasks);
        let mut downstream = vec![Vec::new(); spec.tasks.len()];
        for (ix, task) in (0..).zip(&spec.tasks) {
            for up in &task.upstream {
                if let Some(downs) = downstream.get_mut(*up as usize) {
                    downs.push(ix);
                }
            }
        }
        let leaves = scope::leaves(&spec.tasks, &downstream);
        let scopes = Scopes::new(&spec.tasks, &downstream);
        let (lines, line_of) = lines_of(&spec);
        let (groups, mapped_over) = (groups(&spec.tasks), mapped_over(&spec.tasks));
        let depends_on_past: Vec<Ix> = (0..)
            .zip(&spec.tasks)
            .filter(|(_, task)| task.depends_on_past)
            .map(|(ix, _)| ix)
            .collect();
        let asked = asked_of_past(&spec, &depends_on_past, &downstream);
        Self {
            number,
            digest,
            spec,
            schedule,
            names,
            downstream,
            leaves,
            scopes,
            lines,
            line_of,
            groups,
            mapped_over,
            depends_on_past,
            asked,
        }
    }

    /// Goes by what its timetable answered, where that is written in Python; the same of every version with that
    /// schedule.
    pub fn foretell(&mut self, foretold: &Foretold) {
        if let Some(schedule) = &mut self.schedule {
            schedule.foretell(foretold);
        }
    }

    /// What its timetable answered, where it is written in Python.
    pub fn foretold(&self) -> Option<&Foretold> {
        self.schedule.as_ref()?.foretold()
    }

    /// The task's place.
    pub fn find(&self, task_id: &TaskId) -> Option<Ix> {
        self.names.find(&self.spec.tasks, task_id)
    }

    /// The task at a place that [`Version::find`] gave.
    pub fn task(&self, ix: Ix) -> &TaskSpec {
        &self.spec.tasks[ix as usize]
    }

    /// When a task begins and ends, as far as that is bounded: within the DAG's own dates, which it has otherwise. One that
    /// [never ends](TaskSpec::NEVER_ENDS) does so whatever ends the DAG's schedule.
    pub fn dates_of(&self, ix: Ix) -> (Option<Timestamp>, Option<Timestamp>) {
        let task = self.task(ix);
        let ends = [task.end_date, self.spec.end_date];
        let end = ends.into_iter().flatten().min();
        let end = end.filter(|_| task.end_date != Some(TaskSpec::NEVER_ENDS));
        (task.start_date.max(self.spec.start_date), end)
    }

    /// Direct downstreams.
    pub fn downstream(&self, ix: Ix) -> &[Ix] {
        &self.downstream[ix as usize]
    }

    /// All that comes before these, but for what is among them and before none.
    pub fn all_before(&self, nodes: &BTreeSet<Ix>) -> BTreeSet<Ix> {
        let known = |up: &Ix| (*up as usize) < self.len();
        reach(nodes, |ix| self.task(ix).upstream.iter().copied().filter(known).collect())
    }

    /// All that comes after these, but for what is among them and after none.
    pub fn all_after(&self, nodes: &BTreeSet<Ix>) -> BTreeSet<Ix> {
        reach(nodes, |ix| self.downstream(ix).to_vec())
    }

    /// Whether its end says how a run ends: nothing comes after it but teardowns, and it is none itself.
    pub fn is_leaf(&self, ix: Ix) -> bool {
        self.leaves[ix as usize]
    }

    /// Where a task's copies wait for room.
    pub fn line_of(&self, ix: Ix) -> LineNo {
        self.line_of[ix as usize]
    }

    /// A line by its place.
    pub fn line(&self, no: LineNo) -> &Line {
        &self.lines[no as usize]
    }

    /// Tasks with a limit over all runs of the DAG.
    pub fn capped(&self) -> impl Iterator<Item = &TaskId> {
        let caps = self.lines.iter().filter_map(|line| line.cap.as_ref());
        caps.filter(|cap| cap.per_dag.is_some()).map(|cap| &cap.task_id)
    }

    /// What a task waits for besides its direct upstreams: setups further above, of a teardown all between its
    /// setups and itself.
    pub fn scope(&self, ix: Ix) -> &[Ix] {
        self.scopes.of(ix)
    }

    /// Those that have this task in their scope.
    pub fn in_scope_of(&self, ix: Ix) -> &[Ix] {
        self.scopes.with(ix)
    }

    /// Whether any of its tasks stands in a mapped group.
    pub const fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether two tasks stand in one mapped group, so that a copy of one goes with the copy of that index of the
    /// other.
    pub fn are_together(&self, one: Ix, other: Ix) -> bool {
        let of = |ix: Ix| self.groups.get(ix as usize).copied().unwrap_or(0);
        of(one) != 0 && of(one) == of(other)
    }

    /// Whether a task has others before it, or in its scope, whose copies go with its own.
    pub fn goes_by_copy(&self, ix: Ix) -> bool {
        let together = || self.together_before(ix).chain(self.together_in_scope(ix));
        self.has_groups() && together().next().is_some()
    }

    /// Direct upstreams whose copies go with a task's own.
    pub fn together_before(&self, ix: Ix) -> impl Iterator<Item = Ix> {
        let known = self.task(ix).upstream.iter().copied().filter(|up| (*up as usize) < self.len());
        known.filter(move |up| self.are_together(*up, ix))
    }

    /// The same of its scope.
    pub fn together_in_scope(&self, ix: Ix) -> impl Iterator<Item = Ix> {
        self.scope(ix).iter().copied().filter(move |member| self.are_together(*member, ix))
    }

    /// Tasks whose number of copies follows from what this one returns.
    pub fn mapped_over(&self, ix: Ix) -> &[Ix] {
        self.mapped_over.get(&ix).map_or(&[], Vec::as_slice)
    }

    /// The setups that a task needs, with their teardowns: what runs again with it.
    pub fn setups_and_teardowns(&self, ix: Ix) -> Vec<Ix> {
        self.scopes.around(ix, &self.spec.tasks, &self.downstream)
    }

    /// How many of a task's direct upstreams are setups.
    pub fn setup_count(&self, ix: Ix) -> u32 {
        let setups = self
            .task(ix)
            .upstream
            .iter()
            .filter(|up| self.spec.tasks.get(**up as usize).is_some_and(|task| task.is_setup));
        u32::try_from(setups.count()).unwrap_or(u32::MAX)
    }

    /// How many direct upstreams there are, without those that lead nowhere.
    pub fn upstream_count(&self, ix: Ix) -> u32 {
        let known = self.task(ix).upstream.iter().filter(|up| (**up as usize) < self.len());
        u32::try_from(known.count()).unwrap_or(u32::MAX)
    }

    /// How many tasks there are, as places go.
    pub fn node_count(&self) -> Ix {
        Ix::try_from(self.len()).expect("limits keep a DAG's tasks far below this")
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.spec.tasks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spec.tasks.is_empty()
    }
}

/// The tasks whose ends in the run before somebody waits for.
fn asked_of_past(spec: &DagSpec, asking: &[Ix], downstream: &[Vec<Ix>]) -> BTreeSet<TaskId> {
    let task_id = |ix: &Ix| spec.tasks[*ix as usize].task_id.clone();
    let below = asking.iter().filter(|ix| spec.tasks[**ix as usize].wait_for_downstream);
    let below = below.flat_map(|ix| &downstream[*ix as usize]);
    asking.iter().chain(below).map(task_id).collect()
}

/// The lines of a DAG's tasks, each once, in the DAG's order; and the one of each task.
fn lines_of(spec: &DagSpec) -> (Vec<Line>, Vec<LineNo>) {
    let (mut lines, mut known) = (Vec::new(), BTreeMap::new());
    let mut number = |line: Line| match known.entry(line.clone()) {
        Entry::Occupied(found) => *found.get(),
        Entry::Vacant(new) => {
            let no = LineNo::try_from(lines.len()).expect("no more lines than tasks");
            lines.push(line);
            *new.insert(no)
        }
    };
    let line_of = spec.tasks.iter().map(|task| number(Line::of(task))).collect();
    (lines, line_of)
}

fn groups(tasks: &[TaskSpec]) -> Vec<u32> {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    for group in tasks.iter().filter_map(|task| task.mapped_group.as_deref()) {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        numbers.entry(group).or_insert(next);
    }
    if numbers.is_empty() {
        return Vec::new();
    }
    let number = |task: &TaskSpec| task.mapped_group.as_deref().map_or(0, |group| numbers[group]);
    tasks.iter().map(number).collect()
}

fn mapped_over(tasks: &[TaskSpec]) -> BTreeMap<Ix, Vec<Ix>> {
    let mut found: BTreeMap<Ix, Vec<Ix>> = BTreeMap::new();
    for (ix, task) in (0..).zip(tasks) {
        let Some(Expand::Product { of }) = &task.expand else { continue };
        let mut sources = Vec::new();
        sources_of(of, &mut sources);
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            found.entry(source).or_default().push(ix);
        }
    }
    found
}

/// The tasks whose results extents are told by.
pub(crate) fn sources_of(extents: &[Extent], found: &mut Vec<Ix>) {
    for extent in extents {
        match extent {
            Extent::Fixed { .. } => {}
            Extent::Of { task } => found.push(*task),
            Extent::Zip { of, .. } | Extent::Concat { of } => sources_of(of, found),
        }
    }
}

/// What is reached from these, step by step.
fn reach(from: &BTreeSet<Ix>, next: impl Fn(Ix) -> Vec<Ix>) -> BTreeSet<Ix> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Ix> = from.iter().copied().collect();
    while let Some(ix) = open.pop() {
        open.extend(next(ix).into_iter().filter(|ix| found.insert(*ix)));
    }
    found
}
