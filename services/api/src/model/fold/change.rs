//! What people changed of a run's history: a row for each record that did, with who, why, and what was before.
use dagbok_events::{Fact, RunKey};

use super::Context;
use crate::{
    model::{
        Overlay, StoreError, keys,
        rows::{RunChangeRow, RunRow, TaskChangeRow},
    },
    word::word,
};

/// Entries about tasks that one row holds.
const TASKS: usize = 100;

pub(super) fn note(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    context: &Context<'_>,
    facts: &[Fact],
) -> Result<(), StoreError> {
    let changes = |fact: &Fact| {
        matches!(
            fact,
            Fact::RunCleared(_)
                | Fact::TaskCleared(_)
                | Fact::TaskMarked(_)
                | Fact::RunMarked(_)
                | Fact::RunNoted(_)
                | Fact::RunCancelled(_)
        )
    };
    if !facts.iter().any(changes) || rows.peek::<RunRow>(keys::run(run))?.is_none() {
        return Ok(());
    }
    let mut row = RunChangeRow {
        seq: context.seq,
        at: context.at,
        by: context.by.clone(),
        reason: context.reason.map(str::to_owned),
        run: None,
        was: None,
        note: None,
        note_was: None,
        tasks: Vec::new(),
        more: 0,
    };
    for fact in facts {
        let task = match fact {
            Fact::RunCleared(f) => {
                (row.run, row.was) = (Some("cleared".to_owned()), f.was.as_ref().map(word));
                continue;
            }
            Fact::RunCancelled(f) => {
                (row.run, row.was) = (Some("cancelled".to_owned()), f.was.as_ref().map(word));
                continue;
            }
            Fact::RunMarked(f) => {
                (row.run, row.was) = (Some(word(&f.state)), Some(word(&f.was)));
                continue;
            }
            Fact::RunNoted(f) => {
                row.note.clone_from(&f.note);
                row.note_was.clone_from(&f.was);
                continue;
            }
            Fact::TaskCleared(f) => TaskChangeRow {
                task_id: f.task_id.clone(),
                map_index: f.map_index,
                further: f.further,
                change: "cleared".to_owned(),
                was: f.was.clone(),
            },
            Fact::TaskMarked(f) => TaskChangeRow {
                task_id: f.task_id.clone(),
                map_index: f.map_index,
                further: f.further,
                change: word(&f.state),
                was: f.was.clone(),
            },
            _ => continue,
        };
        if row.tasks.len() < TASKS {
            row.tasks.push(task);
        } else {
            row.more += 1;
        }
    }
    rows.put(keys::run_change(run, context.seq), Some(row));
    Ok(())
}
