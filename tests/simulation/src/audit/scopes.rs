//! The second opinion on setups and teardowns: what each task waits for besides what is right before it, which tasks
//! say how a run ends, and what is cleared with a task.
use std::collections::BTreeSet;

use super::{run::RunModel, task::TaskModel};

impl RunModel {
    fn ups(&self, ix: usize) -> impl Iterator<Item = usize> + '_ {
        self.tasks[ix].spec.upstream.iter().map(|up| *up as usize)
    }

    /// Whether one task comes before another, however far.
    fn is_before(&self, first: usize, then: usize) -> bool {
        self.ups(then).any(|up| up == first || self.is_before(first, up))
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.tasks.len()
    }

    /// The teardowns right below a setup.
    fn teardowns_of(&self, setup: usize) -> Vec<usize> {
        let is_one =
            |ix: &usize| self.tasks[*ix].spec.is_teardown && self.ups(*ix).any(|up| up == setup);
        self.all().filter(is_one).collect()
    }

    /// Whether a task uses what a setup makes: it comes after it, and before a teardown of it where there is one.
    fn uses(&self, ix: usize, setup: usize) -> bool {
        let teardowns = self.teardowns_of(setup);
        self.is_before(setup, ix)
            && (teardowns.is_empty() || teardowns.iter().any(|it| self.is_before(ix, *it)))
    }

    fn is_setup(&self, ix: usize) -> bool {
        self.tasks[ix].spec.is_setup
    }

    /// What a task waits for besides its direct upstreams: a teardown for what uses its setups, others for setups
    /// further above.
    pub(super) fn scope_of(&self, task: &TaskModel) -> BTreeSet<usize> {
        let ix = self.place(&task.spec.task_id).expect("its own task");
        let is_direct = |other: &usize| self.ups(ix).any(|up| up == *other);
        let further = |other: &usize| *other != ix && !is_direct(other);
        if task.spec.is_teardown {
            let setups: Vec<usize> = self.ups(ix).filter(|up| self.is_setup(*up)).collect();
            let between = |other: &usize| {
                setups.iter().any(|it| self.is_before(*it, *other)) && self.is_before(*other, ix)
            };
            return self.all().filter(further).filter(between).collect();
        }
        let setups = self.all().filter(|it| self.is_setup(*it));
        setups.filter(further).filter(|setup| self.uses(ix, *setup)).collect()
    }

    /// The tasks that say how the run ends.
    pub(super) fn leaves(&self) -> Vec<usize> {
        let passed_over = |ix: usize| {
            let spec = &self.tasks[ix].spec;
            spec.is_teardown && !spec.on_failure_fail_dagrun
        };
        let below = |ix: usize| self.all().filter(move |it| self.ups(*it).any(|up| up == ix));
        let leaf = |ix: &usize| !passed_over(*ix) && below(*ix).all(passed_over);
        let found: Vec<usize> = self.all().filter(leaf).collect();
        if found.is_empty() {
            self.all().filter(|ix| below(*ix).next().is_none()).collect()
        } else {
            found
        }
    }

    /// The setups that a task uses, and their teardowns: they run again with it.
    pub(super) fn around(&self, ix: usize) -> BTreeSet<usize> {
        let task = &self.tasks[ix];
        let direct = self.ups(ix).filter(|up| self.is_setup(*up) && self.uses(ix, *up));
        let mut found: BTreeSet<usize> = direct.collect();
        if !task.spec.is_teardown {
            found.extend(self.scope_of(task));
        }
        if task.spec.is_setup {
            found.insert(ix);
        }
        let teardowns: Vec<usize> =
            found.iter().flat_map(|setup| self.teardowns_of(*setup)).collect();
        found.extend(teardowns);
        found
    }
}
