//! What people changed of a run's history: a row for each record that did, with who, why, and what was before.
use dagbok_events::{Fact, MapIndex, RunKey, RunVersionChanged, TaskId};

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
    if !facts.iter().any(is_by_hand) || rows.peek::<RunRow>(keys::run(run))?.is_none() {
        return Ok(());
    }
    let mut row = RunChangeRow {
        seq: context.seq,
        at: context.at,
        by: context.by.clone(),
        reason: context.reason.map(str::to_owned),
        run: None,
        was: None,
        version: None,
        note: None,
        note_was: None,
        tasks: Vec::new(),
        more: 0,
    };
    for fact in facts {
        let tasks = match fact {
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
            Fact::RunVersionChanged(f) => {
                row.version = Some((f.version, f.was));
                of_version(f)
            }
            _ => of_task(fact).into_iter().collect(),
        };
        for task in tasks {
            if row.tasks.len() < TASKS {
                row.tasks.push(task);
            } else {
                row.more += 1;
            }
        }
    }
    rows.put(keys::run_change(run, context.seq), Some(row));
    Ok(())
}

/// Tasks that another version adds or takes out.
fn of_version(f: &RunVersionChanged) -> Vec<TaskChangeRow> {
    let removed = f.removed.iter().map(|it| TaskChangeRow {
        further: it.further,
        was: it.was.clone(),
        ..task(&it.task_id, it.map_index, "removed")
    });
    let added = f.added.iter().map(|task_id| task(task_id, MapIndex::UNMAPPED, "added"));
    removed.chain(added).collect()
}

fn of_task(fact: &Fact) -> Option<TaskChangeRow> {
    Some(match fact {
        Fact::TaskCleared(f) => TaskChangeRow {
            further: f.further,
            was: f.was.clone(),
            ..task(&f.task_id, f.map_index, "cleared")
        },
        Fact::TaskMarked(f) => TaskChangeRow {
            further: f.further,
            was: f.was.clone(),
            ..task(&f.task_id, f.map_index, &word(&f.state))
        },
        Fact::TaskNoted(f) => TaskChangeRow {
            note: f.note.clone(),
            note_was: f.was.clone(),
            ..task(&f.task_id, f.map_index, "noted")
        },
        _ => return None,
    })
}

fn task(task_id: &TaskId, map_index: MapIndex, change: &str) -> TaskChangeRow {
    TaskChangeRow {
        task_id: task_id.clone(),
        map_index,
        further: 0,
        change: change.to_owned(),
        was: Vec::new(),
        note: None,
        note_was: None,
    }
}

const fn is_by_hand(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::RunCleared(_)
            | Fact::TaskCleared(_)
            | Fact::TaskMarked(_)
            | Fact::RunMarked(_)
            | Fact::RunNoted(_)
            | Fact::RunCancelled(_)
            | Fact::RunVersionChanged(_)
            | Fact::TaskNoted(_)
    )
}
