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

use dagbok_api::shapes::{DateTime, RunResponse, TaskInstance};
use dagbok_runtime::Clock;

use crate::{
    exit::Exit,
    output::{copy_name, seconds_text},
};

/// How a process ends that waited for this run.
pub(crate) fn exit_of(run: &RunResponse) -> Exit {
    if run.state == "success" { Exit::Ok } else { Exit::RunFailed }
}

/// How long it took, or has taken; empty before it began.
fn duration_of(run: &RunResponse) -> String {
    let taken = run.duration.or_else(|| since(run.start_date, run.end_date));
    taken.map(seconds_text).unwrap_or_default()
}

/// How long something runs that has begun and not ended, in seconds.
fn since(start: Option<DateTime>, end: Option<DateTime>) -> Option<f64> {
    let start = start.filter(|_| end.is_none())?;
    Some(Clock::system().now().since(start.0).to_std().as_secs_f64())
}

/// A run's state for eyes: one that was cancelled did not fail, though Airflow has no other word.
pub(crate) fn state_of(run: &RunResponse) -> &str {
    match run.dagbok.ended.as_deref() {
        Some("cancelled") if run.state == "failed" => "cancelled",
        _ => &run.state,
    }
}

/// How the API is asked for what is in states as they are shown: its `failed` has what was cancelled too, as Airflow's.
pub(crate) fn asked_of(states: &[String]) -> Vec<(&'static str, String)> {
    let has = |word: &str| states.iter().any(|state| state == word);
    let only_failed = has("failed") && !has("cancelled");
    let cancelled = only_failed.then(|| ("cancelled", "false".to_owned()));
    states.iter().map(|state| ("state", state.clone())).chain(cancelled).collect()
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
