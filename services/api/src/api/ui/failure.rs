//! Why a run or a try failed, in short: the task that failed first and the line that people look for.
use dagbok_events::{MapIndex, TaskId};

use super::super::view::word;
use crate::{
    model::{
        Store, StoreError,
        rows::{RunRow, TaskRow, TryEnd, TryRow},
    },
    shapes::UiFailure,
};

/// The last try of it that failed by itself: a task that was cleared since has none.
pub(super) fn of_try(attempt: &TryRow) -> Option<UiFailure> {
    let blank = UiFailure {
        task_id: String::new(),
        map_index: MapIndex::UNMAPPED.0,
        try_number: attempt.number.get(),
        tries: attempt.number.get(),
        kind: String::new(),
        fault: "system".to_owned(),
        exception: None,
        message: String::new(),
        file: None,
        line: None,
        more: 0,
    };
    let found = match attempt.end.as_ref()? {
        TryEnd::Failed(failure) => UiFailure {
            kind: word(&failure.kind),
            fault: word(&failure.fault),
            exception: failure.exception.clone(),
            message: failure.message.clone(),
            file: failure.file.clone(),
            line: failure.line,
            ..blank
        },
        TryEnd::Lost(why) => {
            let message = format!("its executor is gone: {}", word(why).replace('_', " "));
            UiFailure { kind: "lost".to_owned(), message, ..blank }
        }
        TryEnd::Succeeded | TryEnd::Skipped(_) | TryEnd::Cancelled | TryEnd::Returned => {
            return None;
        }
    };
    Some(found)
}

/// A failure in one line, as Python ends a traceback.
pub(super) fn line(failure: &UiFailure) -> String {
    match &failure.exception {
        Some(class) if !failure.message.starts_with(class.as_str()) => {
            format!("{class}: {}", failure.message)
        }
        _ => failure.message.clone(),
    }
}

/// Why a run failed: by the first task that failed itself and still stands so.
pub(super) fn failure_of(store: &Store, run: &RunRow) -> Result<Option<UiFailure>, StoreError> {
    let key = run.key();
    for (task_id, map_index) in run.failed.iter().take(3) {
        let Some(row) = store.task(&key, task_id, *map_index)? else { continue };
        if let Some(found) = of_task(&row, task_id, *map_index) {
            let more = u32::try_from(run.failed.len().saturating_sub(1)).unwrap_or(u32::MAX);
            return Ok(Some(UiFailure { more, ..found }));
        }
    }
    Ok(None)
}

fn of_task(row: &TaskRow, task_id: &TaskId, map_index: MapIndex) -> Option<UiFailure> {
    let found = of_try(row.attempt.as_ref()?)?;
    Some(UiFailure { task_id: task_id.to_string(), map_index: map_index.0, ..found })
}
