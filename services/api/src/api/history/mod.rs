//! Changing history without rewriting it, in Airflow's paths: tasks that run again, tasks and runs that somebody
//! marks, over one run or several. Each is a command for each run, so that each is a record of its own.
mod changes;
mod clear;
mod mark;

use std::sync::Arc;

pub(crate) use changes::{__path_changes, changes};
pub(crate) use clear::{
    __path_clear_run, __path_clear_task_instances, clear_run, clear_task_instances,
};
pub(super) use clear::{clear_each, would_clear};
use dagbok_events::{DagId, MapIndex, RunKey, TaskId, Timestamp};
use dagbok_protocol::{ClearedTask, CommandBody, TaskCopy, VersionChange, limits::NOTE_BYTES};
pub(crate) use mark::{
    __path_patch_copy, __path_patch_copy_dry_run, __path_patch_task, __path_patch_task_dry_run,
    patch_copy, patch_copy_dry_run, patch_task, patch_task_dry_run,
};

use super::{
    errors::ApiError,
    extract::{Caller, map_index, task_id},
    runs::dated_runs,
    state::ApiState,
    tell::{WouldChange, tell},
    view::InstanceView,
};
use crate::{
    model::{
        Store,
        rows::{RunRow, TaskInstanceState, TaskRow},
    },
    shapes::{ListExtra, TaskInstanceCollection, TaskOrCopy},
};

/// Runs that one request may change.
const RUNS_AT_ONCE: usize = 1_000;
/// Task instances that an answer shows.
const SHOWN: usize = 1_000;

/// Of one run, what a request changes.
#[derive(Debug)]
pub(super) struct OfRun {
    pub(super) key: RunKey,
    pub(super) goes_on: bool,
    pub(super) tasks: Vec<ClearedTask>,
    /// The version that the run goes on with, where that is another.
    pub(super) version: Option<Box<VersionChange>>,
}

impl OfRun {
    /// Whether anything of the run is changed, or runs.
    pub(super) fn is_changed(&self) -> bool {
        let adds = |version: &VersionChange| !version.added.is_empty();
        !self.tasks.is_empty() || self.version.as_deref().is_some_and(adds)
    }
}

/// What a command, asked of each of these runs as a dry run, would change; of one that has no such task nothing, but
/// for the only one.
async fn would_change(
    state: &ApiState,
    caller: &Caller,
    keys: Vec<RunKey>,
    ask: impl Fn(&RunKey) -> CommandBody,
) -> Result<Vec<OfRun>, ApiError> {
    let (mut found, alone) = (Vec::new(), keys.len() == 1);
    for key in keys {
        match tell(state, caller.clone(), None, ask(&key)).await {
            Ok(told) => {
                let WouldChange { goes_on, tasks, version } = told.cleared.unwrap_or_default();
                found.push(OfRun { key, goes_on, tasks, version });
            }
            Err(ApiError::NotFound(_)) if !alone => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The tasks and copies that are named.
pub(super) fn named(of: &[TaskOrCopy]) -> Result<(Vec<TaskId>, Vec<TaskCopy>), ApiError> {
    let (mut task_ids, mut copies) = (Vec::new(), Vec::new());
    for named in of {
        match named {
            TaskOrCopy::Task(raw) => task_ids.push(task_id(raw)?),
            TaskOrCopy::Copy(raw, index) => {
                let map_index = map_index(Some(*index));
                copies.push(TaskCopy { task_id: task_id(raw)?, map_index });
            }
        }
    }
    Ok((task_ids, copies))
}

/// A run, and by its logical date those before or after it.
pub(super) async fn around(
    state: &ApiState,
    key: &RunKey,
    (past, future): (bool, bool),
) -> Result<Vec<RunKey>, ApiError> {
    if !past && !future {
        return Ok(vec![key.clone()]);
    }
    let of = key.clone();
    let run = state.read(move |store| Ok(store.run(&of)?)).await?;
    let run = run.ok_or_else(|| ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str()))?;
    let Some(date) = run.logical_date else {
        return Err(ApiError::BadRequest(
            "cannot use include_past or include_future with a run that has no logical_date"
                .to_owned(),
        ));
    };
    let (from, to) = ((!past).then_some(date), (!future).then_some(date));
    dated(state, &key.dag_id, (from, to)).await
}

async fn dated(
    state: &ApiState,
    dag_id: &DagId,
    between: (Option<Timestamp>, Option<Timestamp>),
) -> Result<Vec<RunKey>, ApiError> {
    let of = dag_id.clone();
    let now = state.clock.now();
    let read = state.read(move |store| dated_runs(store, &of, between, now, RUNS_AT_ONCE));
    let (keys, total) = read.await?;
    if total > RUNS_AT_ONCE {
        return Err(ApiError::BadRequest(format!(
            "this is about {total} runs, and one request changes at most {RUNS_AT_ONCE}: narrow it by dates"
        )));
    }
    Ok(keys)
}

/// A reason, within its limit.
pub(super) fn reason_of(note: Option<String>, field: &str) -> Result<Option<String>, ApiError> {
    if note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES) {
        let msg = format!("may have up to {NOTE_BYTES} bytes");
        return Err(ApiError::invalid("string_too_long", &["body", field], msg));
    }
    Ok(note.filter(|note| !note.is_empty()))
}

/// Task instances as they stand, the first of them.
async fn shown(state: &ApiState, found: Vec<OfRun>) -> Result<TaskInstanceCollection, ApiError> {
    state.read(move |store| collection(store, &found)).await
}

fn collection(store: &Store, found: &[OfRun]) -> Result<TaskInstanceCollection, ApiError> {
    let (mut task_instances, mut total_entries) = (Vec::new(), 0);
    for it in found {
        let Some(run) = store.run(&it.key)? else { continue };
        let was = Arc::new(run.clone());
        // Before it is done a run is shown as it would be.
        let (run, added, removed) = match it.version.as_deref() {
            Some(to) => {
                let (version, bundle) = (to.to, to.bundle.clone());
                let run = Arc::new(RunRow { version, bundle, ..run });
                (run, to.added.as_slice(), to.removed.as_slice())
            }
            None => (Arc::clone(&was), &[][..], &[][..]),
        };
        let cleared = it.tasks.iter().map(|task| (task, &run, None));
        let added = added.iter().map(|task| (task, &run, Some(TaskInstanceState::Cleared)));
        // What that version does not have is shown as the last one has it that does.
        let removed = removed.iter().map(|task| (task, &was, Some(TaskInstanceState::Removed)));
        for (task, run, state) in cleared.chain(added).chain(removed) {
            total_entries += task.further as usize + 1;
            for n in 0..=task.further {
                if task_instances.len() == SHOWN {
                    break;
                }
                let map = MapIndex(task.map_index.0.saturating_add_unsigned(n));
                let row = store.task(&it.key, &task.task_id, map)?;
                let row = row.map(|row| TaskRow { state: state.unwrap_or(row.state), ..row });
                let one = InstanceView::of(store, run, &task.task_id, map, row)?;
                task_instances.push(one.listed());
            }
        }
    }
    let complete = total_entries == task_instances.len();
    let dagbok = ListExtra { total_is_exact: true, complete };
    Ok(TaskInstanceCollection { task_instances, total_entries, dagbok })
}
