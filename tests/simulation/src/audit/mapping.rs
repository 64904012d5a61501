//! The second opinion on how many copies mapped tasks have, and when they get them.
use dagbok_domain::trigger_rule::Standing;
use dagbok_events::{Expand, Extent, MapIndex, TaskId};
use dagbok_protocol::limits::COPIES_PER_TASK;

use super::{
    Finding,
    run::RunModel,
    task::{CopyModel, Stand, TaskModel},
};

impl RunModel {
    /// How many copies a mapped task is to have, where anybody can say and they are not too many.
    pub(super) fn length(&self, task: &TaskModel) -> Option<u64> {
        self.wanted(task).filter(|length| *length <= u64::from(COPIES_PER_TASK))
    }

    /// How many copies it would have.
    pub(super) fn wanted(&self, task: &TaskModel) -> Option<u64> {
        match task.spec.expand.as_ref()? {
            Expand::Literal { length } => Some(u64::from(*length)),
            Expand::Product { of } => {
                let lengths: Option<Vec<u64>> = of.iter().map(|it| self.extent(it)).collect();
                Some(lengths?.into_iter().product())
            }
        }
    }

    fn extent(&self, extent: &Extent) -> Option<u64> {
        let all = |of: &[Extent]| of.iter().map(|it| self.extent(it)).collect::<Option<Vec<u64>>>();
        match extent {
            Extent::Fixed { length } => Some(u64::from(*length)),
            Extent::Concat { of } => all(of).map(|lengths| lengths.into_iter().sum()),
            Extent::Zip { of, longest: false } => all(of)?.into_iter().min(),
            Extent::Zip { of, longest: true } => all(of)?.into_iter().max(),
            Extent::Of { task } => {
                let task = &self.tasks[*task as usize];
                if task.spec.is_mapped {
                    let over = task.copies.iter().all(|copy| copy.done().is_some());
                    let gave = |copy: &&CopyModel| {
                        !copy.map_index.is_unmapped() && copy.xcoms.contains_key("return_value")
                    };
                    over.then(|| task.copies.iter().filter(gave).count() as u64)
                } else {
                    task.find(MapIndex::UNMAPPED)?.length.map(u64::from)
                }
            }
        }
    }

    /// A task gets its copies: as many as what it is mapped over says, once nothing else is left to wait for, or at
    /// once where that stands in the file. One that is to run again may get more.
    pub(super) fn expand(&mut self, task_id: &TaskId, length: u32) -> Finding {
        let ix = self.place(task_id).ok_or_else(|| format!("there is no task {task_id}"))?;
        let task = &self.tasks[ix];
        if self.length(task) != Some(u64::from(length)) {
            return Err(format!(
                "{task_id} is expanded over {length}, not {:?}",
                self.length(task)
            ));
        }
        let waits = task.copies.iter().any(|copy| copy.stand == Stand::Waiting);
        let verdict = self.verdict(task, MapIndex::UNMAPPED);
        let at_once = matches!(task.spec.expand, Some(Expand::Literal { .. })) && length > 0;
        let grows = !task.lacks_copies() && length as usize > task.copies.len();
        let begins = task.lacks_copies() && (at_once || verdict == Standing::Ready);
        if !waits || !(grows || begins) {
            return Err(format!(
                "{task_id} is expanded over {length} and is {verdict:?}: {task:?}"
            ));
        }
        self.tasks[ix].expand(length);
        Ok(())
    }
}
