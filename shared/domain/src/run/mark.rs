//! Marking: somebody says how tasks ended, or how a run did, whatever became of them.
//!
//! A try that is in flight is ended first. What failed downstream runs again, as in Airflow, and what was ruled out
//! there is judged anew: by an outcome that no longer stands. A run that was over goes on, or is over anew in the same
//! record where nothing of it is left to do.
use dagbok_events::{
    Fact, RuledOut, RunMark, RunMarked, RunWas, TaskId, TaskMark, TaskMarked, TaskWas, Timestamp,
};
use dagbok_protocol::{ClearedTask, TaskCopy};

use super::{
    Done, EndedBy, Ending, InstanceNo, Phase, Run, TaskState,
    clear::{Picked, cleared_fact, named_nodes},
};

/// What is to be marked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Marking<'a> {
    /// These tasks, all of their copies.
    pub task_ids: &'a [TaskId],
    /// Single copies.
    pub copies: &'a [TaskCopy],
    /// As what.
    pub state: TaskMark,
    /// All that is upstream of them, too.
    pub upstream: bool,
    /// All that is downstream of them, too, but for teardowns.
    pub downstream: bool,
}

/// What a marking comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// What is marked, in the DAG's order.
    pub tasks: Vec<ClearedTask>,
    /// What is judged anew with it.
    pub cleared: Vec<ClearedTask>,
}

impl Run {
    /// The copies to mark, of those that do not stand so, and what is judged anew with them.
    pub fn to_mark(&self, marking: Marking<'_>) -> Marked {
        let named = self.named_to_mark(marking);
        let (mut tasks, mut below) = (Vec::new(), Picked::default());
        let becomes = done_of(marking.state);
        let mut nodes = std::collections::BTreeSet::new();
        for node in 0..self.version.node_count() {
            let task_id = &self.version.task(node).task_id;
            let pick = |no: InstanceNo, state: &TaskState| {
                let asked = named.has(node, self.arena.get(no).map_index);
                let removed = state.done().is_some_and(Done::is_no_part);
                (asked && !removed && state.done() != Some(becomes)).then_some(())
            };
            let found: Vec<_> = self.stretches(self.arena.numbers(node), pick).collect();
            for (copies, ()) in found {
                nodes.insert(node);
                self.take_in_below(node, &copies, &mut below);
                let map_index = self.arena.get(copies.start).map_index;
                let (further, was) = (copies.end - copies.start - 1, self.how_stood(copies));
                tasks.push(ClearedTask { task_id: task_id.clone(), map_index, further, was });
            }
        }
        if tasks.is_empty() || matches!(self.phase, Phase::Ending { .. }) {
            return Marked { tasks, cleared: Vec::new() };
        }
        let after = self.version.all_after(&nodes);
        let takes = |node, _: InstanceNo, state: &TaskState| {
            after.contains(&node) && state.done().is_some_and(Done::fails_run)
        };
        let cleared = self.to_clear_by(takes, &named, below);
        Marked { tasks, cleared }
    }

    fn named_to_mark(&self, marking: Marking<'_>) -> Picked {
        let mut named = Picked::default();
        named.whole.extend(marking.task_ids.iter().filter_map(|id| self.version.find(id)));
        let copy = |it: &TaskCopy| Some((self.version.find(&it.task_id)?, it.map_index));
        named.copies.extend(marking.copies.iter().filter_map(copy));
        let nodes = named_nodes(self, marking.task_ids, marking.copies);
        if marking.upstream {
            named.whole.extend(self.version.all_before(&nodes));
        }
        if marking.downstream {
            let after = self.version.all_after(&nodes).into_iter();
            named.whole.extend(after.filter(|node| !self.version.task(*node).is_teardown));
        }
        named
    }

    /// Every fact of marking these, with all that follows.
    pub fn mark_facts(&self, at: Timestamp, state: TaskMark, marked: Marked) -> Vec<Fact> {
        let over = matches!(self.phase, Phase::Over(_));
        let goes_on = || Fact::RunCleared(self.goes_on());
        let mut facts: Vec<Fact> = over.then(goes_on).into_iter().collect();
        for it in marked.tasks {
            facts.extend(self.ended_tries(&it));
            facts.push(marked_fact(it, state));
        }
        facts.extend(marked.cleared.into_iter().map(cleared_fact));
        self.with_what_follows(at, facts)
    }

    /// Every fact of marking a run that is not over: what runs of it stands as the run does, and what has not begun is
    /// skipped, as in Airflow. Teardowns go on.
    pub fn end_facts(&self, state: RunMark) -> Vec<Fact> {
        let by = match state {
            RunMark::Success => EndedBy::WellBySomebody,
            RunMark::Failed => EndedBy::Somebody,
        };
        let (teardowns_left, then) = self.after_end(by);
        let marked = RunMarked { state, was: self.phase.was(), teardowns_left };
        [Fact::RunMarked(marked)].into_iter().chain(then).collect()
    }

    /// Folds in that copies were marked.
    pub(super) fn mark(&mut self, f: &TaskMarked) -> Vec<super::Change> {
        let done = done_of(f.state);
        self.drop_checkpoints(&f.task_id, f.map_index, f.further);
        let mut changes = Vec::new();
        for no in self.range(&f.task_id, f.map_index, f.further) {
            if self.arena.get(no).state.done() != Some(done) {
                changes.push(self.set(no, TaskState::Done(done)));
            }
        }
        if let Some(node) = self.version.find(&f.task_id) {
            self.look_at_length(node);
        }
        changes
    }
}

/// One copy that was in flight, as marked.
pub(super) fn marked_fact(copies: ClearedTask, state: TaskMark) -> Fact {
    let ClearedTask { task_id, map_index, further, was } = copies;
    Fact::TaskMarked(TaskMarked { task_id, map_index, further, state, was })
}

/// How a task that is marked stands.
pub(super) const fn done_of(mark: TaskMark) -> Done {
    match mark {
        TaskMark::Success => Done::Success,
        TaskMark::Failed => Done::Failed,
        TaskMark::Skipped => Done::RuledOut(RuledOut::Skipped),
    }
}

/// How a run that is marked stands.
pub(crate) const fn ending_of(mark: RunMark) -> Ending {
    match mark {
        RunMark::Success => Ending::Success,
        RunMark::Failed => Ending::Failed,
    }
}

impl Phase {
    /// In the words of facts.
    pub(crate) const fn was(self) -> RunWas {
        match self {
            Self::Queued => RunWas::Queued,
            Self::Running { .. } | Self::Ending { .. } => RunWas::Running,
            Self::Over(ending) => ending.was(),
        }
    }
}

impl Ending {
    /// In the words of facts.
    pub(crate) const fn was(self) -> RunWas {
        match self {
            Self::Success => RunWas::Success,
            Self::Failed => RunWas::Failed,
        }
    }
}

impl TaskState {
    /// In the words of facts.
    pub(super) const fn was(&self) -> TaskWas {
        match self {
            Self::Waiting => TaskWas::None,
            Self::Queued { .. } => TaskWas::Queued,
            Self::Running { .. } => TaskWas::Running,
            Self::UpForRetry { .. } => TaskWas::UpForRetry,
            Self::UpForReschedule { .. } => TaskWas::UpForReschedule,
            Self::Deferred { .. } => TaskWas::Deferred,
            Self::Done(Done::Success) => TaskWas::Success,
            Self::Done(Done::Failed) => TaskWas::Failed,
            Self::Done(Done::RuledOut(RuledOut::Skipped)) => TaskWas::Skipped,
            Self::Done(Done::RuledOut(RuledOut::UpstreamFailed)) => TaskWas::UpstreamFailed,
            Self::Done(Done::RuledOut(RuledOut::Removed | RuledOut::OutOfDates)) => {
                TaskWas::Removed
            }
        }
    }
}
