//! Where each task of a DAG version is, by its name.
use dagbok_events::{TaskId, TaskSpec};

use crate::graph::Ix;

/// A table of the tasks' places by a hash of their names, open to one side: each fact of a run asks it more than
/// once. The hash is no secret, so names can be chosen that collide; the table is then as slow as a list, and a DAG
/// has at most some thousands of tasks.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// A place and one, or nothing; at least every other is empty.
    slots: Vec<Ix>,
}

impl Names {
    /// Of all tasks; where history has a name twice, of the last one.
    pub(crate) fn of(tasks: &[TaskSpec]) -> Self {
        let size = (2 * tasks.len()).next_power_of_two();
        let mut names = Self { slots: vec![0; size] };
        for (ix, task) in (0..).zip(tasks) {
            let at = names.slot(tasks, &task.task_id);
            names.slots[at] = ix + 1;
        }
        names
    }

    /// The place of a task among those that the table was made of.
    pub(crate) fn find(&self, tasks: &[TaskSpec], task_id: &TaskId) -> Option<Ix> {
        self.slots[self.slot(tasks, task_id)].checked_sub(1)
    }

    /// The slot that has the name, or that would have it.
    fn slot(&self, tasks: &[TaskSpec], task_id: &TaskId) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash(task_id.as_str()) & mask;
        while let Some(ix) = self.slots[at].checked_sub(1) {
            if tasks[ix as usize].task_id == *task_id {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }
}

/// Eight bytes at a time, multiplied and folded.
#[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
fn hash(name: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = name.len() as u64;
    let mut words = name.as_bytes().chunks_exact(8);
    let mut fold = |word: u64| {
        sum = (sum.rotate_left(5) ^ word).wrapping_mul(ODD);
        sum ^= sum >> 32;
    };
    for word in &mut words {
        fold(u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        fold(u64::from_le_bytes(word));
    }
    sum as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::hash;

    #[test]
    fn names_that_differ_in_their_number_alone_are_spread() {
        for prefix in ["", "task_", "a_group_of_tasks.with_a_long_name_"] {
            let slots: BTreeSet<usize> =
                (0..4_096).map(|n| hash(&format!("{prefix}{n:04}")) & 8_191).collect();
            // Of 4,096 that fall where they like, some 3,220 slots of 8,192 are hit.
            assert!(slots.len() > 3_000, "{prefix}: {}", slots.len());
        }
    }
}
