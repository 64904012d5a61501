//! The second opinion on what tries in flight keep: nothing more, where something before them is made anew.
use dagbok_events::{Fact, Record};

use super::{
    clearing::Copies,
    run::RunModel,
    task::{Stand, TaskModel},
};

impl RunModel {
    /// That a record which makes these copies run again says so of all that is in flight below them, and of nothing else.
    pub(super) fn keeps_as_it_must(&self, record: &Record, again: &Copies) -> Result<bool, String> {
        let dropped: Copies = record
            .facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::CheckpointDropped(f) => Some((f.task_id.clone(), f.map_index)),
                _ => None,
            })
            .collect();
        let below = self.in_flight_below(again);
        if dropped != below {
            return Err(format!("{dropped:?} keep nothing more, and should {below:?}"));
        }
        Ok(!dropped.is_empty())
    }

    /// What is in flight and comes after what runs again, a setup apart.
    fn in_flight_below(&self, again: &Copies) -> Copies {
        let is_setup = |task: &TaskModel| task.spec.is_setup;
        let mut above = again.clone();
        above.retain(|(id, _)| !self.tasks.iter().any(|it| it.spec.task_id == *id && is_setup(it)));
        let mut below = Copies::new();
        loop {
            let known = above.len();
            for (task, copy) in self.copies() {
                let is_above = |up: &u32| {
                    let up = &self.tasks[*up as usize];
                    let by_copy = up.is_together_with(task) && !up.lacks_copies();
                    above.iter().any(|(id, map_index)| {
                        *id == up.spec.task_id && (!by_copy || *map_index == copy.map_index)
                    })
                };
                let is_below = task.spec.upstream.iter().any(is_above)
                    || self.is_decided_by(&above, task, copy.map_index);
                if is_below {
                    let it = (task.spec.task_id.clone(), copy.map_index);
                    above.insert(it.clone());
                    below.insert(it);
                }
            }
            if above.len() == known {
                break;
            }
        }
        below.retain(|(id, map_index)| {
            let copy = self.copy(id, *map_index);
            copy.is_some_and(|it| matches!(it.stand, Stand::Queued(..) | Stand::Running(..)))
        });
        below.difference(again).cloned().collect()
    }
}
