//! A run's tasks as a snapshot keeps them: what was folded, without the indexes.
use dagbok_events::Payload;
use serde::{Deserialize, Serialize};

use super::{Phase, Run, TaskState, XComKey};

/// One task as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTask {
    state: TaskState,
    tries: u16,
    failures: u16,
    losses: u16,
}

impl Run {
    /// Every task, in the DAG's order.
    pub fn save_tasks(&self) -> Vec<SavedTask> {
        let save = |task: &super::Task| SavedTask {
            state: task.state.clone(),
            tries: task.tries,
            failures: task.failures,
            losses: task.losses,
        };
        self.tasks.iter().map(save).collect()
    }

    /// Puts back what [`Run::save_tasks`] saved into a run just made, and rebuilds the indexes.
    pub fn load(&mut self, phase: Phase, tasks: Vec<SavedTask>, xcoms: Vec<(XComKey, Payload)>) {
        self.phase = phase;
        self.xcoms = xcoms.into_iter().collect();
        for (ix, saved) in (0..).zip(tasks) {
            if (ix as usize) >= self.tasks.len() {
                break;
            }
            let task = &mut self.tasks[ix as usize];
            (task.tries, task.failures, task.losses) = (saved.tries, saved.failures, saved.losses);
            if saved.state != TaskState::Waiting {
                self.set(ix, saved.state);
            }
        }
    }
}
