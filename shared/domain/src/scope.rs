//! Setups, teardowns, and what lies between them, as Airflow counts it.
use std::collections::BTreeSet;

use dagbok_events::TaskSpec;

use crate::graph::Ix;

/// What each task waits for besides its direct upstreams. Empty where a DAG has no setups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes {
    of: Vec<Vec<Ix>>,
    with: Vec<Vec<Ix>>,
}

/// The tasks whose ends say how a run ends: those that nothing comes after but teardowns, and that are none
/// themselves. A teardown that may fail its run counts as another task; where there are only teardowns, the last.
pub(crate) fn leaves(tasks: &[TaskSpec], downstream: &[Vec<Ix>]) -> Vec<bool> {
    let passed_over = |ix: usize| tasks[ix].is_teardown && !tasks[ix].on_failure_fail_dagrun;
    let is_leaf = |ix: usize| {
        !passed_over(ix) && downstream[ix].iter().all(|down| passed_over(*down as usize))
    };
    let found: Vec<bool> = (0..tasks.len()).map(is_leaf).collect();
    if found.contains(&true) {
        return found;
    }
    downstream.iter().map(Vec::is_empty).collect()
}

impl Scopes {
    pub(crate) fn new(tasks: &[TaskSpec], downstream: &[Vec<Ix>]) -> Self {
        if !tasks.iter().any(|task| task.is_setup) {
            return Self::default();
        }
        let mut of = vec![BTreeSet::new(); tasks.len()];
        for (setup, _) in (0..).zip(tasks).filter(|(_, task)| task.is_setup) {
            let below = all_below(setup, downstream);
            let teardowns = teardowns_of(setup, tasks, downstream);
            let mut above = BTreeSet::new();
            for teardown in &teardowns {
                let between: BTreeSet<Ix> =
                    all_above(*teardown, tasks).intersection(&below).copied().collect();
                let direct = &tasks[*teardown as usize].upstream;
                let indirect = between.iter().filter(|ix| !direct.contains(ix));
                of[*teardown as usize].extend(indirect.copied());
                above.extend(between);
            }
            let needs = if teardowns.is_empty() { below } else { above };
            for ix in needs {
                let task = &tasks[ix as usize];
                if ix != setup && !task.is_teardown && !task.upstream.contains(&setup) {
                    of[ix as usize].insert(setup);
                }
            }
        }
        let mut with = vec![Vec::new(); tasks.len()];
        for (ix, scope) in (0..).zip(&of) {
            for member in scope {
                with[*member as usize].push(ix);
            }
        }
        Self { of: of.into_iter().map(|scope| scope.into_iter().collect()).collect(), with }
    }

    pub(crate) fn of(&self, ix: Ix) -> &[Ix] {
        self.of.get(ix as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn with(&self, ix: Ix) -> &[Ix] {
        self.with.get(ix as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn around(&self, ix: Ix, tasks: &[TaskSpec], downstream: &[Vec<Ix>]) -> Vec<Ix> {
        if self.of.is_empty() {
            return Vec::new();
        }
        let task = &tasks[ix as usize];
        let direct = task.upstream.iter().copied().filter(|up| {
            let is_setup = tasks.get(*up as usize).is_some_and(|task| task.is_setup);
            is_setup && {
                let teardowns = teardowns_of(*up, tasks, downstream);
                let is_between = |teardown: &Ix| all_above(*teardown, tasks).contains(&ix);
                teardowns.is_empty() || teardowns.iter().any(is_between)
            }
        });
        let further = self.of(ix).iter().copied().filter(|_| !task.is_teardown);
        let mut setups: BTreeSet<Ix> = direct.chain(further).collect();
        if task.is_setup {
            setups.insert(ix);
        }
        let teardowns: Vec<Ix> =
            setups.iter().flat_map(|setup| teardowns_of(*setup, tasks, downstream)).collect();
        setups.extend(teardowns);
        setups.into_iter().collect()
    }
}

fn teardowns_of(setup: Ix, tasks: &[TaskSpec], downstream: &[Vec<Ix>]) -> Vec<Ix> {
    let below = downstream[setup as usize].iter().copied();
    below.filter(|down| tasks[*down as usize].is_teardown).collect()
}

fn all_below(ix: Ix, downstream: &[Vec<Ix>]) -> BTreeSet<Ix> {
    reach(ix, |at| &downstream[at as usize])
}

/// Edges may lead nowhere: history is never refused.
fn all_above(ix: Ix, tasks: &[TaskSpec]) -> BTreeSet<Ix> {
    let mut found = reach(ix, |at| tasks.get(at as usize).map_or(&[][..], |task| &task.upstream));
    found.retain(|ix| (*ix as usize) < tasks.len());
    found
}

fn reach<'a>(from: Ix, next: impl Fn(Ix) -> &'a [Ix]) -> BTreeSet<Ix> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(ix) = waiting.pop() {
        for other in next(ix) {
            if found.insert(*other) {
                waiting.push(*other);
            }
        }
    }
    found
}
