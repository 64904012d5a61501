//! `dagbok runs …`; with `--json` the API's documents.
mod callbacks;
mod cancel;
mod clear;
mod list;
mod mark;
mod show;
mod wait;
mod why;

pub(crate) use callbacks::callbacks;
pub(crate) use cancel::cancel;
pub(crate) use clear::{clear, delete};
pub(crate) use list::list;
pub(crate) use mark::{mark, mark_task, note, note_task};
pub(crate) use show::{show, task_table};
pub(crate) use wait::{until_over, wait};
pub(crate) use why::why;

use dagbok_api::shapes::{RunResponse, TaskInstance};

use crate::{
    exit::Exit,
    output::{copy_name, seconds_text},
};

/// How a process ends that waited for this run.
fn exit_of(run: &RunResponse) -> Exit {
    if run.state == "success" { Exit::Ok } else { Exit::RunFailed }
}

/// How long it took, or has taken; empty before it began.
fn duration_of(run: &RunResponse) -> String {
    run.duration.map(seconds_text).unwrap_or_default()
}

/// A task's name, with which copy it is of a mapped one, and what people call that copy.
fn task_name(task: &TaskInstance) -> String {
    let copy = copy_name(&task.task_id, task.map_index);
    match &task.rendered_map_index {
        Some(name) if task.map_index >= 0 => format!("{copy} ({name})"),
        _ => copy,
    }
}

/// Tasks that failed themselves, the first few by name; `None` where none did.
fn failed_text(tasks: &[TaskInstance]) -> Option<String> {
    const NAMED: usize = 10;
    let failed = tasks.iter().filter(|task| task.state.as_deref() == Some("failed"));
    let mut names: Vec<String> = failed.map(task_name).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}
