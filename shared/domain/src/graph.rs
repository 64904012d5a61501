//! A DAG version made ready for the rules: its tasks with their edges both ways. Shared by its runs.
use std::collections::{BTreeMap, btree_map::Entry};

use dagbok_events::{DagSpec, DagVersion, Digest, TaskId, TaskSpec};

use crate::{
    run::{Line, LineNo},
    scope::{self, Scopes},
    timetable::{self, CompiledSchedule},
};

/// A task's place in its DAG.
pub type Ix = u32;

/// One version of a DAG.
#[derive(Debug)]
pub struct Version {
    /// Its number.
    pub number: DagVersion,
    /// Hash of the canonical form.
    pub digest: Digest,
    /// The DAG as it was registered.
    pub spec: DagSpec,
    /// Its schedule, compiled; `None` where history holds one that can't be, which then never fires.
    pub schedule: Option<CompiledSchedule>,
    by_name: BTreeMap<TaskId, Ix>,
    downstream: Vec<Vec<Ix>>,
    /// Those whose ends say how a run ends.
    leaves: Vec<bool>,
    scopes: Scopes,
    /// Where tasks wait for room, each once.
    lines: Vec<Line>,
    /// The line of each task.
    line_of: Vec<LineNo>,
}

impl Version {
    /// Indexes a spec. Edges that lead nowhere are left out: history is never refused.
    pub fn new(number: DagVersion, digest: Digest, spec: DagSpec) -> Self {
        let schedule = timetable::compile(&spec.schedule).ok();
        let by_name = (0..).zip(&spec.tasks).map(|(ix, task)| (task.task_id.clone(), ix)).collect();
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
        Self { number, digest, spec, schedule, by_name, downstream, leaves, scopes, lines, line_of }
    }

    /// The task's place.
    pub fn find(&self, task_id: &TaskId) -> Option<Ix> {
        self.by_name.get(task_id).copied()
    }

    /// The task at a place that [`Version::find`] gave.
    pub fn task(&self, ix: Ix) -> &TaskSpec {
        &self.spec.tasks[ix as usize]
    }

    /// Direct downstreams.
    pub fn downstream(&self, ix: Ix) -> &[Ix] {
        &self.downstream[ix as usize]
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

    /// What a task waits for besides its direct upstreams: setups further above, of a teardown all between its
    /// setups and itself.
    pub fn scope(&self, ix: Ix) -> &[Ix] {
        self.scopes.of(ix)
    }

    /// Those that have this task in their scope.
    pub fn in_scope_of(&self, ix: Ix) -> &[Ix] {
        self.scopes.with(ix)
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
